"""Common Voice: any language's release, a table a split beside clips/.

It is read here: Lhotse's recipe starts a process a split and sends it every row, fails at an empty split and at older
releases' columns, and does not say which rows had no file.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from edgeseq.data.folder import measure_found, read_table
from edgeseq.data.manifest import Recording

TABLES = ("train", "dev", "test", "validated", "other", "invalidated")


def is_root(folder: Path) -> bool:
    """Tell whether a folder is a language's."""
    return (folder / "clips").is_dir() and bool(splits(folder))


def splits(folder: Path) -> list[str]:
    """List a language's splits, as LANGUAGE/SPLIT."""
    return [f"{folder.name}/{name}" for name in TABLES if (folder / f"{name}.tsv").is_file()]


def read(folder: Path, names: Sequence[str], _made: Path, notes: list[str]) -> Iterator[tuple[str, list[Recording]]]:
    """Read splits; speakers are the client ids, and age, gender and accent are kept where they are known."""
    for name in names:
        rows = read_table(folder / f"{name.rpartition('/')[2]}.tsv", folder / "clips")
        yield name, measure_found(name, rows, "clips/", notes)
