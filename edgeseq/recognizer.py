"""Sound to events: any number of streams through one network, each stream's memory a value.

Sound of any length is cut to network chunks, each chunk's log-probabilities become tokens, tokens become
words, and words an utterance, which ends when nothing new has been said for a while. Decisions are taken per
network step, so events do not depend on how the sound was cut.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from edgeseq.audio import read_blocks
from edgeseq.blocks import first_unusable
from edgeseq.ctc import CtcState, greedy_step
from edgeseq.errors import AudioError, CutShortError, EdgeseqError, UsageError
from edgeseq.events import Event, Final
from edgeseq.metadata import ModelMetadata
from edgeseq.network import Floats, Network, NetworkState
from edgeseq.utterance import Speller, Utterance

ENDPOINT_SECONDS = 0.8
"""Longer than the pauses inside a spoken number, shorter than a listener's patience."""


@dataclass(frozen=True)
class State:
    """All that one stream must remember between two chunks. Any old one may be gone on from."""

    leftover: Floats
    """heard but too little for a network chunk, `[n < chunk_samples]`"""
    network: NetworkState
    ctc: CtcState = field(default_factory=CtcState)
    utterance: Utterance = field(default_factory=Utterance)
    """what has been said since the last final"""
    text: str = ""
    """of the last partial, so that only changes are told"""
    n_samples: int = 0
    """heard since the stream opened"""


class Recognizer:
    """A network and the rules that turn what it says into words. Read-only: streams share it, states differ.

    >>> recognizer = Recognizer(Network("models/digits-en/model.int8.onnx"))  # doctest: +SKIP
    >>> recognizer.transcribe("three-one-four.wav").text                       # doctest: +SKIP
    'three one four'
    """

    def __init__(self, network: Network, endpoint_seconds: float = ENDPOINT_SECONDS) -> None:
        """Use `network`; an utterance ends when words were said and no token came for `endpoint_seconds`."""
        if not endpoint_seconds > 0:
            raise UsageError(f"endpoint_seconds is {endpoint_seconds}; wanted more than 0 seconds.")
        self.network = network
        self.endpoint_seconds = endpoint_seconds
        self._step_seconds = self.metadata.step_samples / self.metadata.sample_rate
        self._speller = Speller(self.metadata.tokens, self._step_seconds)

    @property
    def metadata(self) -> ModelMetadata:
        """What the model file says about itself."""
        return self.network.metadata

    @property
    def sample_rate(self) -> int:
        """Of the samples that `step` takes, Hz."""
        return self.metadata.sample_rate

    def init_state(self) -> State:
        """Open a stream: nothing heard, as if silence had come before."""
        return State(leftover=np.zeros(0, dtype=np.float32), network=self.network.init_state())

    def step(self, samples: Floats, state: State) -> tuple[list[Event], State]:
        """Advance one stream; `state` is not modified.

        samples: float32 `[n_samples]`, mono, in [-1, 1], at `sample_rate`; any length, even none.
        Raises UsageError for another type or shape, AudioError for NaN and infinity.
        """
        events, states = self.step_many([samples], [state])
        return events[0], states[0]

    def step_many(self, samples: Sequence[Floats], states: Sequence[State]) -> tuple[list[list[Event]], list[State]]:
        """Advance several streams together, each by its own samples; none hears another.

        samples: for each stream an array as `step` takes it; lengths may differ.
        Returns each stream's events and next state.
        """
        if len(samples) != len(states):
            raise UsageError(
                f"step_many was given {len(samples)} arrays of samples and {len(states)} states; "
                "wanted one of each for every stream."
            )
        heard = [_hear(new, state) for new, state in zip(samples, states, strict=True)]
        return self._run(heard, self._tell)

    def flush(self, state: State) -> tuple[list[Event], State]:
        """End one stream: let the last word come out, then tell the final if there are words.

        The model gets as much silence as its metadata asks for; what it says of padding beyond is dropped.
        The returned state has nothing open; to hear something else, begin with `init_state`.
        """
        events, state = self._flush(state, self._tell)
        final = self._speller.final(state.utterance, self._heard_seconds(state))
        if final is not None:
            events.append(final)
        return events, replace(state, utterance=state.utterance.follower(), text="")

    def follow(self, blocks: Iterable[Floats]) -> Iterator[Event]:
        """Tell events while blocks of sound come in, and the last words when they end.

        When the source fails with an EdgeseqError, the last words come first and then the error.
        """
        state, failure = self.init_state(), None
        source = iter(blocks)
        while True:
            try:
                block = next(source, None)
                if block is None:
                    break
                events, state = self.step(block, state)
            except EdgeseqError as fault:
                failure = fault
                break
            yield from events
        events, state = self.flush(state)
        yield from events
        if failure is not None:
            raise failure

    def transcribe(self, source: str | os.PathLike[str] | Floats) -> Final:
        """Hear a whole recording: a file that soundfile or ffmpeg reads, or samples as `step` takes them.

        However long it is, it gives one Final and takes little memory. Without words, `text` is empty and
        the times are those of the recording. Raises AudioError when it cannot be read; a recording that
        breaks off raises CutShortError, whose `final` holds the words up to there.
        """
        if isinstance(source, np.ndarray):
            return self.transcribe_blocks([source])
        return self.transcribe_blocks(read_blocks(source, self.sample_rate))

    def transcribe_blocks(self, blocks: Iterable[Floats]) -> Final:
        """Hear blocks of sound to their end as one recording; see `transcribe`."""
        state = self.init_state()
        try:
            for block in blocks:
                _, (state,) = self._run([_hear(block, state)], self._note)
        except CutShortError as fault:
            fault.final = self._conclude(state)
            raise
        return self._conclude(state)

    def _conclude(self, state: State) -> Final:
        _, state = self._flush(state, self._note)
        end = self._heard_seconds(state)
        return self._speller.final(state.utterance, end) or Final("", 0.0, end, 0.0, ())

    def _run(self, states: list[State], take: Take) -> tuple[list[list[Event]], list[State]]:
        """Put what streams have heard through the network, a chunk of each at a time."""
        events: list[list[Event]] = [[] for _ in states]
        n_chunk = self.metadata.chunk_samples
        while ready := [i for i, state in enumerate(states) if len(state.leftover) >= n_chunk]:
            chunks = np.stack([states[i].leftover[:n_chunk] for i in ready])
            log_probs, network = self.network.step(chunks, _stack([states[i].network for i in ready]))
            for row, i in enumerate(ready):
                after = replace(states[i], leftover=states[i].leftover[n_chunk:], network=_pick(network, row, len(ready)))
                new, states[i] = take(log_probs[row], after)
                events[i] += new
        # A view would keep all of a long array in memory.
        return events, [replace(state, leftover=state.leftover.copy()) for state in states]

    def _flush(self, state: State, take: Take) -> tuple[list[Event], State]:
        """Hear `flush_seconds` of silence, padded to a network chunk; drop rows of padding alone."""
        if state.n_samples == 0:
            return [], state
        n_silence = round(self.metadata.flush_seconds * self.sample_rate)
        n_padding = -(len(state.leftover) + n_silence) % self.metadata.chunk_samples
        n_steps = math.ceil((state.n_samples + n_silence) / self.metadata.step_samples)

        def take_wanted(log_probs: Floats, state: State) -> tuple[list[Event], State]:
            return take(log_probs[: max(0, n_steps - state.ctc.n_steps)], state)

        zeros = np.zeros(n_silence + n_padding, dtype=np.float32)
        events, states = self._run([replace(state, leftover=np.concatenate([state.leftover, zeros]))], take_wanted)
        return events[0], states[0]

    def _tell(self, log_probs: Floats, state: State) -> tuple[list[Event], State]:
        """Turn new rows of one stream into events."""
        tokens, ctc = greedy_step(log_probs, state.ctc, self.metadata.blank_id)
        state = replace(state, ctc=ctc)
        events: list[Event] = []
        for token in tokens:
            final, state = self._end_if_silent(state, token.step)
            events += final
            state = replace(state, utterance=self._speller.add(token, state.utterance))
        final, state = self._end_if_silent(state, ctc.n_steps - 1)
        events += final
        if tokens:
            partial = self._speller.partial(state.utterance, self._heard_seconds(state))
            if partial is not None and partial.text != state.text:
                events.append(partial)
                state = replace(state, text=partial.text)
        return events, state

    def _note(self, log_probs: Floats, state: State) -> tuple[list[Event], State]:
        """Take in new rows of one stream without telling anything; its utterance never ends."""
        tokens, ctc = greedy_step(log_probs, state.ctc, self.metadata.blank_id)
        utterance = state.utterance
        for token in tokens:
            utterance = self._speller.add(token, utterance)
        return [], replace(state, ctc=ctc, utterance=utterance)

    def _end_if_silent(self, state: State, step: int) -> tuple[list[Event], State]:
        """Tell the final if no token came for `endpoint_seconds` before network step `step`."""
        silence = (step - state.utterance.last_step) * self._step_seconds
        if silence < self.endpoint_seconds - 1e-6:
            return [], state
        final = self._speller.final(state.utterance, self._heard_seconds(state))
        if final is None:
            return [], state
        return [final], replace(state, utterance=state.utterance.follower(), text="")

    def _heard_seconds(self, state: State) -> float:
        return state.n_samples / self.sample_rate


