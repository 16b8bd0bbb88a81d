"""Trained weights to a model's folder: graphs built, verified, and only then written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from edgeseq.errors import ExportError
from edgeseq.evaluation.reference_clips import Clip
from edgeseq.export import beside
from edgeseq.export.auto import AUTO, time_forms
from edgeseq.export.forms import QUANTIZATIONS, GraphForm, choose_form
from edgeseq.export.graph import build_graph
from edgeseq.export.proof import Progress, Proof, find_difference, find_validation, prove, refuse_difference
from edgeseq.export.verify import Difference, verify_graph
from edgeseq.model.companions import named
from edgeseq.model.metadata import MEASURED, ModelMetadata
from edgeseq.model.metadata_fields import PREFIX
from edgeseq.models import FILES
from edgeseq.training.weights import WEIGHTS_FILE, Trained, pack_weights
from edgeseq.untrusted import parse_json
from edgeseq.whole_file import write_together

RELEASED_BITS = (32, 8)


@dataclass(frozen=True)
class Exported:
    """One file that was written."""

    path: Path
    form: GraphForm
    size: int
    """bytes"""
    difference: Difference


@dataclass(frozen=True)
class Export:
    """What was written, and how it compares with torch on the validation set."""

    files: tuple[Exported, ...]
    proof: Proof | None
    unproven: str
    """why there is no proof, or which step changed what is understood; empty where the proof holds"""


@dataclass(frozen=True)
class VerifiedGraph:
    """A graph that does what torch does, not yet written."""

    form: GraphForm
    graph: onnx.ModelProto
    difference: Difference

    def pack(self, proof: Proof | None = None, unproven: str = "") -> bytes:
        """Give the bytes of the file; with a proof, it is kept in the metadata, and with it why it does not hold."""
        if proof is not None:
            strings = {entry.key: entry.value for entry in self.graph.metadata_props}
            figures = proof.to_dict() | ({"unproven": unproven} if unproven else {})
            kept = strings | {PREFIX + "proof": json.dumps(figures, ensure_ascii=False)}
            onnx.helper.set_model_props(self.graph, kept)
        return self.graph.SerializeToString()


def export(
    trained: Trained,
    folder: Path,
    *,
    scores: dict[str, Any],
    bits: Sequence[int] = RELEASED_BITS,
    target: str = "generic",
    flush_seconds: float | None = None,
    measured: dict[str, Any] | None = None,
    companions: Mapping[str, Path] | None = None,
    search: Mapping[str, float | None] | None = None,
    unproven: bool = False,
    on_progress: Progress = lambda way, done, total: None,
) -> Export:
    """Write `weights.safetensors` and, for each of `bits` a weight, a graph to `folder`, in the form that suits `target`.

    Every graph is verified before the first file is written, and proven if the recipe's validation recordings are here: torch
    and all graphs hear them. `flush_seconds` is measured on the recipe's clips unless given or known from an earlier release;
    `measured` (word delays, confidence maps) is kept from there too, and so are companions (files by role, see companions.py),
    which are copied to `folder`, and how to search with them (`search`). With `unproven` the files are written though error
    rates differ by more than the recipe allows, and their metadata say so.
    Raises ExportError when a graph differs from torch, NotProvenError when error rates differ by more than that, UsageError for
    an unknown target or number of bits; `folder` is then untouched.
    """
    forms = [find_form(target, one, trained) for one in dict.fromkeys(bits)]
    flush = choose_flush(trained, flush_seconds)
    trained = trained if measured is None else replace(trained, measured=trained.measured | measured)
    trained = beside.with_companions(trained, companions or {}, search or {})
    beside.check_companions(describe(trained, QUANTIZATIONS[32], flush, scores))
    built = [build(trained, form, flush, scores, target) for form in forms]
    valid = find_validation(trained.recipe)
    proof = prove_built(trained, built, flush, valid.clips, valid.manifests, on_progress) if valid.clips else None
    difference = valid.missing if proof is None else find_difference(proof, trained.recipe.export.most_difference)
    if proof is not None and not unproven:
        refuse_difference(proof, trained.recipe.export.most_difference, trained.recipe.name)
    packed = {FILES[one.form.bits]: one.pack(proof, difference) for one in built}
    files = beside.contents(trained.companion_files, folder)
    write_files(folder, packed | {WEIGHTS_FILE: pack_weights(trained, flush)} | files)
    written = [Exported(folder / FILES[b.form.bits], b.form, len(packed[FILES[b.form.bits]]), b.difference) for b in built]
    return Export(tuple(written), proof, difference)


def build(trained: Trained, form: GraphForm, flush: float, scores: dict[str, Any], target: str = "generic") -> VerifiedGraph:
    """Build one graph and verify it. Raises ExportError when it differs from torch."""
    model = trained.model.cpu().eval()
    metadata = describe(trained, QUANTIZATIONS[form.bits], flush, scores, target)
    graph = build_graph(model, metadata, form)
    return VerifiedGraph(form, graph, verify_graph(graph, model, metadata, form))


def prove_built(
    trained: Trained,
    built: Sequence[VerifiedGraph],
    flush: float,
    clips: Sequence[Clip],
    manifests: Sequence[str],
    on_progress: Progress = lambda way, done, total: None,
) -> Proof:
    """Hear `clips` with torch and with the graphs that were built; the float graph is always among them."""
    if all(one.form.bits < 32 for one in built):
        built = [build(trained, choose_form("generic", 32, 0, 1), flush, {}), *built]
    ordered = sorted(built, key=lambda one: -one.form.bits)
    graphs = {QUANTIZATIONS[one.form.bits]: one.pack() for one in ordered}
    metadata = describe(trained, QUANTIZATIONS[32], flush, {})
    return prove(trained, metadata, graphs, clips, manifests, on_progress=on_progress)


def find_form(target: str, bits: int, trained: Trained) -> GraphForm:
    """Choose a graph's form by its target, or for `auto` by measuring this machine. Raises UsageError."""
    model, n_steps = trained.model, trained.recipe.chunk_units // trained.recipe.step_units
    if target == AUTO:
        return min(time_forms(model.trunk, model.head, n_steps, bits).items(), key=lambda timed: timed[1])[0]
    return choose_form(target, bits, sum(parameter.numel() for parameter in model.trunk.parameters()), n_steps)


