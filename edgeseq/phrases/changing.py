"""Other phrases while a stream runs: what is being said is finished with the phrases it began with."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from edgeseq.decoding.decoder import Hypothesis
from edgeseq.errors import EdgeseqError
from edgeseq.phrases.search import PhraseDecoder, PhraseState

POLL_SECONDS = 0.5
"""How often a phrase file is looked at."""

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class ChangingState:
    """A stream's memory, and the phrases that it belongs to."""

    version: int
    phrases: PhraseState


class ChangingPhrases:
    """A phrase decoder whose phrases can be replaced between two steps, by any thread.

    A stream changes over when its utterance ends, at once if nothing has been said.
    """

    def __init__(self, decoder: PhraseDecoder) -> None:
        """Begin with these phrases."""
        self._decoders = {0: decoder}
        self._version = 0

    def change(self, decoder: PhraseDecoder) -> None:
        """Take other phrases from now on; those before the last ones are forgotten."""
        version = self._version + 1
        self._decoders = {self._version: self._decoders[self._version], version: decoder}
        self._version = version

    @property
    def current(self) -> PhraseDecoder:
        """The phrases that new utterances are searched for."""
        return self._decoders[self._version]

    @property
    def identity(self) -> str:
        """Name the search and its present phrases."""
        return self.current.identity

    def init_state(self) -> ChangingState:
        """Open a stream."""
        return ChangingState(self._version, self.current.init_state())

    def step(self, log_probs: npt.NDArray[np.float32], state: ChangingState) -> ChangingState:
        """Take the next rows `[n_steps, n_tokens]` (natural log)."""
        decoder, state = self._decoder(state)
        if state.version != self._version and decoder.last_token_step(state.phrases) < 0:
            state = self.follow(state)
            decoder = self.current
        return ChangingState(state.version, decoder.step(log_probs, state.phrases))

    def partial(self, state: ChangingState) -> Hypothesis | None:
        """Give the phrase so far, if one has begun that could still be reported."""
        decoder, state = self._decoder(state)
        return decoder.partial(state.phrases)

    def stable_words(self, state: ChangingState) -> int:
        """Count the words that no further row can change."""
        decoder, state = self._decoder(state)
        return decoder.stable_words(state.phrases)

    def final(self, state: ChangingState) -> Hypothesis | None:
        """Give the best phrase if the utterance ends here; None if none may be reported."""
        decoder, state = self._decoder(state)
        return decoder.final(state.phrases)

    def follow(self, state: ChangingState) -> ChangingState:
        """Begin the next utterance of the same stream, with the present phrases."""
        decoder = self._decoders.get(state.version)
        following = self.current.restart(state.phrases) if decoder is None else decoder.follow(state.phrases)
        return ChangingState(self._version, following)

    def n_steps(self, state: ChangingState) -> int:
        """Count the rows since the stream opened."""
        return self.current.n_steps(state.phrases)

    def last_token_step(self, state: ChangingState) -> int:
        """Row at which the network last began a token of its own; -1 before."""
        return self.current.last_token_step(state.phrases)

    def is_complete(self, state: ChangingState) -> bool:
        """Tell whether the best way has come to the end of a phrase that may be reported."""
        decoder, state = self._decoder(state)
        return decoder.is_complete(state.phrases)

    def _decoder(self, state: ChangingState) -> tuple[PhraseDecoder, ChangingState]:
        """Find the phrases that a state belongs to; if they are forgotten, it starts afresh with the present ones."""
        decoders = self._decoders
        if state.version in decoders:
            return decoders[state.version], state
        return self.current, self.follow(state)


class PhraseWatch:
    """Looks at a phrase file now and then, and hands over what it says when it has changed and has no faults."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        load: Callable[[], PhraseDecoder],
        phrases: ChangingPhrases,
        tell: Callable[[str], None],
    ) -> None:
        """Watch `path`; `load` compiles it, `tell` hears what became of a change."""
        self._path = Path(path)
        self._load, self._phrases, self._tell = load, phrases, tell
        self._seen = self._look()
        self._looked = time.monotonic()

    def during(self, blocks: Iterable[T]) -> Iterator[T]:
        """Pass blocks of sound on, looking at the file between them."""
        for block in blocks:
            if time.monotonic() - self._looked >= POLL_SECONDS:
                self.poll()
            yield block

    def poll(self) -> None:
        """Take the file's phrases if it has changed; on a fault, say so and keep the present ones."""
        self._looked = time.monotonic()
        seen = self._look()
        if seen == self._seen or seen is None:  # None: being replaced, or removed
            return
        self._seen = seen
        began = time.perf_counter()
        try:
            self._phrases.change(self._load())
        except (EdgeseqError, OSError) as fault:
            self._tell(f"{fault}\n  The phrases from before stay.")
            return
        self._tell(f"{self._path} has changed; its phrases count from now on ({1000 * (time.perf_counter() - began):.0f} ms).")

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
