"""A spotter: streams of sound to detections, for models of the task `frames` (voice activity, wake words, sounds)."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from edgeseq.errors import UsageError
from edgeseq.events import Detection
from edgeseq.model.frames import FramesDetails
from edgeseq.model.metadata import FRAMES, ModelMetadata
from edgeseq.model.network import Floats, Network
from edgeseq.sound.audio import read_blocks
from edgeseq.stream.detector import Detector, DetectorState
from edgeseq.stream.gate import Gate
from edgeseq.stream.state import SoundState
from edgeseq.stream.stepping import StreamStepper


@dataclass(frozen=True, kw_only=True)
class SpotterState(SoundState, DetectorState):
    """All that a spotter must remember of a stream between two chunks. Any old one may be continued."""


class Spotter(StreamStepper[SpotterState, Detection]):
    """A network and a detector. Read-only: streams share it, states differ.

    >>> spotter = edgeseq.load("voice/model.int8.onnx")                        # doctest: +SKIP
    >>> [(one.label, one.start, one.end) for one in spotter.detect("a.wav")]   # doctest: +SKIP
    [('speech', 0.32, 1.84)]
    """

    reader: Detector

    def __init__(self, network: Network, detector: Detector | None = None, *, gate: Gate | None = None) -> None:
        """Use `network` and `detector` (None: that of the model file). With `gate` the network rests while nothing is heard.

        Raises UsageError for a network of another task, or a detector of other labels.
        """
        metadata = network.metadata
        if metadata.task != FRAMES:
            raise UsageError(
                f"{metadata.name} is a model of the task '{metadata.task}', which detects nothing; wanted one of '{FRAMES}'.\n"
                "  Name such a model, or use `edgeseq transcribe`."
            )
        own = FramesDetails.from_dict(metadata.details)
        detector = Detector(own) if detector is None else detector
        if detector.details.labels != own.labels:
            raise UsageError(
                f"the detector's labels are {', '.join(detector.details.labels)[:200]}; those of {metadata.name} are "
                f"{', '.join(own.labels)[:200]}.\n  Take Spotter.detector.details and change its thresholds and times."
            )
        super().__init__(network, detector, SpotterState, gate)

    @property
    def metadata(self) -> ModelMetadata:
        """What the model file says about itself."""
        return self.network.metadata

    @property
    def detector(self) -> Detector:
        """What makes detections of scores."""
        return self.reader

    def with_detector(self, detector: Detector) -> Spotter:
        """Return a spotter that shares all but the detector."""
        return Spotter(self.network, detector, gate=self.gate)

    def with_gate(self, gate: Gate | None) -> Spotter:
        """Return a spotter that shares all but the gate, without which the network hears everything."""
        return Spotter(self.network, self.detector, gate=gate)

    def detect(self, source: str | os.PathLike[str] | Floats) -> list[Detection]:
        """Hear a whole recording: a file that soundfile or ffmpeg reads, or samples as `step` takes them.

        Returns what was detected, each once and with its end, by their beginnings. Raises AudioError when it cannot be read.
        """
        blocks: Iterable[Floats] = [source] if isinstance(source, np.ndarray) else read_blocks(source, self.sample_rate)
        ended = [one for one in self.follow(blocks) if isinstance(one, Detection) and one.end is not None]
        return sorted(ended, key=lambda one: one.start)
