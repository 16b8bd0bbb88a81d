"""Hears with moonshine.cpp: a path per line in, a line of JSON per line out."""

import json
import sys

from moonshine_cpp import MoonshineModel

model = MoonshineModel(language="en", model_type="base")

for line in sys.stdin:
    path = line.rstrip("\n")
    print(json.dumps({"audio_filepath": path, "text": model.transcribe_wav(path)}), flush=True)