def describe(
    trained: Trained, quantization: str, flush_seconds: float, scores: dict[str, Any], target: str = "generic"
) -> ModelMetadata:
    """Fill in the metadata of one file."""
    recipe, files = trained.recipe, trained.companion_files
    common = {
        "name": recipe.name,
        "task": trained.task.reader,
        "language": recipe.language,
        "flush_seconds": flush_seconds,
        "quantization": quantization,
        "license": recipe.license,
        "data": recipe.data_statement,
        "scores": scores,
        "config": recipe.model_dump(mode="json"),
        "target": target,
        "companions": named(files, trained.search) if files else {},
        "companion_files": files,
    }
    return trained.task.metadata(trained, common)


def choose_flush(trained: Trained, given: float | None) -> float:
    """Take the silence that is given, or that of an earlier release, or measure it."""
    known = trained.flush_seconds if given is None else given
    return trained.task.flush_seconds(trained) if known is None else known


def write_files(folder: Path, contents: dict[str, bytes]) -> None:
    """Write all files or none. Raises ExportError."""
    try:
        write_together(folder, contents)
    except OSError as fault:
        raise ExportError(f"{folder}: cannot be written to ({fault.strerror or fault}). Nothing was changed.") from fault


def read_measured(path: Path) -> dict[str, Any]:
    """Read `measured` of what `edgeseq eval --times --calibration --json` printed. Raises ExportError."""
    measured = read_scores(path).get("measured")
    unknown = set(measured) - set(MEASURED) if isinstance(measured, dict) else {"none at all"}
    if not measured or unknown:
        raise ExportError(
            f"{path}: its 'measured' holds {', '.join(sorted(unknown)) or 'nothing'}; wanted some of {', '.join(MEASURED)}.\n"
            "  Name a file written by `edgeseq eval --times --calibration --json`."
        )
    return dict(measured)


def read_scores(path: Path) -> dict[str, Any]:
    """Read what `edgeseq eval --json` printed, to be kept in the model file."""
    try:
        scores = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise ExportError(f"{path}: not scores in JSON ({fault}). Name a file written by `edgeseq eval --json`.") from fault
    if not isinstance(scores, dict):
        raise ExportError(f"{path}: holds {type(scores).__name__}, wanted an object of scores.")
    return scores
