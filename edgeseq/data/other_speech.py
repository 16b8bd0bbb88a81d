"""What the owner of a model does not say to it: common words and sentences, and words that nearly are the owner's.

A model that has only heard its owner's words takes every sound for one of them. These texts, spoken by the same voices, teach
it to write nothing.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from importlib.resources import files

from edgeseq.tokens.normalizing import normalize_text

ONSETS = ("", "b", "d", "f", "g", "h", "j", "l", "m", "n", "p", "r", "s", "t", "v", "w", "sh", "ch", "st", "tr")
CODAS = ("", "b", "d", "g", "k", "l", "m", "n", "p", "t", "ff", "sh", "ch", "st", "mp")
VOWELS = "aeiou"
NEAR_SHARE = 0.25
"""Share of the recordings of other speech that nearly say one of the owner's words."""
SEED = 0


@cache
def common_texts() -> tuple[str, ...]:
    """Read the words and sentences that came with edgeseq."""
    lines = files("edgeseq.data").joinpath("other_speech.txt").read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))


def without(texts: Iterable[str], own: Collection[str]) -> list[str]:
    """Leave out texts that hold a word of one of the `own` texts.

    >>> without(["turn left", "no idea"], ["no", "lights off"])
    ['turn left']
    """
    words = {word for text in own for word in normalize_text(text).split()}
    return [text for text in texts if words.isdisjoint(normalize_text(text).split())]


def near_misses(word: str) -> list[str]:
    """Spell words that differ from `word` in the consonants that it begins or ends with, sorted; none without a vowel.

    >>> near_misses("yes")[:4], "nesting" in near_misses("testing")
    (['bes', 'ches', 'des', 'es'], True)
    """
    begin = next((place for place, letter in enumerate(word) if letter in VOWELS), None)
    if begin is None:
        return []
    end = len(word.rstrip("bcdfghjklmnpqrstvwxz"))
    others = {onset + word[begin:] for onset in ONSETS} | {word[:end] + coda for coda in CODAS}
    return sorted(other for other in others if len(other) > 1 and not _sounds_like(other, word))


def _sounds_like(other: str, word: str) -> bool:
    """Whether two spellings may well be said alike: doubled letters and silent ones aside."""
    return _sketch(other) == _sketch(word)


def _sketch(word: str) -> str:
    kept = [letter for place, letter in enumerate(word) if letter != word[place - 1 : place]]
    return "".join(kept).replace("gh", "").replace("kn", "n").replace("wr", "r").rstrip("e").rstrip("w")


def others_for(own: Sequence[str], count: int) -> tuple[list[str], int]:
    """Choose texts of other speech beside the `own` ones: the texts, and how often each is to be spoken to make about `count`.

    A smaller `count` gives the beginning of what a larger one gives.
    """
    words = sorted({word for text in own for word in normalize_text(text).split()})
    near = without(dict.fromkeys(miss for word in words for miss in near_misses(word)), own)  # "noff" is near "no" and "off"
    common = without(common_texts(), own)
    draw = random.Random(SEED)
    draw.shuffle(near)
    draw.shuffle(common)
    near = [text for text in near if text not in set(common)]
    n_near = min(len(near), int(len(common) * NEAR_SHARE))
    texts = _mixed(common, near[:n_near])
    return texts[:count], max(1, round(count / len(texts)))


def _mixed(common: Sequence[str], near: Sequence[str]) -> list[str]:
    """Spread the second list evenly over the first."""
    placed = [((place + 0.5) / len(texts), text) for texts in (common, near) for place, text in enumerate(texts)]
    return [text for _, text in sorted(placed)]
