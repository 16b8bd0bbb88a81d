"""Trained weights to a model's folder: graphs built, verified, and only then written."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from edgeseq.data.manifest import Recording, find_data
from edgeseq.errors import EdgeseqError, ExportError
from edgeseq.evaluation.reference_clips import Clip
from edgeseq.export import beside
from edgeseq.export.auto import AUTO, time_forms
from edgeseq.export.forms import QUANTIZATIONS, Form, choose_form
from edgeseq.export.graph import build_graph
from edgeseq.export.proof import Progress, Proof, find_difference, find_validation, prove, refuse_difference
from edgeseq.export.verify import Difference, verify_graph
from edgeseq.model.companions import named
from edgeseq.model.metadata import FORMATS, MEASURED, PREFIX, ModelMetadata
from edgeseq.models import FILES
from edgeseq.training.clips import ClipReader
from edgeseq.training.manifest_index import ManifestIndex
from edgeseq.training.weights import WEIGHTS_FILE, Trained, pack_weights
from edgeseq.untrusted import parse_json

RELEASED_BITS = (32, 8)
TEXT_NORMALIZATION = "NFC, lower case, single spaces"

LONGEST_FLUSH_SECONDS = 1.0
FLUSH_QUANTILE = 0.995
"""Share of clips whose last token must come out within the flush."""
MAX_FLUSH_CLIPS = 400


@dataclass(frozen=True)
class Exported:
    """One file that was written."""

    path: Path
    form: Form
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
class Built:
    """A graph that does what torch does, not yet written."""

    form: Form
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
    write_together(folder, packed | {WEIGHTS_FILE: pack_weights(trained, flush)} | files)
    written = [Exported(folder / FILES[b.form.bits], b.form, len(packed[FILES[b.form.bits]]), b.difference) for b in built]
    return Export(tuple(written), proof, difference)


def build(trained: Trained, form: Form, flush: float, scores: dict[str, Any], target: str = "generic") -> Built:
    """Build one graph and verify it. Raises ExportError when it differs from torch."""
    model = trained.model.cpu().eval()
    metadata = describe(trained, QUANTIZATIONS[form.bits], flush, scores, target)
    graph = build_graph(model, metadata, form)
    return Built(form, graph, verify_graph(graph, model, metadata, form))


def prove_built(
    trained: Trained,
    built: Sequence[Built],
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
    return prove(trained.model.cpu().eval(), metadata, graphs, clips, manifests, on_progress=on_progress)


def find_form(target: str, bits: int, trained: Trained) -> Form:
    """Choose a graph's form by its target, or for `auto` by measuring this machine. Raises UsageError."""
    encoder, n_steps = trained.model.encoder, trained.recipe.chunk_samples // trained.recipe.step_samples
    if target == AUTO:
        return min(time_forms(encoder, n_steps, bits).items(), key=lambda timed: timed[1])[0]
    return choose_form(target, bits, sum(parameter.numel() for parameter in encoder.layers.parameters()), n_steps)


def describe(
    trained: Trained, quantization: str, flush_seconds: float, scores: dict[str, Any], target: str = "generic"
) -> ModelMetadata:
    """Fill in the metadata of one file."""
    recipe, files = trained.recipe, trained.companion_files
    details = trained.tokens.details
    return ModelMetadata(
        format=FORMATS[trained.tokens.kind],
        name=recipe.name,
        task=recipe.task,
        sample_rate=recipe.frontend.sample_rate,
        chunk_samples=recipe.chunk_samples,
        hop_samples=recipe.frontend.hop_samples,
        subsampling=recipe.network.subsampling // recipe.network.rows_per_step,
        tokens=trained.tokens.symbols,
        token_details={"kind": "phones"} if "lexicon" in files and trained.tokens.kind == "phones" else details,
        blank_id=trained.tokens.blank_id,
        language=recipe.language,
        text_normalization=TEXT_NORMALIZATION,
        flush_seconds=flush_seconds,
        quantization=quantization,
        license=recipe.license,
        data=recipe.data_statement,
        scores=scores,
        config=recipe.model_dump(mode="json"),
        target=target,
        companions=named(files, trained.search) if files else {},
        companion_files=files,
        **trained.measured,
    )


def choose_flush(trained: Trained, given: float | None) -> float:
    """Take the silence that is given, or that of an earlier release, or measure it."""
    known = trained.flush_seconds if given is None else given
    return measure_flush(trained) if known is None else known


def measure_flush(trained: Trained) -> float:
    """Seconds of silence after which the last token of closely cut clips is out, in whole rows.

    Measured on up to 400 of the recipe's easy training clips. Raises ExportError when their manifest is not there.
    """
    try:
        source = next(s for s in trained.recipe.data.train if s.easy)
        manifest = ManifestIndex.of(find_data(source.manifest))
    except EdgeseqError as fault:
        raise ExportError(
            f"flush_seconds is measured on the recipe's training clips, and they are not here:\n{fault}\n"
            "  Bring them, or give --flush-seconds."
        ) from fault
    stride = -(-len(manifest) // MAX_FLUSH_CLIPS)
    lags = last_token_lags(trained, [manifest[number] for number in range(0, len(manifest), stride)])
    row_seconds = trained.recipe.row_samples / trained.recipe.frontend.sample_rate
    return math.ceil(max(0.0, float(np.quantile(lags, FLUSH_QUANTILE))) / row_seconds - 1e-9) * row_seconds


@torch.inference_mode()
def last_token_lags(trained: Trained, recordings: Sequence[Recording]) -> list[float]:
    """Seconds from the end of each clip to the end of the step in which its last token appears; at most a second."""
    rate, row_samples = trained.recipe.frontend.sample_rate, trained.recipe.row_samples
    reader = ClipReader(rate)
    lags = []
    for recording in recordings:
        clip = torch.from_numpy(reader.read(recording))
        heard = torch.nn.functional.pad(clip, (0, int(LONGEST_FLUSH_SECONDS * rate)))
        log_probs, _ = trained.model.step(heard[None], trained.model.init_state(1))
        best = log_probs[0].argmax(dim=-1)
        starts = torch.nonzero((best != trained.tokens.blank_id) & (best != torch.roll(best, 1)))
        if len(starts):
            lags.append(((int(starts[-1]) + 1) * row_samples - len(clip)) / rate)
    if not lags:
        raise ExportError("The network says nothing to any of the recipe's training clips; train it longer before exporting.")
    return lags


def write_together(folder: Path, contents: dict[str, bytes]) -> None:
    """Write all files or none: each under another name first, then all renamed."""
    parts = {folder / name: folder / f".{name}.part" for name in contents}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for part, content in zip(parts.values(), contents.values(), strict=True):
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for path, part in parts.items():
            part.replace(path)
    except OSError as fault:
        for part in parts.values():
            with contextlib.suppress(OSError):
                part.unlink()
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
