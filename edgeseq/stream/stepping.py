"""Sound (or symbols, or values) to rows to events: any number of streams through one network, each stream's memory a value.

Input of any length is cut to network chunks; a gate may leave chunks out; chunks of many streams are put through the network
together, and each stream's reader takes its rows. What rows become is the reader's (`reader.py`): here nobody knows of words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from edgeseq.errors import EdgeseqError, StateError, UsageError
from edgeseq.events import Gap
from edgeseq.model.network import Floats, Network
from edgeseq.model.signature import DTYPES, Array, Port, describe
from edgeseq.sound.blocks import Lost
from edgeseq.stream.gate import Gate
from edgeseq.stream.reader import E, Reader
from edgeseq.stream.serialization import pack, unpack
from edgeseq.stream.state import SoundState, advance, is_resting, let_go, pick, stack, take_in

St = TypeVar("St", bound=SoundState)


@dataclass(frozen=True)
class Saved:
    """A stream's state and what it belongs to."""

    model: str
    """fingerprint of the network"""
    tokens: tuple[str, ...]
    """that the rows of a model of words stand for"""
    decoder: str
    """identity of the reader"""
    state: npt.NDArray[np.uint8]
    """packed by itself, so that it is opened only where it belongs"""


class StreamStepper(Generic[St, E]):
    """A network, a reader of its rows and, for sound, perhaps a gate. Read-only: streams share it, states differ."""

    def __init__(self, network: Network, reader: Reader[Any, E], state_type: type[St], gate: Gate | None = None) -> None:
        """Step `network`, and let `reader` make events; a stream's state is a `state_type`, the reader's fields included.

        With `gate` the network rests while nothing is heard, and starts afresh when the gate opens.
        Raises UsageError for a gate before a network that does not hear, and for a network of several inputs.
        """
        self.network, self.reader, self.gate = network, reader, gate
        self._state_type = state_type
        ports = network.metadata.signature
        if len(ports.inputs) > 1:
            raise UsageError(
                f"{network.metadata.name} takes {describe(ports.inputs)}; a stream has one input.\n"
                "  Step its Network with arrays by name."
            )
        self._port, self._rows_name = ports.input if gate is None else ports.audio, ports.rows.name
        self._n_chunk, self._rate = self._port.per_chunk, network.metadata.rate
        self._row_units = self._n_chunk // max(1, ports.rows.per_chunk)

    @property
    def sample_rate(self) -> int:
        """Rate of the samples that `step` takes, Hz. Raises UsageError for a network that does not hear."""
        return self.network.metadata.sample_rate

    @property
    def port(self) -> Port:
        """What `step` takes: sound, symbols, or values."""
        return self._port

    def init_state(self) -> St:
        """Open a stream: nothing heard, as if silence had come before."""
        opened = self.reader.init_state()
        own = {one.name: getattr(opened, one.name) for one in fields(opened)}
        gate = None if self.gate is None else self.gate.init_state()
        return self._state_type(leftover=self._zeros(0), network=self.network.init_state(), gate=gate, **own)

    def step(self, samples: Array, state: St) -> tuple[list[E], St]:
        """Advance one stream; `state` is not modified.

        samples: float32 `[n_samples]`, mono, in [-1, 1], at `sample_rate`; any length, even none. Networks of another input
        take units as `port` says: ids int64 `[n]`, below `len(port.names)`, or values float32 `[n, n_channels]`.
        Raises UsageError for another type or shape, AudioError for sound of NaN and infinity.
        """
        events, states = self.step_many([samples], [state])
        return events[0], states[0]

    def step_many(self, samples: Sequence[Array], states: Sequence[St]) -> tuple[list[list[E]], list[St]]:
        """Advance several streams together, each by its own samples; none hears another.

        samples: for each stream an array as `step` takes it; lengths may differ.
        Returns each stream's events and next state.
        """
        if len(samples) != len(states):
            raise UsageError(
                f"step_many was given {len(samples)} arrays of samples and {len(states)} states; "
                "wanted one of each for every stream."
            )
        return step_together([self] * len(states), samples, states, [False] * len(states))

    def flush(self, state: St) -> tuple[list[E], St]:
        """End one stream: let the last event come out, then end what is open.

        The model gets as much silence as its metadata asks for; what it says of padding beyond is dropped.
        The returned state has nothing open; to hear something else, begin with `init_state`.
        """
        events, states = step_together([self], [self._zeros(0)], [state], [True])
        return events[0], states[0]

    def skip(self, seconds: float, state: St, reason: str) -> tuple[list[E | Gap], St]:
        """Continue after `seconds` of sound that were lost: end what was open, report the gap, start afresh after it.

        What came before is reported as `flush` does; network and reader then know nothing, and time continues. For 0 seconds
        no gap is reported. `reason` is for people. Raises UsageError for a time that is negative or not a number.
        """
        if not 0 <= seconds < math.inf:
            raise UsageError(f"skip was given {seconds} seconds; wanted a number from 0.")
        told, state = self.flush(state)
        n_samples = state.n_samples + round(seconds * self._rate)
        gap = [Gap(self._seconds(state.n_samples), self._seconds(n_samples), reason)] if seconds else []
        return [*told, *gap], replace(self.init_state(), n_samples=n_samples, n_taken=n_samples, first_sample=n_samples)

    def follow(
        self, blocks: Iterable[Array | Lost], rest: Callable[[bool], None] = lambda is_resting: None
    ) -> Iterator[E | Gap]:
        """Tell events while blocks of sound come in, and the last ones when they end; a `Lost` among them becomes a Gap.

        When the source fails with an EdgeseqError, the last events come first and then the error. `rest` is called when the
        gate closes and when it opens: in between, a source need not hurry.
        """
        state, failure = self.init_state(), None
        source = iter(blocks)
        while True:
            try:
                block = next(source, None)
                if block is None:
                    break
                events, after = self._take(block, state)
            except EdgeseqError as fault:
                failure = fault
                break
            if is_resting(after) != is_resting(state):
                rest(is_resting(after))
            state = after
            yield from events
        last, state = self.flush(state)
        yield from last
        if failure is not None:
            raise failure

    def save(self, state: St) -> bytes:
        """Write down all that a stream remembers, to continue in another process or on another machine.

        The bytes hold no code, and do not grow with the length of the stream.
        """
        self._check(state)
        packed = np.frombuffer(pack(state), np.uint8)
        return pack(Saved(self.network.fingerprint, self._tokens, self._identity(), packed))

    def restore(self, content: bytes) -> St:
        """Read what `save` wrote. The stream continues to the same events, if the machine computes alike.

        Raises StateError when the bytes are not a state, damaged, or of another model or reader.
        """
        saved = unpack(content, [Saved])
        if not isinstance(saved, Saved):
            raise StateError("these bytes are not a stream's saved state. Wanted: what Recognizer.save gave.")
        if (saved.model, saved.tokens) != (self.network.fingerprint, self._tokens):
            raise StateError(
                f"the saved state is of a model with the fingerprint {saved.model[:12]} and {len(saved.tokens)} tokens; "
                f"{self.network.path} has {self.network.fingerprint[:12]} and {len(self._tokens)}.\n"
                "  Restore it with the very file that it was saved with, or begin with init_state()."
            )
        if saved.decoder != self._identity():
            raise StateError(
                f"the saved state is of the decoder '{saved.decoder}'; this recognizer's is '{self._identity()}'.\n"
                "  Make the recognizer with the same decoder, phrases and words, or begin with init_state()."
            )
        opened = self.reader.init_state()
        parts = [type(part) for part in (getattr(opened, one.name) for one in fields(opened)) if is_dataclass(part)]
        state = unpack(saved.state.tobytes(), [self._state_type, *parts])
        if not isinstance(state, self._state_type):
            raise StateError("these bytes hold something else than a stream's state. Wanted: what Recognizer.save gave.")
        self._try_out(state)
        return state

    def _try_out(self, state: St) -> None:
        """Continue with a state that comes from elsewhere, by some zeros; raises StateError where that is not possible."""
        try:
            self._check(state)
            self.flush(self.step(self._zeros(self._n_chunk), state)[1])
        except Exception as fault:  # arrays of other shapes, numbers of no token: whatever a stream would stumble over
            raise StateError(
                f"the saved state does not fit this model ({type(fault).__name__}).\n"
                "  It is damaged: save it again, or begin with init_state()."
            ) from fault

    @property
    def _tokens(self) -> tuple[str, ...]:
        """What a saved state depends on besides the network and the reader."""
        return ()

    def _identity(self) -> str:
        """Name what a saved state depends on besides the network."""
        return self.reader.identity + (f", gate {self.gate.identity}" if self.gate is not None else "")

    def _check(self, state: St) -> None:
        if not isinstance(state, self._state_type):
            raise UsageError(
                f"the stream's state is a {type(state).__name__}; this {type(self).__name__} wants a "
                f"{self._state_type.__name__}.\n"
                "  Begin with its own init_state()."
            )
        self.reader.check(state)
        if self.gate is not None and state.gate is None:
            raise UsageError(
                "the stream was opened without a gate, and this recognizer has one.\n"
                "  Begin with this recognizer's own init_state()."
            )

    def _take(self, block: Array | Lost, state: St) -> tuple[Sequence[E | Gap], St]:
        if isinstance(block, Lost):
            return self.skip(block.seconds, state, block.reason)
        return self.step(block, state)

    def _wait_at_gate(self, state: St) -> St:
        """Leave out chunks while the gate, if there is one, is closed; when it opens, go back by the pre-roll."""
        gate, n_chunk = self.gate, self._n_chunk
        while gate is not None and state.gate is not None and not state.gate.is_open and len(state.leftover) >= n_chunk:
            heard = gate.step(state.leftover[:n_chunk], state.gate)
            if heard.is_open:
                begin = state.n_taken - len(state.gate.recent)
                leftover = np.concatenate([state.gate.recent, state.leftover])
                opened = replace(heard, recent=state.gate.recent[:0])
                return replace(state, leftover=leftover, n_taken=begin, first_sample=begin, gate=opened)
            state = replace(advance(state, n_chunk), gate=heard)
            state = replace(state, first_sample=state.n_taken)
        return state

    def _pad(self, state: St) -> St:
        """Put `flush_seconds` of silence behind what was heard, filled up to a network chunk."""
        if state.n_samples == state.first_sample:
            return state
        n_padding = -(len(state.leftover) + self._n_silence) % self._n_chunk
        return replace(state, leftover=np.concatenate([state.leftover, self._zeros(self._n_silence + n_padding)]))

    def _zeros(self, n_units: int) -> Array:
        """Silence, or what no row of which is read."""
        return np.zeros((n_units, *self._port.shape), DTYPES[self._port.dtype])

    def _read(self, chunk: Array, rows: Floats, state: St, is_ending: bool) -> tuple[list[E], St]:
        """Make events of what the network said of a chunk, which has been taken."""
        if is_ending:  # rows of padding alone are dropped; a gate may have opened since the padding was put there
            n_heard = state.n_samples - state.first_sample
            n_before = (state.n_taken - state.first_sample - self._n_chunk) // self._row_units
            rows = rows[: max(0, math.ceil((n_heard + self._n_silence) / self._row_units) - n_before)]
        events, state = self.reader.step(chunk, rows, state)
        return self._placed(events, state), self._perhaps_close(chunk, state)

    def _end(self, state: St) -> tuple[list[E], St]:
        events, state = self.reader.flush(state)
        return self._placed(events, state), state

    def _placed(self, events: list[E], state: St) -> list[E]:
        """Bring times that count from where the reader began to those of the stream."""
        if not events:
            return events
        began, lasted = self._seconds(state.first_sample), self._seconds(state.n_samples - state.first_sample)
        return [event.placed(began, lasted) for event in events]

    def _perhaps_close(self, chunk: Array, state: St) -> St:
        """Let the gate hear what the network has heard, and close it after enough of nothing, while nothing is open."""
        if self.gate is None or state.gate is None:
            return state
        gate = self.gate.step(chunk, state.gate)
        if not self.gate.may_close(gate) or self.reader.is_busy(state):
            return replace(state, gate=gate)
        return replace(
            self.init_state(),
            leftover=state.leftover,
            n_samples=state.n_samples,
            n_taken=state.n_taken,
            first_sample=state.n_taken,
            gate=replace(gate, is_open=False),
        )

    @property
    def _n_silence(self) -> int:
        return round(self.network.metadata.flush_seconds * self._rate)

    def _seconds(self, n_samples: int) -> float:
        return n_samples / self._rate


