"""Files that appear whole or not at all, whatever ends the program or fills the disk in between."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give another name to write a file under; behind the block it gets its own.

    Makes the folder. Raises OSError; where that, or anything in the block, is raised, what was there before is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.part")
    try:
        yield half
        half.replace(path)
    except BaseException:
        with suppress(OSError):
            half.unlink()
        raise


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file as `written_whole` does, and wait until the disk has it."""
    with written_whole(path) as half, half.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
