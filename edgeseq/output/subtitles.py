"""Finals as subtitles: SubRip (`srt`) and WebVTT (`vtt`).

A cue is a final, or for long ones up to seven words or six seconds of it; a pause of a second begins a new one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from edgeseq.events import Result, Word

MAX_WORDS = 7
MAX_SECONDS = 6.0
PAUSE_SECONDS = 1.0
MIN_SECONDS = 0.5
"""Shorter cues are shown a little longer, if the next one leaves them the time."""

VTT_HEADER = "WEBVTT\n\n"
Spell = Callable[[Sequence[str]], str]
"""Words to text, such as " ".join."""


@dataclass(frozen=True)
class Cue:
    """A line of text and when to show it."""

    start: float
    """seconds"""
    end: float
    """seconds"""
    text: str

    def to_srt(self, number: int) -> str:
        r"""Write the cue as SubRip, with its number from 1 and the empty line after it.

        >>> Cue(0.5, 3661.25, "one").to_srt(1)
        '1\n00:00:00,500 --> 01:01:01,250\none\n\n'
        """
        return f"{number}\n{_stamp(self.start, ',')} --> {_stamp(self.end, ',')}\n{_one_line(self.text)}\n\n"

    def to_vtt(self) -> str:
        r"""Write the cue as WebVTT, its text escaped, with the empty line after it.

        >>> Cue(0.5, 1, "R&B").to_vtt()
        '00:00:00.500 --> 00:00:01.000\nR&amp;B\n\n'
        """
        text = _one_line(self.text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return f"{_stamp(self.start, '.')} --> {_stamp(self.end, '.')}\n{text}\n\n"


def cues(result: Result, spell: Spell = " ".join) -> list[Cue]:
    """Cut a result to cues; none without words."""
    pieces = list(_pieces(result.words))
    limits = [*(piece[0].start for piece in pieces[1:]), float("inf")]
    return [
        Cue(piece[0].start, min(max(piece[-1].end, piece[0].start + MIN_SECONDS), limit), spell([word.word for word in piece]))
        for piece, limit in zip(pieces, limits, strict=False)  # none without pieces
    ]


def _pieces(words: Sequence[Word]) -> Iterator[list[Word]]:
    piece: list[Word] = []
    for word in words:
        if piece and (
            len(piece) == MAX_WORDS or word.end - piece[0].start > MAX_SECONDS or word.start - piece[-1].end >= PAUSE_SECONDS
        ):
            yield piece
            piece = []
        piece.append(word)
    if piece:
        yield piece


def _stamp(seconds: float, point: str) -> str:
    ms = round(1000 * seconds)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1000 % 60:02}{point}{ms % 1000:03}"


def _one_line(text: str) -> str:
    """Leave no line end in a text: an empty line would end the cue."""
    return " ".join(text.split())
