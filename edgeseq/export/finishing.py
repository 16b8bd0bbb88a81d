"""The end of a run: its exports, proven, beside what was measured of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edgeseq.export.exporter import RELEASED_BITS, Export, export, write_files
from edgeseq.export.proof import NotProvenError, Progress, Proof
from edgeseq.training.weights import load_trained

EXPORTS = "model"
"""Folder of a run that holds its exported files."""
PROOF_FILE = "proof.json"


def finish(run: Path, on_progress: Progress = lambda way, done, total: None) -> Export:
    """Export the weights of a run to `model/` in its folder, float, 8 bit and as they were rounded; write `proof.json`.

    Raises NotProvenError when error rates differ by more than the recipe allows; the figures are still written, the
    files are not. Raises ExportError when the network says nothing yet.
    """
    try:
        trained = load_trained(run)
        rounded = trained.recipe.train.quantize
        bits = RELEASED_BITS if rounded is None else dict.fromkeys((*RELEASED_BITS, rounded.bits))
        exported = export(trained, run / EXPORTS, scores={}, bits=list(bits), on_progress=on_progress)
    except NotProvenError as fault:
        _write(run, {**measured(fault.proof), "bytes": {}, "refused": str(fault)})
        raise
    if exported.proof is not None:
        sizes = {file.path.name: file.size for file in exported.files}
        _write(run, {**measured(exported.proof), "bytes": sizes, "refused": ""})
    return exported


def measured(proof: Proof) -> dict[str, Any]:
    """Give the rates, and how quick each way that streams was on this machine."""
    return {**proof.to_dict(), "speed": {way: speed.to_dict() for way, speed in proof.speeds.items()}}


def _write(run: Path, values: dict[str, Any]) -> None:
    content = json.dumps(values, ensure_ascii=False, indent=1) + "\n"
    write_files(run, {PROOF_FILE: content.encode()})
