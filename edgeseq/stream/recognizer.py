"""Sound to events: any number of streams through one network, each stream's memory a value.

A recognizer is a network, a decoder and endpoint rules. Sound of any length is cut to network chunks, the decoder takes each
chunk's log-probabilities row by row, the rules end utterances between two rows, and partials are told once a chunk. So events
do not depend on how the sound was cut.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseq.decoding.decoder import Decoder, Hypothesis, kind_of
from edgeseq.decoding.greedy import GreedyDecoder
from edgeseq.errors import CutShortError, EdgeseqError, StateError, UsageError
from edgeseq.events import Event, Final, Gap, Partial
from edgeseq.model.metadata import ModelMetadata
from edgeseq.model.network import Floats, Network
from edgeseq.sound.audio import read_blocks
from edgeseq.sound.blocks import Lost
from edgeseq.stream.endpoint import DEFAULT_RULES, EndpointRule, Pause, first_that_fires
from edgeseq.stream.gate import Gate
from edgeseq.stream.hypothesis_events import R, join, to_event
from edgeseq.stream.serialization import pack, unpack
from edgeseq.stream.state import State, UtteranceState, advance, hear, is_resting, let_go, pick, stack
from edgeseq.stream.voice import SPEECH_SCORE, AnyVoiceActivity


@dataclass(frozen=True)
class Saved:
    """A stream's state and what it belongs to."""

    model: str
    """fingerprint of the network"""
    tokens: tuple[str, ...]
    decoder: str
    """identity"""
    state: npt.NDArray[np.uint8]
    """packed by itself, so that it is opened only where it belongs"""


