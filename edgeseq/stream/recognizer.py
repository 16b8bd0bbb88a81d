"""A recognizer: streams of sound to words.

It is a stepper (`stepping.py`: sound, chunks, gate, many streams) with a reader that makes words (`utterances.py`: decoder,
endpoint rules).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from edgeseq.decoding.decoder import Decoder
from edgeseq.decoding.greedy import GreedyDecoder
from edgeseq.errors import CutShortError
from edgeseq.events import Event, Final
from edgeseq.model.metadata import CtcMetadata
from edgeseq.model.network import Floats, Network
from edgeseq.sound.audio import read_blocks
from edgeseq.stream.endpoint import DEFAULT_RULES, EndpointRule
from edgeseq.stream.gate import Gate
from edgeseq.stream.hypothesis_events import join
from edgeseq.stream.state import State
from edgeseq.stream.stepping import StreamStepper
from edgeseq.stream.utterances import Utterances
from edgeseq.stream.voice import AnyVoiceActivity


class Recognizer(StreamStepper[State, Event]):
    """A network, a decoder and endpoint rules. Read-only: streams share it, states differ.

    >>> recognizer = Recognizer(Network("models/digits-en/model.int8.onnx"))  # doctest: +SKIP
    >>> recognizer.transcribe("three-one-four.wav").text                       # doctest: +SKIP
    'three one four'
    """

    reader: Utterances

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
        `gate` the network rests while nothing is heard, and starts afresh when the gate opens. Unless `calibrated`,
        confidences are those of the decoder, whatever was measured of them.
        Raises UsageError for a network that gives no words.
        """
        self._metadata = CtcMetadata.of(network.metadata)
        decoder = usual_decoder(self._metadata) if decoder is None else decoder
        super().__init__(network, Utterances(self._metadata, decoder, tuple(rules), voice, calibrated), State, gate)

    @property
    def decoder(self) -> Decoder[Any]:
        """What makes words of log-probs."""
        return self.reader.decoder

    @property
    def rules(self) -> tuple[EndpointRule, ...]:
        """By which utterances end."""
        return self.reader.rules

    @property
    def voice(self) -> AnyVoiceActivity | None:
        """What the rules listen to besides words."""
        return self.reader.voice

    @property
    def calibrated(self) -> bool:
        """Whether confidences are reported as measured."""
        return self.reader.calibrated

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
    def metadata(self) -> CtcMetadata:
        """What the model file says about itself."""
        return self._metadata

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
        finals, seconds, fault = self._hear(blocks)
        whole = join(finals, seconds)
        if fault is not None:
            fault.final = whole
            raise fault
        return whole

    def utterances(self, blocks: Iterable[Floats]) -> Iterator[Final]:
        """Hear blocks of sound to their end; give one Final for each utterance, or one without words.

        Phrases keep their intents and slots that way. Raises AudioError as `transcribe` does; CutShortError comes last.
        """
        finals, seconds, fault = self._hear(blocks)
        yield from (final for final in finals if isinstance(final, Final))
        if not finals:
            yield join(finals, seconds)
        if fault is not None:
            raise fault

    def _hear(self, blocks: Iterable[Floats]) -> tuple[list[Event], float, CutShortError | None]:
        """Hear blocks to their end: finals, seconds of sound, and how it broke off if it did."""
        quiet = StreamStepper(self.network, replace(self.reader, partials=False), State, self.gate)
        state, finals, broken = quiet.init_state(), list[Event](), None
        try:
            for block in blocks:
                new, state = quiet.step(block, state)
                finals += new
        except CutShortError as fault:
            broken = fault
        last, state = quiet.flush(state)
        return [*finals, *last], state.n_samples / quiet.sample_rate, broken

    @property
    def _tokens(self) -> tuple[str, ...]:
        return self.metadata.tokens


def usual_decoder(metadata: CtcMetadata) -> Decoder[Any]:
    """Give what a model is decoded with where nothing is asked for.

    Its language model and its lexicon, where it has companions, or its lexicon, where tokens are phones; else greedy.
    """
    if metadata.token_table.kind != "phones" and not metadata.companion_files:
        return GreedyDecoder(metadata)
    from edgeseq.decoding.loading import load_beam

    return load_beam(metadata)
