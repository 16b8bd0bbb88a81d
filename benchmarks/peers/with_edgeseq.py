"""Transcribes with edgeseq, 80 ms at a time as from a microphone: reads one path per line, writes one line of JSON for each.

python3 with_edgeseq.py MODEL [PHRASES.yaml]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import soundfile

from edgeseq.data.clips import read_clip
from edgeseq.data.manifest import Recording
from edgeseq.evaluation.evaluate import CHUNK_SECONDS
from edgeseq.events import Final
from edgeseq.models import load_recognizer
from edgeseq.phrases import load_phrases
from edgeseq.stream.recognizer import Recognizer


def opened(model: str, phrases: str | None) -> Recognizer:
    """Load the model; a file of phrases takes the place of dictation."""
    recognizer = load_recognizer(model)
    return recognizer.with_decoder(load_phrases(Path(phrases), recognizer.metadata)) if phrases else recognizer


def text_of(recognizer: Recognizer, path: str) -> str:
    """Push a WAV file through the streaming path, and give the words of all finals."""
    samples = read_clip(Recording(Path(path), soundfile.info(path).duration, ""), recognizer.sample_rate)
    n_chunk = round(CHUNK_SECONDS * recognizer.sample_rate)
    state, events = recognizer.init_state(), []
    for first in range(0, len(samples), n_chunk):
        new, state = recognizer.step(samples[first : first + n_chunk], state)
        events += new
    events += recognizer.flush(state)[0]
    return " ".join(event.text for event in events if isinstance(event, Final))


def main() -> None:
    """Answer until standard input ends."""
    recognizer = opened(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
    for line in sys.stdin:
        path = line.rstrip("\n")
        print(json.dumps({"audio_filepath": path, "text": text_of(recognizer, path)}), flush=True)


if __name__ == "__main__":
    main()
