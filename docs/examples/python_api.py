"""Words of a stream, chunk by chunk; then its state is saved, restored, and continued twice.

python3 docs/examples/python_api.py demo/number.flac
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

import edgeseq
from edgeseq.sound.audio import read_blocks


def show(events):
    """Print events: partials may still change, finals do not."""
    for event in events:
        if event.type == "final":
            times = ", ".join(f"{word.word} {word.start:.2f} s" for word in event.words)
            print(f"final    {event.text}    ({times})")
        else:
            print(f"{event.type:<8} {event.text}")


def main(path):
    recognizer = edgeseq.load("digits-en")  # holds weights only; any number of streams can share it
    samples = np.concatenate(list(read_blocks(path, recognizer.sample_rate)))  # float32, mono, in [-1, 1]
    half = len(samples) // 2

    state = recognizer.init_state()
    for first in range(0, half, 800):  # a chunk may have any length
        events, state = recognizer.step(samples[first : min(first + 800, half)], state)
        show(events)

    with tempfile.TemporaryDirectory() as folder:
        saved = Path(folder) / "stream.state"
        saved.write_bytes(recognizer.save(state))
        print(f"         saved as {saved.stat().st_size} bytes")
        restored = edgeseq.load("digits-en").restore(saved.read_bytes())  # as another process would

    for continued in (state, restored):  # a state is a value: both continue from the same place
        print("         continued")
        events, end = recognizer.step(samples[half:], continued)
        last, end = recognizer.flush(end)
        show([event for event in [*events, *last] if event.type == "final"])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("python_api.py: name a recording: python_api.py demo/number.flac")
    try:
        main(sys.argv[1])
    except edgeseq.EdgeseqError as fault:
        sys.exit(f"python_api.py: {fault}")
