"""What a decoder is: rows of log-probs in, hypotheses out, everything it remembers a value.

Three of them share this interface: greedy (`greedy.py`), beam search with language models and hotwords (`beam.py`), and exact
search of a phrase graph (`phrases/search.py`). The recognizer steps one of them, asks the endpoint rules whether the
utterance is over, and tells what the decoder understood.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from edgeseq.events import Word

S = TypeVar("S")


@dataclass(frozen=True)
class Hypothesis:
    """What a decoder understood of one utterance, so far or for good."""

    words: tuple[Word, ...]
    """times in seconds since the stream opened"""
    confidence: float
    """of the whole, 0 to 1"""
    intent: str | None = None
    slots: Mapping[str, Any] = field(default_factory=dict)
    """numbers as numbers, all else as text"""
    phrase_score: float | None = None
    """how well a phrase explains what was heard, against anything else that could have been said; nats a token"""
    alternatives: tuple[str, ...] = ()
    """other texts, the likelier first"""

    @property
    def text(self) -> str:
        """The words in a line."""
        return " ".join(word.word for word in self.words)


def sure(hypothesis: Hypothesis, least: float) -> Hypothesis | None:
    """Return a hypothesis whose surest word has a confidence of at least `least`; None for another: noise, most likely.

    >>> hum = Hypothesis((Word("the", 1.0, 1.1, 0.05), Word("case", 1.2, 1.4, 0.1)), 0.07)
    >>> sure(hum, 0.3) is None, sure(hum, 0.1) is hum
    (True, True)
    """
    return hypothesis if max(word.confidence for word in hypothesis.words) >= least else None


class Decoder(Protocol[S]):
    """Turns the log-probs of one stream into hypotheses, an utterance at a time.

    A state is a frozen dataclass of numpy arrays, numbers, text, None, and tuples and dataclasses of these: it can be saved.
    Its size does not grow with the length of the stream. No method modifies the state it is given.

    Words are timed by the middle of their first and last token's steps; the recognizer subtracts the model's delay and
    keeps times within the sound. It steps decoders a row at a time and asks for `partial` once a network chunk.
    """

    @property
    def identity(self) -> str:
        """Name the kind of decoder and, after a space, whatever a saved state depends on (a digest of phrases, a beam width).

        A saved state is refused by a decoder of another identity.
        """

    def init_state(self) -> S:
        """Open a stream."""

    def step(self, log_probs: npt.NDArray[np.float32], state: S) -> S:
        """Take the next rows `[n_steps, n_tokens]` (natural log); any way of cutting rows gives the same state."""

    def partial(self, state: S) -> Hypothesis | None:
        """Give the best hypothesis so far; None while nothing was said."""

    def stable_words(self, state: S) -> int:
        """Count the leading words of `partial` that no further row can change."""

    def final(self, state: S) -> Hypothesis | None:
        """Give the best hypothesis if the utterance ends here; None if nothing (or nothing allowed) was said."""

    def follow(self, state: S) -> S:
        """Begin the next utterance of the same stream: nothing said yet, time continues."""

    def n_steps(self, state: S) -> int:
        """Count the rows since the stream opened."""

    def last_token_step(self, state: S) -> int:
        """Row at which the newest token of this utterance began (by the best path), -1 while there is none."""

    def is_complete(self, state: S) -> bool:
        """Tell whether what was said so far is a whole utterance, after which a shorter silence ends it.

        For phrases: a phrase has ended. A decoder that knows no sentences says False.
        """


def kind_of(decoder: Decoder[Any]) -> str:
    """Name the kind of a decoder: the first word of its identity, by which measured confidences are kept."""
    return decoder.identity.partition(" ")[0]
