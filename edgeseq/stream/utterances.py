"""Rows of log-probs to words: a decoder takes them one by one, and endpoint rules end utterances between two of them.

Partials are reported once per chunk. So events do not depend on how the sound was cut.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

from edgeseq.decoding.decoder import Decoder, Hypothesis, kind_of
from edgeseq.errors import UsageError
from edgeseq.events import Event, Final, Partial
from edgeseq.model.confidence import ConfidenceMap
from edgeseq.model.metadata import CtcMetadata
from edgeseq.sound.blocks import Floats
from edgeseq.stream.endpoint import Pause, Rules, first_that_fires
from edgeseq.stream.hypothesis_events import R, to_event
from edgeseq.stream.state import UtterancesState, UtteranceState
from edgeseq.stream.voice import SPEECH_SCORE, AnyVoiceActivity

S = TypeVar("S", bound=UtterancesState)


@dataclass(frozen=True, eq=False)
class Utterances:
    """A decoder and endpoint rules: a `Reader` of log-probs. Read-only: streams share it, states differ."""

    metadata: CtcMetadata
    decoder: Decoder[Any]
    rules: Rules
    """an utterance ends when one of them says so; without any, a stream is one utterance"""
    voice: AnyVoiceActivity | None = None
    """with it only time without voice is silence to the rules"""
    calibrated: bool = True
    """confidences as measured, not as the decoder gives them"""
    partials: bool = True
    """also tell what is being said"""

    def __post_init__(self) -> None:
        """Raise ModelError for a confidence map that is broken."""
        _ = self._confidence_map

    @property
    def identity(self) -> str:
        """Name what a saved state depends on besides the network."""
        return self.decoder.identity + (f", voice activity {self.voice.identity}" if self.voice is not None else "")

    def init_state(self) -> UtterancesState:
        """Open a stream: nothing said."""
        voice = None if self.voice is None else self.voice.init_state()
        return UtterancesState(decoder=self.decoder.init_state(), voice=voice)

    def step(self, chunk: Floats, rows: Floats, state: S) -> tuple[list[Event], S]:
        """Take the rows of a chunk `[n_rows, n_tokens]`: utterances that ended, then what is being said."""
        events, state = self._decide(rows, self._hear_voice(chunk, state))
        partial, state = self._partial(state) if self.partials else ([], state)
        return events + partial, state

    def flush(self, state: S) -> tuple[list[Event], S]:
        """End the utterance: tell its final if there are words, and begin the next."""
        hypothesis = self.decoder.final(state.decoder)
        final = [] if hypothesis is None or not hypothesis.words else [self._say(Final, hypothesis)]
        following = self.decoder.follow(state.decoder)
        utterance = UtteranceState(first_step=self.decoder.n_steps(following))
        return list(final), replace(state, decoder=following, utterance=utterance)

    def is_busy(self, state: UtterancesState) -> bool:
        """Whether something has been said in this utterance."""
        return self.decoder.last_token_step(state.decoder) >= 0

    def check(self, state: UtterancesState) -> None:
        """Raise UsageError for the state of another decoder, or one without voice activity."""
        if not isinstance(state.decoder, self._decoder_state):
            raise UsageError(
                f"the stream's decoder state is a {type(state.decoder).__name__}; this recognizer's decoder "
                f"({self.decoder.identity}) wants a {self._decoder_state.__name__}.\n"
                "  Begin with this recognizer's own init_state()."
            )
        if self.voice is not None and state.voice is None:
            raise UsageError(
                "the stream was opened without voice activity, and this recognizer has one.\n"
                "  Begin with this recognizer's own init_state()."
            )

    @cached_property
    def _decoder_state(self) -> type:
        return type(self.decoder.init_state())

    @cached_property
    def _confidence_map(self) -> ConfidenceMap | None:
        return self.metadata.confidence_map(kind_of(self.decoder)) if self.calibrated else None

    @cached_property
    def _step_seconds(self) -> float:
        return self.metadata.step_samples / self.metadata.sample_rate

    def _decide(self, log_probs: Floats, state: S) -> tuple[list[Event], S]:
        """Decode rows one by one, ending utterances where the rules say so."""
        if not self.rules:
            return [], replace(state, decoder=self.decoder.step(log_probs, state.decoder))
        events: list[Event] = []
        decoded, utterance = state.decoder, state.utterance
        for row in range(len(log_probs)):
            decoded = self.decoder.step(log_probs[row : row + 1], decoded)
            utterance = self._note_speech(decoded, utterance)
            if first_that_fires(self.rules, self._pause(decoded, utterance)) is not None:
                final, state = self.flush(replace(state, decoder=decoded, utterance=utterance))
                decoded, utterance = state.decoder, state.utterance
                events += final
        return events, replace(state, decoder=decoded, utterance=utterance)

    def _hear_voice(self, chunk: Floats, state: S) -> S:
        """Note whether there is voice in the chunk whose rows the decoder is about to take."""
        if self.voice is None:
            return state
        score, voice = self.voice.step(chunk, state.voice)
        state = replace(state, voice=voice)
        if score < SPEECH_SCORE:
            return state
        last_step = self.decoder.n_steps(state.decoder) + self.metadata.signature.rows.per_chunk - 1
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

    def _partial(self, state: S) -> tuple[list[Event], S]:
        """Tell what is being said, if that has changed."""
        if self.decoder.last_token_step(state.decoder) < 0:
            return [], state
        hypothesis = self.decoder.partial(state.decoder)
        if hypothesis is None or not hypothesis.words:
            return [], state
        text, stable = hypothesis.text, self.decoder.stable_words(state.decoder)
        if (text, stable) == (state.utterance.told, state.utterance.told_stable):
            return [], state
        partial = self._say(Partial, hypothesis, stable=stable)
        return [partial], replace(state, utterance=replace(state.utterance, told=text, told_stable=stable))

    def _say(self, kind: type[R], hypothesis: Hypothesis, **more: Any) -> R:
        return to_event(kind, hypothesis, self.metadata, self._confidence_map, **more)
