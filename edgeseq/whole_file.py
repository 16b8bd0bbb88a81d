"""Files that appear whole or not at all, whatever ends the program or fills the disk in between."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give another name to write a file under, this process's own; behind the block it gets its own.

    Makes the folder. Raises OSError; where that, or anything in the block, is raised, what was there before is untouched.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.{os.getpid()}.part")
    with suppress(FileNotFoundError):  # of a process that had this number before
        half.unlink()
    try:
        yield half
        half.replace(path)
    except BaseException:
        with suppress(OSError):
            half.unlink()
        raise


def write_whole(path: Path, content: bytes | memoryview, mode: int = 0o666) -> None:
    """Write a file as `written_whole` does, and wait until the disk has it; it never exists with another `mode`."""
    with written_whole(path) as half:
        _write(half, content, mode)


def write_together(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write several files, by name, all of them or none; raises OSError."""
    with ExitStack() as stack:
        halves = {name: stack.enter_context(written_whole(folder / name)) for name in contents}
        for name, half in halves.items():
            _write(half, contents[name], 0o666)


def _write(path: Path, content: bytes | memoryview, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
