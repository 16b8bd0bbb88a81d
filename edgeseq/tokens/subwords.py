"""Words cut to pieces as sentencepiece's unigram model cuts them, from pieces and scores alone.

The cut is the one whose scores add up to most (Viterbi; Kudo 2018, equation 5). Sums are float32 and the first of equal cuts
stays, as in sentencepiece, so that both agree to the last tie.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MOST_REMEMBERED = 100_000
"""Words whose cut is remembered, about 30 MB."""


class Segmenter:
    """Cuts words. Read-only except for a memory that only saves time."""

    def __init__(self, pieces: Sequence[str], scores: Sequence[float]) -> None:
        """Use pieces with their scores (natural log)."""
        self._scores = {piece: np.float32(score) for piece, score in zip(pieces, scores, strict=True)}
        self._longest = max(map(len, pieces), default=0)
        self._remembered: dict[str, tuple[str, ...]] = {}

    def segment(self, word: str) -> tuple[str, ...]:
        """Cut a word (`▁` first). Raises ValueError for one that the pieces do not spell.

        >>> Segmenter(["▁", "o", "n", "e", "▁on"], [-1, -2, -2, -2, -3]).segment("▁one")
        ('▁on', 'e')
        """
        found = self._remembered.get(word)
        if found is None:
            if len(self._remembered) >= MOST_REMEMBERED:
                self._remembered.clear()
            found = self._remembered[word] = self._cut(word)
        return found

    def _cut(self, word: str) -> tuple[str, ...]:
        best: list[np.float32 | None] = [np.float32(0), *[None] * len(word)]
        starts = [0] * (len(word) + 1)
        for start in range(len(word)):
            so_far = best[start]
            if so_far is None:
                continue
            for end in range(start + 1, min(len(word), start + self._longest) + 1):
                score = self._scores.get(word[start:end])
                if score is None:
                    continue
                total, known = so_far + score, best[end]
                if known is None or total > known:
                    best[end], starts[end] = total, start
        if best[-1] is None:
            raise ValueError(f"no pieces spell {word!r}")
        return _pieces(word, starts)


def _pieces(word: str, starts: Sequence[int]) -> tuple[str, ...]:
    """Walk back from the end, from each piece to where it starts."""
    pieces: list[str] = []
    end = len(word)
    while end:
        pieces.append(word[starts[end] : end])
        end = starts[end]
    return tuple(reversed(pieces))
