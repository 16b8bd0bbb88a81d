"""Single recordings explained, by weights where they are, else by an exported file alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeseq.events import Final, Word
from edgeseq.export.exporter import write_together
from edgeseq.export.torch_network import TorchNetwork
from edgeseq.model.network import Network
from edgeseq.models import find_model
from edgeseq.report import pictures
from edgeseq.report.page import LONGEST_PICTURE_SECONDS, ReportUtterance, cell_statistics, show, write_page
from edgeseq.report.svg import figure, to_png
from edgeseq.report.trace import Floats, Trace, metadata_of, trace, trace_file
from edgeseq.sound.audio import read_blocks
from edgeseq.stream.recognizer import Recognizer
from edgeseq.training.weights import WEIGHTS_FILE, Trained, load_trained


@dataclass(frozen=True)
class ExplainedClip:
    """One recording, and all that is known of how it was heard."""

    name: str
    samples: Floats
    trace: Trace
    words: tuple[Word, ...]
    """as a stream reported them"""
    said: str | None

    @property
    def text(self) -> str:
        """What was understood."""
        return " ".join(word.word for word in self.words)


@dataclass(frozen=True)
class Explainer:
    """A model to explain with: a network that streams, and its weights if they are known."""

    name: str
    network: Network
    trained: Trained | None

    def explain(self, path: Path, said: str | None = None, start: float = 0.0) -> ExplainedClip:
        """Hear a recording, at most 20 s of it from `start` (seconds) on.

        Raises AudioError when it cannot be read or less than 50 ms is left.
        """
        rate = self.network.metadata.sample_rate
        every = np.concatenate([np.zeros(0, np.float32), *read_blocks(path, rate)])
        samples = every[round(start * rate) : round((start + LONGEST_PICTURE_SECONDS) * rate)]
        traced = trace_file(self.network, samples) if self.trained is None else trace(self.trained, samples)
        final: Final = Recognizer(self.network).transcribe(samples)
        part = len(samples) < len(every)
        name = f"{path.name}, {start:g} to {start + len(samples) / rate:g} s" if part else path.name
        return ExplainedClip(name, samples, traced, final.words, said)


def of_weights(path: Path) -> Explainer:
    """Explain with the weights of a run, a checkpoint or a released model's folder. Raises ModelError."""
    trained = load_trained(path)
    return Explainer(trained.recipe.name, TorchNetwork(trained.model.cpu(), metadata_of(trained)), trained)


def of_model(model: str) -> Explainer:
    """Explain with a model by its name, folder or file; with its weights if they lie beside it.

    Raises UsageError when there is no such model, ModelError when it cannot be used.
    """
    path = find_model(model)
    if (path.parent / WEIGHTS_FILE).is_file():
        return of_weights(path.parent)
    network = Network(path)
    return Explainer(network.metadata.name, network, None)


def write(path: Path, explained: Sequence[ExplainedClip], model: str) -> None:
    """Write a page or, where `path` ends in .png, a picture of the first. Raises ExportError when it cannot be written."""
    if path.suffix.lower() == ".png":
        write_together(path.parent, {path.name: draw(explained[0])})
        return
    shown: list[ReportUtterance] = [
        show(f"explained-{number}", one.name, one.trace, one.words, one.samples, one.said)
        for number, one in enumerate(explained)
    ]
    write_page(path, "explained.html", utterances=shown, model=model, cells=cell_statistics([one.trace for one in explained]))


def draw(one: ExplainedClip) -> bytes:
    """Draw one recording as PNG."""
    with figure(10.0, pictures.trace_height(one.trace) + 0.2, dark_on_white=True) as made:
        pictures.draw_trace(made, one.trace, [(word.word, word.start, word.end) for word in one.words])
        return to_png(made)
