"""How often a word that was shown is taken back.

It counts every word each partial shows, by its place in the utterance; a word is taken back if a later partial or the final has
replaced by another word or by none. A word that merely grows ("fo", "four") is counted apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from edgeseq.events import Event


@dataclass(frozen=True)
class PartialStats:
    """Words that partials showed."""

    words: int = 0
    """each counted once for every form it had"""
    grown: int = 0
    """forms that grew to a longer form of the same beginning"""
    taken_back: int = 0
    """forms that gave way to something else"""

    @property
    def rate(self) -> float:
        """Share of the forms shown that were taken back, 0 to 1."""
        return self.taken_back / self.words if self.words else 0.0

    def __add__(self, other: PartialStats) -> PartialStats:
        """Count both."""
        return PartialStats(self.words + other.words, self.grown + other.grown, self.taken_back + other.taken_back)

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as `edgeseq eval --partials --json` prints them."""
        return {"words": self.words, "grown": self.grown, "taken_back": self.taken_back, "rate": round(self.rate, 5)}


def count_shown(events: Iterable[Event], *, stable: bool = False) -> PartialStats:
    """Follow the events of one stream; with `stable`, of partials only the words that they call stable are shown.

    >>> from edgeseq.events import Final, Partial, Word
    >>> def said(kind, *words): return kind(" ".join(words), 0, 0, 1, tuple(Word(w, 0, 0, 1) for w in words))
    >>> events = [said(Partial, "fo"), said(Partial, "four"), said(Partial, "four", "won"), said(Final, "four", "one")]
    >>> count_shown(events)
    PartialStats(words=3, grown=1, taken_back=1)
    """
    total, shown = PartialStats(), tuple[str, ...]()
    for event in events:
        words = tuple(word.word for word in event.words)
        if event.type == "final":
            total += _replaced(shown, words)
            shown = ()
        else:
            new = words[: event.stable] if stable else words  # type: ignore[union-attr]  # a Partial
            total += _replaced(shown, new) + PartialStats(words=_count_new(shown, new))
            shown = new
    return total


def _count_new(shown: Sequence[str], words: Sequence[str]) -> int:
    return sum(before != now for before, now in zip_longest(shown, words, fillvalue="") if now)


def _replaced(shown: Sequence[str], words: Sequence[str]) -> PartialStats:
    """Count the words shown that gave way."""
    changes = [(before, now) for before, now in zip_longest(shown, words, fillvalue="") if before and before != now]
    grown = sum(now.startswith(before) for before, now in changes)
    return PartialStats(grown=grown, taken_back=len(changes) - grown)
