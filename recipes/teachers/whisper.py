"""Transcribes English with faster-whisper, for `edgeseq data label`: a path a line in, a line of JSON for each out.

python3 whisper.py MODEL [COMPUTE_TYPE]        (a name such as base, or a folder with model.bin; int8, float16 ...)
"""

import json
import math
import os
import sys

from faster_whisper import WhisperModel

compute_type = sys.argv[2] if len(sys.argv) > 2 else "default"
model = WhisperModel(
    sys.argv[1], device="auto", compute_type=compute_type, cpu_threads=int(os.environ.get("OMP_NUM_THREADS", "0"))
)

for line in sys.stdin:
    path = line.rstrip("\n")
    segments = list(model.transcribe(path, language="en", condition_on_previous_text=False)[0])
    n_tokens = sum(len(segment.tokens) for segment in segments)
    log_prob = sum(segment.avg_logprob * len(segment.tokens) for segment in segments) / max(1, n_tokens)
    text = " ".join(segment.text.strip() for segment in segments)
    print(json.dumps({"audio_filepath": path, "text": text, "confidence": round(math.exp(log_prob), 4)}), flush=True)
