"""Do training, streaming, export and quantization lose anything? The same clips heard in four ways, one step further each time.

Torch hears whole clips, torch hears them chunk by chunk, the float file does, and each quantized file does. What differs
between two neighbours is what the step between them did: streaming, export, quantization. All ways decode a clip as one
utterance, or label its rows; the task's `judge` says what is wrong.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from edgeseq.data.manifest import find_data, read_manifest
from edgeseq.errors import ExportError, ManifestError
from edgeseq.evaluation.clip_results import ClipResult, Comparison
from edgeseq.evaluation.evaluate import compare_heard
from edgeseq.evaluation.reference_clips import Clip, read_units, single_clips
from edgeseq.export.beside import link_into
from edgeseq.export.torch_network import TorchNetwork
from edgeseq.model.metadata import ModelMetadata
from edgeseq.model.network import Network
from edgeseq.model.signature import Array
from edgeseq.training.recipe import Recipe
from edgeseq.training.sequence_model import SequenceModel
from edgeseq.training.tasks.task import Judge
from edgeseq.training.weights import Trained

WHOLE, STREAMED = "torch_whole", "torch_streamed"
FLOAT = "float32"
ALWAYS_ALLOWED = 1
"""This many words or phones may differ whatever the bound: each is many percent of few clips."""

RATES = {"word": "wer", "phone": "per", "row": "row_error_rate", "symbol": "symbol_error_rate"}

FAULT = "This is a fault of edgeseq or onnxruntime; please report it with the recipe."
ADVICE = {"streaming": FAULT, "export": FAULT}
ADVICE_ON_QUANTIZATION = "Train longer or with quantization in training, or write only the float file: --bits 32."

Progress = Callable[[str, int, int], None]
"""Called with the way, the clips heard so and those to hear."""


class NotProvenError(ExportError):
    """The error rates differ by more than the recipe's bound."""

    def __init__(self, message: str, proof: Proof) -> None:
        """Say what broke; `proof` holds the figures."""
        super().__init__(message)
        self.proof = proof


@dataclass(frozen=True)
class Step:
    """What lies between two ways of hearing."""

    name: str
    before: str
    after: str
    comparison: Comparison


@dataclass(frozen=True)
class Tally:
    """Errors of one kind, words or phones, in each way: the `ClipResult` of the same clips, by way."""

    unit: str
    heard: Mapping[str, Sequence[ClipResult]] = field(repr=False)

    @property
    def total(self) -> int:
        """Count the words or phones of the references; of phones, those of the whole clips' nearest pronunciations."""
        return sum(one.n_words for one in self.heard[WHOLE])

    def errors(self, way: str) -> int:
        """Count those that a way got wrong."""
        return sum(one.errors for one in self.heard[way])

    def rate(self, way: str) -> float | None:
        """Those wrong, in percent; None where the references hold none."""
        return 100 * self.errors(way) / self.total if self.total else None

    @property
    def difference(self) -> int:
        """Errors between the best way and the worst."""
        errors = [self.errors(way) for way in self.heard]
        return max(errors) - min(errors)

    @property
    def steps(self) -> list[Step]:
        """Compare each way with the one before it; all quantized files follow the float file."""
        pairs = [("streaming", WHOLE, STREAMED), ("export", STREAMED, FLOAT)]
        pairs += [(f"quantization ({way})", FLOAT, way) for way in self.heard if way not in (WHOLE, STREAMED, FLOAT)]
        return [Step(*pair, compare_heard(self.heard[pair[2]], self.heard[pair[1]])) for pair in pairs if pair[2] in self.heard]

    def allows(self, most_difference: float) -> bool:
        """Whether the rates differ by at most that many percent of the references, or by a single error."""
        return self.difference <= max(ALWAYS_ALLOWED, most_difference / 100 * self.total + 1e-9)

    def to_dict(self) -> dict[str, Any]:
        """Give the figures; rates as fractions, no times."""
        rates = {way: self.rate(way) for way in self.heard}
        return {
            f"{self.unit}s": self.total,
            RATES[self.unit]: {way: None if rate is None else round(rate / 100, 5) for way, rate in rates.items()},
            "errors": {way: self.errors(way) for way in self.heard},
            "steps": {step.name: step.comparison.to_dict() for step in self.steps},
        }

    def to_text(self) -> str:
        """Give the figures as a table."""
        lines = [f"{'':16}{f'{self.unit}s wrong':>12}{'of':>8}"]
        for way in self.heard:
            rate = self.rate(way)
            percent = f"{'-':>12}" if rate is None else f"{rate:>10.2f} %"
            lines.append(f"{way:16}{percent}{self.total:>8,}  ({self.errors(way):,})")
        for step in self.steps:
            low, high = step.comparison.ci95
            net = step.comparison.net_extra_errors
            lines.append(f"{step.name}: net extra errors {net:+d} (95 % interval {low:+.1f} to {high:+.1f})")
        return "\n".join(lines)


