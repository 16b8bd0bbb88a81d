"""Files beside a model that it needs: its lexicon, its language model, and what guesses how other words sound.

The model's metadata names them with their SHA-256, so that a folder of which a part is missing, or was replaced, is noticed
before anything is heard:

    {"lexicon": {"file": "en.lexicon", "sha256": "..."}, "language_model": {"file": "en.lm", "sha256": "..."},
     "search": {"beam": null, "lm_weight": 0.6, "word_bonus": 0.0, "blank_penalty": 0.0,
                "min_confidence": 0.0}}
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeseq.errors import ModelError
from edgeseq.untrusted import is_number

ROLES = {
    "lexicon": "lexicon",
    "language_model": "language model",
    "guesser": "guesser of pronunciations",
}
"""What a companion is, in the metadata and in messages."""
SEARCH = "search"
MOST_BEAM = 100_000
"""Beginnings that a search may be asked to keep."""


@dataclass(frozen=True)
class SearchDefaults:
    """How words are searched for where nothing else is asked for; measured on people, for one model and its language model."""

    beam: int | None = None
    """beginnings that are kept; None: as many as usual"""
    lm_weight: float = 0.5
    word_bonus: float = 0.0
    blank_penalty: float = 0.0
    min_confidence: float = 0.0
    """of the surest word of an utterance; one with less is left out"""

    @classmethod
    def of(cls, companions: Mapping[str, Any]) -> SearchDefaults:
        """Read them from the metadata's `companions`."""
        return cls(**companions.get(SEARCH, {}))


def named(files: Mapping[str, Path], search: SearchDefaults | None = None) -> dict[str, Any]:
    """Name companions for a model's metadata. files: by role; the folder of a file does not count."""
    companions: dict[str, Any] = {role: {"file": path.name, "sha256": sha256_of(path)} for role, path in files.items()}
    return companions | ({} if search is None else {SEARCH: asdict(search)})


def faults_of(companions: Mapping[str, Any]) -> list[str]:
    """Say what is wrong with the metadata's `companions`; entries of other names are for newer versions."""
    faults = []
    for role in ROLES.keys() & companions.keys():
        entry = companions[role]
        if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("file", "sha256")):
            faults.append(f"{role} is not an object with 'file' and 'sha256'")
        elif Path(entry["file"]).name != entry["file"] or entry["file"] in ("", ".", "..") or not entry["file"].isprintable():
            faults.append(f"{role} names {entry['file'][:60]!r}; wanted the name of a file beside the model")
    try:
        search = SearchDefaults.of(companions)
        fits = search.beam is None or (type(search.beam) is int and 0 < search.beam <= MOST_BEAM)
        numbers = (search.lm_weight, search.word_bonus, search.blank_penalty, search.min_confidence)
        if not fits or not all(map(is_number, numbers)) or not 0 <= search.min_confidence <= 1:
            raise TypeError
    except TypeError:
        faults.append(f"{SEARCH} is not an object of {', '.join(asdict(SearchDefaults()))}")
    return faults


def find_companions(companions: Mapping[str, Any], model: Path, name: str) -> dict[str, Path]:
    """Find the companions that the file `model` names, in its folder, by role, and check that each is the one it names.

    Raises ModelError for one that is missing or another.
    """
    found = {}
    for role in ROLES:
        if role in companions:
            found[role] = path = model.parent / companions[role]["file"]
            _check(path, companions[role]["sha256"], f"the {ROLES[role]} of {name}")
    return found


def sha256_of(path: Path) -> str:
    """Hash a file. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(path: Path, wanted: str, what: str) -> None:
    advice = "Copy the model's whole folder, or export the model again: a model and its companions belong together."
    try:
        seen = sha256_of(path)
    except FileNotFoundError:
        raise ModelError(f"{path}: there is no such file, and it is {what}.\n  {advice}") from None
    except OSError as fault:
        raise ModelError(f"{path}: {what} cannot be read ({fault.strerror}).\n  {advice}") from fault
    if seen != wanted:
        raise ModelError(f"{path}: not {what}: its SHA-256 is {seen}; the model wants {wanted}.\n  {advice}")
