"""Hears with pocketsphinx and the English model of its package: a path per line in, a line of JSON per line out.

Each recording is given as a whole, so that the levels of its features are its own and not those of the one before.
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