@dataclass(frozen=True)
class Speed:
    """How quick a way that streams was on this machine."""

    rtf: float
    """compute time by time of sound (by second of the input's own rate)"""
    chunk_ms: tuple[float, ...] = field(repr=False)
    """time of each network chunk"""

    def to_dict(self) -> dict[str, float]:
        """Give the figures."""
        return {
            "rtf": round(self.rtf, 5),
            "chunk_ms_median": round(float(np.median(self.chunk_ms)), 4),
            "chunk_ms_p99": round(float(np.percentile(self.chunk_ms, 99)), 4),
        }


@dataclass(frozen=True)
class Proof:
    """What was made of the same clips in each way, in the order of `WHOLE`, `STREAMED`, `float32`, `int8`, ..."""

    manifests: tuple[str, ...]
    tallies: tuple[Tally, ...]
    """what was counted, the surest first: phones (where tokens are phones) and words, or rows"""
    speeds: Mapping[str, Speed] = field(default_factory=dict, repr=False)
    """of the ways that stream"""

    @property
    def main(self) -> Tally:
        """What people ask for: words, or rows."""
        return self.tallies[-1]

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as model files keep them and `edgeseq prove --json` prints them; no times, rates as fractions."""
        others = {f"{tally.unit}_figures": tally.to_dict() for tally in self.tallies[:-1]}
        return {"manifests": list(self.manifests), **self.main.to_dict(), **others}

    def to_text(self) -> str:
        """Give the figures as tables."""
        return "\n".join(tally.to_text() for tally in self.tallies)


@dataclass(frozen=True)
class Validation:
    """What exports are proven on."""

    manifests: tuple[str, ...]
    clips: tuple[Clip, ...]
    missing: str
    """why there are no clips"""


def find_validation(recipe: Recipe) -> Validation:
    """List the recordings of those manifests of the recipe's `data.valid` that are here."""
    found: dict[str, list[Clip]] = {}
    missing = "the recipe names no manifest under data.valid"
    for name in recipe.data.valid:
        try:
            found[name] = single_clips(read_manifest(find_data(name), allow_empty_text=True))
        except ManifestError as fault:
            missing = f"the recipe's validation recordings are not here: {str(fault).splitlines()[0]}"
    return Validation(tuple(found), tuple(clip for clips in found.values() for clip in clips), missing)


def prove(
    trained: Trained,
    metadata: ModelMetadata,
    graphs: Mapping[str, bytes],
    clips: Sequence[Clip],
    manifests: Sequence[str],
    *,
    on_progress: Progress = lambda way, done, total: None,
) -> Proof:
    """Hear `clips` in all ways. `graphs` are files to be, by quantization, `float32` first; `metadata` is the float file's.

    Raises AudioError when a clip cannot be heard.
    """
    model = trained.model.cpu().eval()
    judge = trained.task.judge(metadata)
    heard = {WHOLE: hear_whole(model, metadata, judge, clips, on_progress)}
    speeds = {}
    for way, network in _networks(model, metadata, graphs).items():
        heard[way], speeds[way] = hear_streamed(network, judge, clips, way, on_progress)
    tallies = [
        Tally(unit, {way: [of_clip[place] for of_clip in of_way] for way, of_way in heard.items()})
        for place, unit in enumerate(judge.units)
    ]
    return Proof(tuple(manifests), tuple(tallies), speeds)


def _networks(model: SequenceModel, metadata: ModelMetadata, graphs: Mapping[str, bytes]) -> dict[str, Network]:
    """Give what streams: torch, and each file as a device opens it."""
    networks: dict[str, Network] = {STREAMED: TorchNetwork(model, metadata)}
    with TemporaryDirectory(prefix="edgeseq-proof-") as folder:
        link_into(Path(folder), metadata.companion_files)
        for way, content in graphs.items():
            path = Path(folder) / f"{way}.onnx"
            path.write_bytes(content)
            networks[way] = Network(path)
    return networks


