"""Transcribes with pocketsphinx and its package's English model: reads one path per line, writes one line of JSON for each.

Each recording is decoded as a whole, so that its features are normalized by its own levels, not by those of the one before.
"""

import json
import sys
import wave

from pocketsphinx import Decoder

decoder = Decoder(loglevel="ERROR", cmn="batch")

for line in sys.stdin:
    path = line.rstrip("\n")
    with wave.open(path) as recording:
        samples = recording.readframes(recording.getnframes())
    decoder.start_utt()
    decoder.process_raw(samples, full_utt=True)
    decoder.end_utt()
    found = decoder.hyp()
    print(json.dumps({"audio_filepath": path, "text": found.hypstr if found else ""}), flush=True)
