"""A run's folder as a report sees it: whatever is there, also of a training that is still running."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeseq.errors import EdgeseqError, UsageError
from edgeseq.export.finishing import PROOF_FILE
from edgeseq.training.metrics import read_lines
from edgeseq.training.recipe import Recipe
from edgeseq.training.recipe_file import parse_recipe
from edgeseq.training.weights import Trained, load_trained
from edgeseq.untrusted import parse_json, parse_yaml

RECIPE_FILE, METRICS_FILE = "recipe.yaml", "metrics.jsonl"


@dataclass(frozen=True)
class Run:
    """What a training has written so far."""

    folder: Path
    recipe: Recipe
    recipe_text: str
    lines: tuple[dict[str, Any], ...]
    """of metrics.jsonl"""
    trained: Trained | None
    """weights of the checkpoint that would be exported; None before the first"""
    proof: dict[str, Any] | None
    """figures of the exports, once the run has ended"""

    @property
    def step(self) -> int:
        """Steps done."""
        return max((line["step"] for line in self.lines), default=0)

    @property
    def finished(self) -> bool:
        """Whether the last step has been done, or early stopping has ended the run."""
        return self.step >= self.recipe.train.steps or any("stopped: " in line.get("notice", "") for line in self.lines)


def read_run(folder: Path) -> Run:
    """Read the folder of a run. Raises UsageError when it is none, ModelError when its checkpoint cannot be read."""
    try:
        text = (folder / RECIPE_FILE).read_text(encoding="utf-8")
        recipe = parse_recipe(parse_yaml(text)[0], str(folder / RECIPE_FILE))
    except (OSError, ValueError) as fault:
        raise UsageError(
            f"{folder}: no folder of a run ({RECIPE_FILE}: {getattr(fault, 'strerror', None) or fault}).\n"
            "  Name one that `edgeseq train` wrote, such as runs/digits-en."
        ) from fault
    has_weights = any((folder / "checkpoints").glob("*.pt"))
    return Run(
        folder=folder,
        recipe=recipe,
        recipe_text=text,
        lines=tuple(read_lines(folder / METRICS_FILE)),
        trained=load_trained(folder) if has_weights else None,
        proof=_read_proof(folder / PROOF_FILE),
    )


def _read_proof(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    try:
        return dict(parse_json(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as fault:
        raise EdgeseqError(f"{path}: not JSON ({fault}). Write it again: edgeseq train --resume, or remove it.") from fault