def padded(units: Array, metadata: ModelMetadata, multiple: int) -> tuple[Array, int]:
    """Put the flush's zeros (of sound, silence) behind `units` `[n_units, ...]`, filled up to a `multiple`.

    Returns with them the number of rows that are not of that filling alone.
    """
    n_units = len(units) + round(metadata.flush_seconds * metadata.rate)
    n_filling = -(-n_units // multiple) * multiple - len(units)
    return np.pad(units, ((0, n_filling), *[(0, 0)] * (units.ndim - 1))), math.ceil(n_units / metadata.row_units)


@torch.inference_mode()
def hear_whole(
    model: SequenceModel,
    metadata: ModelMetadata,
    judge: Judge,
    clips: Sequence[Clip],
    on_progress: Progress = lambda way, done, total: None,
) -> list[Sequence[ClipResult]]:
    """Hear each clip in one piece, followed by as much silence as a stream's flush has; returns what was counted in it."""
    heard = []
    for n_done, clip in enumerate(clips, start=1):
        units = read_units(clip, metadata.signature.input)
        whole, n_rows = padded(units, metadata, metadata.row_units * model.head.rows_per_step)
        rows, _ = model.step(torch.from_numpy(whole)[None], model.init_state(1))
        heard.append(judge(clip, rows[0, :n_rows].numpy(), len(units) / metadata.rate))
        on_progress(WHOLE, n_done, len(clips))
    return heard


def hear_streamed(
    network: Network,
    judge: Judge,
    clips: Sequence[Clip],
    way: str,
    on_progress: Progress = lambda way, done, total: None,
) -> tuple[list[Sequence[ClipResult]], Speed]:
    """Hear each clip chunk by chunk; returns what was counted in it, and how quick that was."""
    metadata, name, port = network.metadata, network.signature.rows.name, network.signature.input
    heard, chunk_ms, seconds = [], [], 0.0
    for n_done, clip in enumerate(clips, start=1):
        units = read_units(clip, port)
        whole, n_rows = padded(units, metadata, port.per_chunk)
        state, rows = network.init_state(), []
        for chunk in whole.reshape(-1, 1, *port.sizes):
            began = time.perf_counter()
            outputs, state = network.step({port.name: chunk}, state)
            chunk_ms.append(1000 * (time.perf_counter() - began))
            rows.append(outputs[name][0])
        seconds += len(units) / metadata.rate
        heard.append(judge(clip, np.concatenate(rows)[:n_rows], len(units) / metadata.rate))
        on_progress(way, n_done, len(clips))
    return heard, Speed(sum(chunk_ms) / 1000 / seconds, tuple(chunk_ms))


def find_difference(proof: Proof, most_difference: float) -> str:
    """Say which step changed most, where the rates of words or phones differ by more than the bound; "" where none do."""
    for tally in proof.tallies:
        if not tally.allows(most_difference):
            broken = max(tally.steps, key=lambda step: abs(step.comparison.net_extra_errors))
            before, after, unit = broken.before, broken.after, tally.unit
            counts = f"{tally.errors(before):,} are wrong before it ({before}) and {tally.errors(after):,} after it ({after})"
            return (
                f"{broken.name} changed the {unit}s: among {tally.total:,} {unit}s {counts}; all ways may differ by "
                f"{most_difference:g} % of the {unit}s (export.most_difference)."
            )
    return ""


def refuse_difference(proof: Proof, most_difference: float, name: str) -> None:
    """Raise NotProvenError, which names the step that changed most, if the rates differ by more than the bound."""
    difference = find_difference(proof, most_difference)
    if not difference:
        return
    table = "".join(f"    {line}\n" for line in proof.to_text().splitlines())
    step = difference.partition(" changed ")[0]
    raise NotProvenError(
        f"{name} is not released: {difference}\n{table}"
        f"  Nothing was written. {ADVICE.get(step, ADVICE_ON_QUANTIZATION)}\n"
        "  To have the files anyway, marked as unproven: edgeseq export --unproven.",
        proof,
    )
