"""A language with a spelling of its own: mostly a letter a sound, `sh` one, `x` two, an `e` behind all else silent."""

from __future__ import annotations

import random

CONSONANTS = {"b": ("B",), "d": ("D",), "k": ("K",), "m": ("M",), "s": ("S",), "sh": ("SH",), "x": ("K", "S")}
VOWELS = {"a": ("AA",), "o": ("OW",), "u": ("UW",)}


def word(dice: random.Random) -> tuple[str, tuple[str, ...]]:
    """Make up a word and how it sounds."""
    parts = [dice.choice(sorted(part.items())) for _ in range(dice.randint(1, 3)) for part in (CONSONANTS, VOWELS)]
    written, phones = "".join(letters for letters, _ in parts), tuple(phone for _, sounds in parts for phone in sounds)
    return (written + "me", (*phones, "M")) if dice.random() < 0.5 else (written, phones)


def dictionary(n_words: int, seed: int) -> dict[str, tuple[str, ...]]:
    """Make up words, each once."""
    dice = random.Random(seed)
    found: dict[str, tuple[str, ...]] = {}
    while len(found) < n_words:
        found.setdefault(*word(dice))
    return found
