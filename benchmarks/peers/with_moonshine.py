"""Transcribes with moonshine.cpp: reads one path per line, writes one line of JSON for each."""

import json
import sys

from moonshine_cpp import MoonshineModel

model = MoonshineModel(language="en", model_type="base")

for line in sys.stdin:
    path = line.rstrip("\n")
    print(json.dumps({"audio_filepath": path, "text": model.transcribe_wav(path)}), flush=True)
