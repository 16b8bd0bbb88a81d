"""speechocean762: English sentences and digits read by 250 people whose first language is Mandarin, half of them children.

Lhotse has no recipe of it. Its tables are Kaldi's, but read here, so that ages and genders are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edgeseq.data.folder import FolderItem, measure_found, read_text
from edgeseq.data.manifest import Recording
from edgeseq.errors import ManifestError

SOUND = "WAVE"
SPLITS = ("train", "test")
NEEDED = ("wav.scp", "text", "utt2spk")
SPEAKER_PREFIX = "so762_"
"""Speakers are numbers, as LibriSpeech's are: the prefix keeps them apart."""


def is_root(folder: Path) -> bool:
    """Tell whether a folder is the corpus's."""
    return (folder / SOUND).is_dir() and bool(splits(folder))


def splits(folder: Path) -> list[str]:
    """List the corpus's splits; no speaker is in both."""
    return [name for name in SPLITS if (folder / name / NEEDED[0]).is_file()]


def read(folder: Path, names: Sequence[str], _made: Path, notes: list[str]) -> Iterator[tuple[str, list[Recording]]]:
    """Read splits, texts in lower case; `age` in years and `gender` (m, f) are kept."""
    for name in names:
        yield name, measure_found(name, _spoken(folder, name), f"{SOUND}/", notes)


def _spoken(folder: Path, split: str) -> list[FolderItem]:
    files, texts, speakers = (_read_pairs(folder / split / table) for table in NEEDED)
    ages, genders = (_read_pairs(folder / split / table, needed=False) for table in ("spk2age", "spk2gender"))
    spoken = []
    for name, file in files.items():
        speaker = speakers.get(name)
        about: dict[str, Any] = {"age": _years(ages.get(speaker or "")), "gender": genders.get(speaker or "")}
        known = {key: value for key, value in about.items() if value}
        spoken.append(
            FolderItem(folder / file, texts.get(name, "").lower(), SPEAKER_PREFIX + speaker if speaker else None, extra=known)
        )
    return spoken


def _years(age: str | None) -> int | None:
    return int(age) if age and age.isdecimal() else None


def _read_pairs(table: Path, *, needed: bool = True) -> dict[str, str]:
    """Read a table of Kaldi's: a name, and what belongs to it, "" where nothing does."""
    if not table.is_file():
        if needed:
            raise ManifestError(f"{table}: missing. Wanted: {', '.join(NEEDED)} in each split; fetch the corpus again.")
        return {}
    pairs = (line.split(maxsplit=1) for line in read_text(table).splitlines() if line.strip())
    return {pair[0]: pair[1].strip() if len(pair) > 1 else "" for pair in pairs}