class Recognizer:
    """A network, a decoder and endpoint rules. Read-only: streams share it, states differ.

    >>> recognizer = Recognizer(Network("models/digits-en/model.int8.onnx"))  # doctest: +SKIP
    >>> recognizer.transcribe("three-one-four.wav").text                       # doctest: +SKIP
    'three one four'
    """

    def __init__(
        self,
        network: Network,
        decoder: Decoder[Any] | None = None,
        rules: Iterable[EndpointRule] = DEFAULT_RULES,
        *,
        voice: AnyVoiceActivity | None = None,
        gate: Gate | None = None,
        calibrated: bool = True,
    ) -> None:
        """Use `network` and `decoder` (`usual_decoder` if None); an utterance ends when one of `rules` says so.

        Without any rule a stream is one utterance. With `voice` only time without voice is silence to the rules. With
        `gate` the network rests while nothing is heard, and begins anew when the gate opens. Unless `calibrated`,
        confidences are told as the decoder gives them, whatever was measured of them.
        """
        self.network = network
        self.decoder: Decoder[Any] = usual_decoder(network.metadata) if decoder is None else decoder
        self.rules = tuple(rules)
        self._step_seconds = self.metadata.step_samples / self.metadata.sample_rate
        self.voice = voice
        self.gate = gate
        self.calibrated = calibrated
        self._confidence_map = self.metadata.confidence_map(kind_of(self.decoder)) if calibrated else None
        self._state_type = type(self.decoder.init_state())

    def with_decoder(self, decoder: Decoder[Any]) -> Recognizer:
        """Return a recognizer that shares all but the decoder."""
        return self._with(decoder=decoder)

    def with_rules(self, rules: Iterable[EndpointRule]) -> Recognizer:
        """Return a recognizer that shares all but the endpoint rules."""
        return self._with(rules=rules)

    def with_voice(self, voice: AnyVoiceActivity | None) -> Recognizer:
        """Return a recognizer that shares all but the voice activity, without which it listens to words alone."""
        return self._with(voice=voice)

    def with_gate(self, gate: Gate | None) -> Recognizer:
        """Return a recognizer that shares all but the gate, without which the network hears everything."""
        return self._with(gate=gate)

    def uncalibrated(self) -> Recognizer:
        """Return a recognizer that tells confidences as its decoder gives them."""
        return self._with(calibrated=False)

    def _with(self, **changes: Any) -> Recognizer:
        own = {"voice": self.voice, "gate": self.gate, "calibrated": self.calibrated}
        return Recognizer(self.network, **{"decoder": self.decoder, "rules": self.rules, **own, **changes})

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
        voice = None if self.voice is None else self.voice.init_state()
        gate = None if self.gate is None else self.gate.init_state()
        return State(np.zeros(0, dtype=np.float32), self.network.init_state(), self.decoder.init_state(), voice, gate=gate)

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
        return step_together([self] * len(states), samples, states, [False] * len(states))

    def flush(self, state: State) -> tuple[list[Event], State]:
        """End one stream: let the last word come out, then tell the final if there are words.

        The model gets as much silence as its metadata asks for; what it says of padding beyond is dropped.
        The returned state has nothing open; to hear something else, begin with `init_state`.
        """
        self._check(state)
        events, state = self._flush(state, self._tell)
        final, state = self._end(state)
        return events + final, state

    def skip(self, seconds: float, state: State, reason: str) -> tuple[list[Event | Gap], State]:
        """Go on after `seconds` of sound that were lost: end what was being said, tell the gap, begin anew behind it.

        What was said before is told as `flush` does; network and decoder then know nothing, and time goes on. Of 0 seconds
        no gap is told. `reason` is for people. Raises UsageError for a time that is negative or no number.
        """
        if not 0 <= seconds < math.inf:
            raise UsageError(f"skip was given {seconds} seconds; wanted a number from 0.")
        told, state = self.flush(state)
        n_samples = state.n_samples + round(seconds * self.sample_rate)
        gap = [Gap(self._seconds(state.n_samples), self._seconds(n_samples), reason)] if seconds else []
        return [*told, *gap], replace(self.init_state(), n_samples=n_samples, n_taken=n_samples, first_sample=n_samples)

    def follow(
        self, blocks: Iterable[Floats | Lost], rest: Callable[[bool], None] = lambda is_resting: None
    ) -> Iterator[Event | Gap]:
        """Tell events while blocks of sound come in, and the last words when they end; a `Lost` among them becomes a Gap.

        When the source fails with an EdgeseqError, the last words come first and then the error. `rest` is called when the
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

    def _take(self, block: Floats | Lost, state: State) -> tuple[Sequence[Event | Gap], State]:
        if isinstance(block, Lost):
            return self.skip(block.seconds, state, block.reason)
        return self.step(block, state)

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
        state, finals = self.init_state(), list[Event]()
        try:
            for block in blocks:
                (new,), (state,) = _run([self], [hear(block, state)], [self._decide])
                finals += new
        except CutShortError as fault:
            fault.final = self._conclude(finals, state)
            raise
        return self._conclude(finals, state)

    def _conclude(self, finals: list[Event], state: State) -> Final:
        """Join all that was said in a recording."""
        new, state = self._flush(state, self._decide)
        last, state = self._end(state)
        return join([*finals, *new, *last], self._seconds(state.n_samples))

    def save(self, state: State) -> bytes:
        """Write down all that a stream remembers, to go on from in another process or on another machine.

        The bytes hold no code, and grow with the length of an utterance but not of the stream.
        """
        self._check(state)
        return pack(
            Saved(self.network.fingerprint, self.metadata.tokens, self._identity(), np.frombuffer(pack(state), np.uint8))
        )

    def restore(self, content: bytes) -> State:
        """Read what `save` wrote. The stream goes on to the same words, if the machine computes alike.

        Raises StateError when the bytes are no state, damaged, or of another model or decoder.
        """
        saved = unpack(content, [Saved])
        if not isinstance(saved, Saved):
            raise StateError("these bytes are no stream's saved state. Wanted: what Recognizer.save gave.")
        if (saved.model, saved.tokens) != (self.network.fingerprint, self.metadata.tokens):
            raise StateError(
                f"the saved state is of a model with the fingerprint {saved.model[:12]} and {len(saved.tokens)} tokens; "
                f"{self.network.path} has {self.network.fingerprint[:12]} and {len(self.metadata.tokens)}.\n"
                "  Restore it with the very file that it was saved with, or begin with init_state()."
            )
        if saved.decoder != self._identity():
            raise StateError(
                f"the saved state is of the decoder '{saved.decoder}'; this recognizer's is '{self._identity()}'.\n"
                "  Make the recognizer with the same decoder, phrases and words, or begin with init_state()."
            )
        voice = [] if self.voice is None else [type(self.voice.init_state())]
        state = unpack(saved.state.tobytes(), [State, self._state_type, *voice])
        if not isinstance(state, State):
            raise StateError("these bytes hold something else than a stream's state. Wanted: what Recognizer.save gave.")
        self._try_out(state)
        return state

    def _try_out(self, state: State) -> None:
        """Go on with a state that comes from elsewhere, by some silence; raises StateError where that is not possible."""
        try:
            self._check(state)
            self.flush(self.step(np.zeros(self.metadata.chunk_samples, np.float32), state)[1])
        except Exception as fault:  # arrays of other shapes, numbers of no token: whatever a stream would stumble over
            raise StateError(
                f"the saved state does not go on with this model ({type(fault).__name__}).\n"
                "  It is damaged: save it again, or begin with init_state()."
            ) from fault

    def _identity(self) -> str:
        """Name what a saved state depends on besides the network."""
        voice = f", voice activity {self.voice.identity}" if self.voice is not None else ""
        return self.decoder.identity + voice + (f", gate {self.gate.identity}" if self.gate is not None else "")

    def _check(self, state: State) -> None:
        if not isinstance(state.decoder, self._state_type):
            raise UsageError(
                f"the stream's decoder state is a {type(state.decoder).__name__}; this recognizer's decoder "
                f"({self.decoder.identity}) wants a {self._state_type.__name__}.\n"
                "  Begin with this recognizer's own init_state()."
            )
        if self.voice is not None and state.voice is None:
            raise UsageError(
                "the stream was opened without voice activity, and this recognizer has one.\n"
                "  Begin with this recognizer's own init_state()."
            )
        if self.gate is not None and state.gate is None:
            raise UsageError(
                "the stream was opened without a gate, and this recognizer has one.\n"
                "  Begin with this recognizer's own init_state()."
            )

    def _wait_at_gate(self, state: State) -> State:
        """Leave out chunks while the gate, if there is one, is closed; when it opens, go back by the pre-roll."""
        gate, n_chunk = self.gate, self.metadata.chunk_samples
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

    def _take_chunk(self, chunk: Floats, log_probs: Floats, state: State, take: Take) -> tuple[list[Event], State]:
        """Make events of what the network said of a chunk."""
        events, state = take(log_probs, self._hear_voice(chunk, state))
        return events, self._perhaps_close(chunk, state)

    def _perhaps_close(self, chunk: Floats, state: State) -> State:
        """Let the gate hear what the network has heard, and close it after enough of nothing, outside utterances."""
        if self.gate is None or state.gate is None:
            return state
        gate = self.gate.step(chunk, state.gate)
        if not self.gate.may_close(gate) or self.decoder.last_token_step(state.decoder) >= 0:
            return replace(state, gate=gate)
        return replace(
            self.init_state(),
            leftover=state.leftover,
            n_samples=state.n_samples,
            n_taken=state.n_taken,
            first_sample=state.n_taken,
            gate=replace(gate, is_open=False),
        )

    def _flush(self, state: State, take: Take) -> tuple[list[Event], State]:
        """Let the last word come out."""
        padded, take = self._pad(state, take)
        events, states = _run([self], [padded], [take])
        return events[0], states[0]

    def _pad(self, state: State, take: Take) -> tuple[State, Take]:
        """Put `flush_seconds` of silence behind what was heard, filled up to a network chunk; drop rows of padding alone."""
        if state.n_samples == state.first_sample:
            return state, take
        n_silence = round(self.metadata.flush_seconds * self.sample_rate)
        n_padding = -(len(state.leftover) + n_silence) % self.metadata.chunk_samples

        def take_wanted(log_probs: Floats, state: State) -> tuple[list[Event], State]:
            n_heard = state.n_samples - state.first_sample  # a gate may have opened in between
            n_steps = math.ceil((n_heard + n_silence) / self.metadata.step_samples)
            return take(log_probs[: max(0, n_steps - self.decoder.n_steps(state.decoder))], state)

        zeros = np.zeros(n_silence + n_padding, dtype=np.float32)
        return replace(state, leftover=np.concatenate([state.leftover, zeros])), take_wanted

    def _tell(self, log_probs: Floats, state: State) -> tuple[list[Event], State]:
        """Turn the rows of one network chunk into events: utterances that ended, then what is being said."""
        finals, state = self._decide(log_probs, state)
        partial, state = self._partial(state)
        return finals + partial, state

    def _decide(self, log_probs: Floats, state: State) -> tuple[list[Event], State]:
        """Decode rows one by one, ending utterances where the rules say so."""
        if not self.rules:
            return [], replace(state, decoder=self.decoder.step(log_probs, state.decoder))
        events: list[Event] = []
        decoded, utterance = state.decoder, state.utterance
        for row in range(len(log_probs)):
            decoded = self.decoder.step(log_probs[row : row + 1], decoded)
            utterance = self._note_speech(decoded, utterance)
            if first_that_fires(self.rules, self._pause(decoded, utterance)) is not None:
                final, state = self._end(replace(state, decoder=decoded, utterance=utterance))
                decoded, utterance = state.decoder, state.utterance
                events += final
        return events, replace(state, decoder=decoded, utterance=utterance)

    def _hear_voice(self, chunk: Floats, state: State) -> State:
        """Note whether there is voice in the chunk that the decoder is about to take."""
        if self.voice is None:
            return state
        score, voice = self.voice.step(chunk, state.voice)
        state = replace(state, voice=voice)
        if score < SPEECH_SCORE:
            return state
        last_step = self.decoder.n_steps(state.decoder) + self.network.n_steps - 1
        return replace(state, utterance=replace(state.utterance, voice_step=last_step))

    def _note_speech(self, decoded: Any, utterance: UtteranceState) -> UtteranceState:
        """Remember when the first token of an utterance came."""
        if utterance.speech_step >= 0 or self.decoder.last_token_step(decoded) < 0:
            return utterance
        return replace(utterance, speech_step=self.decoder.n_steps(decoded) - 1)

    def _pause(self, decoded: Any, utterance: UtteranceState) -> Pause:
        """Say how long has been spoken, and how long not."""
        step, last = self.decoder.n_steps(decoded) - 1, self.decoder.last_token_step(decoded)
        first = utterance.first_step if utterance.speech_step < 0 else utterance.speech_step
        last_sound = max(last if last >= 0 else utterance.first_step - 1, utterance.voice_step)
        return Pause(
            silence_seconds=max(0, step - last_sound) * self._step_seconds,
            utterance_seconds=(step - first) * self._step_seconds,
            has_words=last >= 0,
            is_complete=lambda: self.decoder.is_complete(decoded),
        )

    def _partial(self, state: State) -> tuple[list[Event], State]:
        """Tell what is being said, if that has changed."""
        if self.decoder.last_token_step(state.decoder) < 0:
            return [], state
        hypothesis = self.decoder.partial(state.decoder)
        if hypothesis is None or not hypothesis.words:
            return [], state
        text, stable = hypothesis.text, self.decoder.stable_words(state.decoder)
        if (text, stable) == (state.utterance.told, state.utterance.told_stable):
            return [], state
        partial = self._say(Partial, hypothesis, state, stable=stable)
        return [partial], replace(state, utterance=replace(state.utterance, told=text, told_stable=stable))

    def _end(self, state: State) -> tuple[list[Event], State]:
        """End the utterance: tell its final if there are words, and begin the next."""
        hypothesis = self.decoder.final(state.decoder)
        final = [] if hypothesis is None or not hypothesis.words else [self._say(Final, hypothesis, state)]
        following = self.decoder.follow(state.decoder)
        utterance = UtteranceState(first_step=self.decoder.n_steps(following))
        return list(final), replace(state, decoder=following, utterance=utterance)

    def _say(self, kind: type[R], hypothesis: Hypothesis, state: State, **more: Any) -> R:
        began, lasted = self._seconds(state.first_sample), self._seconds(state.n_samples - state.first_sample)
        return to_event(kind, hypothesis, self.metadata, self._confidence_map, began, lasted, **more)

    def _seconds(self, n_samples: int) -> float:
        return n_samples / self.sample_rate


def usual_decoder(metadata: ModelMetadata) -> Decoder[Any]:
    """Give what a model is decoded with where nothing is asked for.

    Its language model and its lexicon, where it has companions, or its lexicon, where tokens are phones; else greedy.
    """
    if metadata.token_table.kind != "phones" and not metadata.companion_files:
        return GreedyDecoder(metadata)
    from edgeseq.decoding.beam import load_beam

    return load_beam(metadata)


Take = Callable[[Floats, State], tuple[list[Event], State]]
"""What becomes of new rows of one stream."""


def step_together(
    recognizers: Sequence[Recognizer], samples: Sequence[Floats], states: Sequence[State], ending: Sequence[bool]
) -> tuple[list[list[Event]], list[State]]:
    """Advance streams whose recognizers share one network, each by its own samples; none hears another.

    As `Recognizer.step_many`, but decoders, rules and gates may differ, and streams that are `ending` tell their last words
    behind these samples, as by `Recognizer.flush`.
    """
    for recognizer, state in zip(recognizers, states, strict=True):
        recognizer._check(state)
    heard = [hear(new, state) for new, state in zip(samples, states, strict=True)]
    takes: list[Take] = [recognizer._tell for recognizer in recognizers]
    last = [i for i, is_last in enumerate(ending) if is_last]
    for i in last:
        heard[i], takes[i] = recognizers[i]._pad(heard[i], takes[i])
    events, after = _run(recognizers, heard, takes)
    for i in last:
        final, after[i] = recognizers[i]._end(after[i])
        events[i] += final
    return events, after


def _run(
    recognizers: Sequence[Recognizer], states: Sequence[State], takes: Sequence[Take]
) -> tuple[list[list[Event]], list[State]]:
    """Put what streams have heard through their network, a chunk of each at a time."""
    states, events = list(states), [list[Event]() for _ in states]
    while True:
        states = [recognizer._wait_at_gate(state) for recognizer, state in zip(recognizers, states, strict=True)]
        n_chunk = recognizers[0].metadata.chunk_samples if recognizers else 0
        ready = [i for i, state in enumerate(states) if len(state.leftover) >= n_chunk]
        if not ready:
            return events, [let_go(state, 4 * n_chunk) for state in states]
        chunks = np.stack([states[i].leftover[:n_chunk] for i in ready])
        log_probs, after = recognizers[0].network.step(chunks, stack([states[i].network for i in ready]))
        for row, i in enumerate(ready):
            state = advance(states[i], n_chunk, network=pick(after, row, len(ready)))
            new, states[i] = recognizers[i]._take_chunk(chunks[row], log_probs[row], state, takes[i])
            events[i] += new
