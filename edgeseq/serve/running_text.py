"""Text that only grows: what protocols tell that cannot take a word back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from edgeseq.events import Event, Partial


@dataclass(frozen=True)
class RunningText:
    """Words that will not change, of one utterance after the other, as one text."""

    text: str = ""
    n_told: int = 0
    """words of the utterance that is being said that are in `text`"""

    def after(self, events: Iterable[Event]) -> tuple[str, RunningText]:
        """Take the events of a stream; give what it adds and the text with it: pieces, appended, are the text exactly.

        >>> from edgeseq.events import Final, Partial, Word
        >>> def said(kind, *words, **more): return kind("", 0, 0, 1, tuple(Word(w, 0, 0, 1) for w in words), **more)
        >>> piece, text = RunningText().after([said(Partial, "one", "tw", stable=1)])
        >>> piece, text.after([said(Final, "one", "two"), said(Final, "no")])
        ('one', (' two no', RunningText(text='one two no', n_told=0)))
        """
        text, n_told = self.text, self.n_told
        for event in events:
            is_partial = isinstance(event, Partial)
            words = event.words[: event.stable] if isinstance(event, Partial) else event.words
            for word in words[n_told:]:
                text = f"{text} {word.word}" if text else word.word
            n_told = max(n_told, len(words)) if is_partial else 0
        return text[len(self.text) :], replace(self, text=text, n_told=n_told)