Take = Callable[[Floats, State], tuple[list[Event], State]]
"""What becomes of new rows of one stream."""


def _hear(samples: Floats, state: State) -> State:
    """Append new samples to what has not been through the network yet."""
    if not isinstance(samples, np.ndarray) or samples.dtype != np.float32 or samples.ndim != 1:
        seen = f"{samples.dtype} of shape {list(samples.shape)}" if isinstance(samples, np.ndarray) else type(samples).__name__
        raise UsageError(
            f"the samples are {seen}; wanted a numpy array of float32, one dimension, in [-1, 1].\n"
            "  Mix channels by `.mean(axis=1)`; make float32 of int16 by `.astype(np.float32) / 32768`."
        )
    bad = first_unusable(samples)
    if bad is not None:
        raise AudioError(
            f"sample {state.n_samples + bad:,} of the sound is {samples[bad]}; wanted numbers in [-1, 1].\n"
            "  Whatever wrote it divided by zero or is broken: repair it there."
        )
    return replace(
        state,
        leftover=np.concatenate([state.leftover, samples]),
        n_samples=state.n_samples + len(samples),
    )


def _stack(states: list[NetworkState]) -> NetworkState:
    """Put streams side by side along the batch axis."""
    if len(states) == 1:
        return states[0]
    return {name: np.concatenate([state[name] for state in states]) for name in states[0]}


def _pick(state: NetworkState, row: int, batch: int) -> NetworkState:
    """Take one stream out of a batch."""
    if batch == 1:
        return state
    return {name: array[row : row + 1].copy() for name, array in state.items()}
