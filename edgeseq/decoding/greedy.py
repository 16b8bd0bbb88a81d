"""The greedy decoder: the best symbol of each row, spelled to words as they come. Nothing that it said is taken back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from edgeseq.decoding.ctc import CtcState, greedy_step
from edgeseq.decoding.decoder import Hypothesis
from edgeseq.decoding.spelling import Speller, Spelling
from edgeseq.events import Word
from edgeseq.model.metadata import CtcMetadata


@dataclass(frozen=True)
class GreedyState:
    """All that the greedy decoder remembers of one stream."""

    ctc: CtcState = field(default_factory=CtcState)
    spelling: Spelling = field(default_factory=Spelling)


class GreedyDecoder:
    """Takes each row by itself: quick, and able to say anything that the tokens spell.

    With phones it names the words that sound exactly so; all else it writes as phones, `t-iː`. Without `▁` between words it
    writes phones only, one by one.
    """

    identity = "greedy"

    def __init__(self, metadata: CtcMetadata) -> None:
        """Decode what the model of this metadata says."""
        self._blank_id = metadata.blank_id
        self._speller = Speller(metadata.token_table, metadata.step_samples / metadata.sample_rate)

    def init_state(self) -> GreedyState:
        """Open a stream."""
        return GreedyState()

    def step(self, log_probs: npt.NDArray[np.float32], state: GreedyState) -> GreedyState:
        """Take the next rows `[n_steps, n_tokens]` (natural log)."""
        tokens, ctc = greedy_step(log_probs, state.ctc, self._blank_id)
        spelling = state.spelling
        for token in tokens:
            spelling = self._speller.add(token, spelling)
        return GreedyState(ctc, spelling)

    def partial(self, state: GreedyState) -> Hypothesis | None:
        """Give the words so far; the last one may be unfinished."""
        return self.final(state)

    def stable_words(self, state: GreedyState) -> int:
        """Count the words that are complete, since another has begun."""
        return len(state.spelling.words)

    def final(self, state: GreedyState) -> Hypothesis | None:
        """Give the words, None without any."""
        words = self._speller.words(state.spelling)
        return Hypothesis(words, mean_confidence(words)) if words else None

    def follow(self, state: GreedyState) -> GreedyState:
        """Begin the next utterance of the same stream."""
        return replace(state, spelling=state.spelling.follower())

    def n_steps(self, state: GreedyState) -> int:
        """Count the rows since the stream opened."""
        return state.ctc.n_steps

    def last_token_step(self, state: GreedyState) -> int:
        """Row at which the newest token of this utterance began, -1 while there is none."""
        return state.spelling.tokens[-1].step if state.spelling.tokens else -1

    def is_complete(self, state: GreedyState) -> bool:
        """Tell that no utterance is known to be complete: greedy decoding knows no sentences."""
        return False


def mean_confidence(words: tuple[Word, ...]) -> float:
    """Average over words, each counted alike; 0 without any."""
    return sum(word.confidence for word in words) / len(words) if words else 0.0