def step_together(
    steppers: Sequence[StreamStepper[St, E]], samples: Sequence[Array], states: Sequence[St], ending: Sequence[bool]
) -> tuple[list[list[E]], list[St]]:
    """Advance streams whose steppers share one network, each by its own samples; none hears another.

    As `step_many`, but readers and gates may differ, and streams that are `ending` tell their last events behind these
    samples, as by `flush`.
    """
    for stepper, state in zip(steppers, states, strict=True):
        stepper._check(state)
    heard = [take_in(new, state, s.port) for s, new, state in zip(steppers, samples, states, strict=True)]
    last = [i for i, is_last in enumerate(ending) if is_last]
    for i in last:
        heard[i] = steppers[i]._pad(heard[i])
    events, after = _run(steppers, heard, ending)
    for i in last:
        final, after[i] = steppers[i]._end(after[i])
        events[i] += final
    return events, after


def _run(
    steppers: Sequence[StreamStepper[St, E]], states: Sequence[St], ending: Sequence[bool]
) -> tuple[list[list[E]], list[St]]:
    """Put what streams have heard through their network, a chunk of each at a time."""
    states, events = list(states), [list[E]() for _ in states]
    while True:
        states = [stepper._wait_at_gate(state) for stepper, state in zip(steppers, states, strict=True)]
        n_chunk = steppers[0]._n_chunk if steppers else 0
        ready = [i for i, state in enumerate(states) if len(state.leftover) >= n_chunk]
        if not ready:
            return events, [let_go(state, 4 * n_chunk * math.prod(steppers[0].port.shape)) for state in states]
        chunks = np.stack([states[i].leftover[:n_chunk] for i in ready])
        outputs, after = steppers[0].network.step({steppers[0].port.name: chunks}, stack([states[i].network for i in ready]))
        rows = outputs[steppers[0]._rows_name]
        for row, i in enumerate(ready):
            state = advance(states[i], n_chunk, network=pick(after, row, len(ready)))
            new, states[i] = steppers[i]._read(chunks[row], rows[row], state, ending[i])
            events[i] += new
