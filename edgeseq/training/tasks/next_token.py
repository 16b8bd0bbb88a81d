"""Which symbol is next: text, DNA, events. A device scores sequences, and continues them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import nll_loss

from edgeseq.data.manifest import Recording
from edgeseq.errors import RecipeError
from edgeseq.evaluation.clip_results import ClipResult
from edgeseq.evaluation.reference_clips import Clip, read_units
from edgeseq.model.metadata import ModelMetadata
from edgeseq.model.signature import IDS, Port
from edgeseq.training.manifest_index import ManifestIndex
from edgeseq.training.metric import BITS, PERPLEXITY, Metric
from edgeseq.training.metrics import ValidReport
from edgeseq.training.recipe import Recipe, TaskRecipe
from edgeseq.training.sequence_model import SequenceModel, signature_of
from edgeseq.training.sequence_rows import SequenceReader
from edgeseq.training.tasks.task import PlacedClip, Reader, Rows
from edgeseq.training.valid import hear_clips

NONE = -100
"""In the place of a next symbol where there is none."""

Ids = NDArray[np.int64]


class Settings(TaskRecipe):
    """Nothing of its own: `input.symbols` says what there is."""

    kind: Literal["next_token"] = "next_token"


class Task:
    """Rows of log-probabilities over symbols, of the one that follows each."""

    reader = "next_token"
    activation = "log_softmax"

    def __init__(self, recipe: Recipe) -> None:
        """Raises RecipeError where there is not a row for each symbol."""
        if recipe.input.port(1).name != IDS or recipe.row_units != 1 or recipe.step_units != 1:
            raise RecipeError(
                f"{recipe.name}: the task 'next_token' wants a row for each symbol.\n"
                "  Say input.kind: ids, network.subsampling: 1 and network.rows_per_step: 1."
            )
        self._reader, self._port = SequenceReader(recipe), recipe.input.port(recipe.chunk_units)
        self.symbols = self._port.names
        self.n_outputs = len(self.symbols)

    @classmethod
    def prepare(cls, recipe: Recipe, _manifests: Sequence[ManifestIndex]) -> Task:
        """Take the symbols of the recipe."""
        return cls(recipe)

    @classmethod
    def restore(cls, recipe: Recipe, _details: Mapping[str, Any]) -> Task:
        """Take the symbols of the recipe, which holds all there is to know."""
        return cls(recipe)

    @property
    def details(self) -> dict[str, Any]:
        """Nothing that the recipe does not say."""
        return {}

    def describe(self) -> str:
        """Count the symbols."""
        return f"{self.n_outputs} symbols"

    def changes(self, _wanted: Task) -> list[str]:
        """Nothing: symbols are in the recipe, which is compared."""
        return []

    def accepts(self, recording: Recording) -> bool:
        """Take sequences in which a symbol follows another."""
        return recording.units is not None and round(recording.duration * recording.units.rate) > 1

    def why_none(self) -> str:
        """Say what keeps all sequences from being used."""
        return "every sequence is of a single symbol."

    def target(self, clips: Sequence[PlacedClip], n_rows: int) -> Ids:
        """Give the symbol after each of a row's, int64 `[n_rows]`."""
        (clip,) = clips
        ids = self._reader.read(clip.recording)
        return following(ids[round(-clip.begin * (self._port.rate or 1.0)) :], n_rows)

    def count(self, target: Ids) -> int:
        """Count the symbols that follow another."""
        return int((target != NONE).sum())

    def collate(self, targets: Sequence[Ids]) -> dict[str, Tensor]:
        """Put them side by side, int64 `[batch, n_rows]`."""
        joined = np.full((len(targets), max(map(len, targets), default=0)), NONE, dtype=np.int64)
        for row, target in zip(joined, targets, strict=True):
            row[: len(target)] = target
        return {"next": torch.from_numpy(joined)}

    def loss(self, rows: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Sum the cross entropy, given log-probs `[batch, n_rows, n_symbols]`."""
        wanted = targets["next"]
        return nll_loss(rows[:, : wanted.shape[1]].flatten(0, 1), wanted.flatten(), ignore_index=NONE, reduction="sum")

    def validator(self, recipe: Recipe, valid: Mapping[str, Sequence[Recording]], reader: Reader) -> NextTokenValidator:
        """Measure bits a symbol."""
        return NextTokenValidator(valid, reader)

    def flush_seconds(self, _trained: Any) -> float:
        """None: a row says all that is known."""
        return 0.0

    def metadata(self, trained: Any, common: Mapping[str, Any]) -> ModelMetadata:
        """Say what a file takes and gives."""
        return ModelMetadata(**common, signature=signature_of(trained.model, self._port))

    def judge(self, metadata: ModelMetadata) -> NextTokenJudge:
        """Compare the likeliest symbols."""
        return NextTokenJudge(metadata.signature.input)


class NextTokenValidator:
    """Measures how many bits a symbol takes, given those before it."""

    metric: Metric = BITS

    def __init__(self, valid: Mapping[str, Sequence[Recording]], reader: Reader) -> None:
        """Measure on `valid`, sequences by manifest."""
        self.valid, self.reader = valid, reader

    def measure(self, model: SequenceModel, step: int) -> ValidReport:
        """Measure all manifests with a model after that many steps."""
        report = ValidReport(step, self.metric, {BITS: {}, PERPLEXITY: {}})
        for name, recordings in self.valid.items():
            nats, n_symbols = 0.0, 0
            for number, rows in hear_clips(model, recordings, self.reader, 1, 0):
                ids = self.reader.read(recordings[number])
                nats -= float(rows[np.arange(len(ids) - 1), ids[1:]].sum(dtype=np.float64))
                n_symbols += len(ids) - 1
            if n_symbols:
                report.values[BITS][name] = nats / n_symbols / math.log(2)
                report.values[PERPLEXITY][name] = math.exp(nats / n_symbols)
        return report

    def describe(self, name: str) -> str:
        """Say what there is to measure on in a manifest."""
        return f"{len(self.valid[name]):,} sequences to measure on"


class NextTokenJudge:
    """Counts the symbols of a sequence that are not the likeliest."""

    units = ("symbol",)

    def __init__(self, port: Port) -> None:
        """Read sequences as `port` takes them."""
        self.port = port

    def __call__(self, clip: Clip, rows: Rows, seconds: float) -> list[ClipResult]:
        """Compare with the symbols that follow."""
        wanted = following(read_units(clip, self.port), len(rows))
        n_wrong = int(((rows.argmax(axis=1) != wanted) & (wanted != NONE)).sum())
        return [ClipResult("", "", n_wrong, int((wanted != NONE).sum()), (), seconds, 0.0)]


def following(ids: Ids, n_rows: int) -> Ids:
    """Give the symbol after each of the first `n_rows`; NONE after the last.

    >>> following(np.array([3, 1, 4]), 3).tolist(), following(np.array([3, 1, 4]), 2).tolist()
    ([1, 4, -100], [1, 4])
    """
    after = np.full(n_rows, NONE, dtype=np.int64)
    found = ids[1 : n_rows + 1]
    after[: len(found)] = found
    return after
