"""Decodes one file that a client sent, in a process of its own, where neither its time nor its memory is the server's.

    python -m edgeseq.serve.decode_process RATE < file > frames

A frame is four bytes, little-endian, and as many bytes as they say: mono samples at RATE Hz, float32, little-endian. One whose
number has the highest bit set is the last, and holds JSON: what is wrong with the file, or nothing.
"""

from __future__ import annotations

import json
import os
import resource
import struct
import sys
from typing import Any, BinaryIO

FAULT = 1 << 31
"""marks the last frame"""
MEMORY_BYTES, MOST_MEMORY_BYTES = 512 << 20, 1 << 30
"""of the process's addresses; of ffmpeg's, which it may start"""
PROCESSOR_SECONDS = 120
"""25 MB of speech take a few."""
WRITTEN_BYTES = 1 << 20
"""that it may write to files: what ffmpeg says"""


def main() -> None:
    """Decode standard input."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else prints something does not do so among the frames
    hold_limits()
    try:
        _decode(int(sys.argv[1]), out)
        _send_last(out, {})
    except BrokenPipeError:
        os._exit(0)  # nobody wants it any more


def hold_limits() -> None:
    """Give this process, and what it starts, bounds of memory, time and files."""
    os.nice(5)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MOST_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (PROCESSOR_SECONDS, PROCESSOR_SECONDS))
    resource.setrlimit(resource.RLIMIT_FSIZE, (WRITTEN_BYTES, WRITTEN_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _decode(rate: int, out: BinaryIO) -> None:
    from edgeseq.errors import AudioError
    from edgeseq.serve.uploads import read_upload

    try:
        for block in read_upload(sys.stdin.buffer, rate):
            content = block.astype("<f4").tobytes()
            out.write(struct.pack("<I", len(content)) + content)
            out.flush()
    except AudioError as fault:
        _send_last(out, {"audio": str(fault)})
        sys.exit(0)
    except MemoryError:
        _send_last(out, {"audio": "the file: needs too much memory to be decoded. Send WAV, FLAC, Ogg or MP3."})
        os._exit(0)


def _send_last(out: BinaryIO, about: dict[str, Any]) -> None:
    content = json.dumps(about).encode()
    out.write(struct.pack("<I", FAULT | len(content)) + content)
    out.flush()


if __name__ == "__main__":
    main()
