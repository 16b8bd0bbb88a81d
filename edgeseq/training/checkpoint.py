"""Checkpoints: everything a training needs to continue as if it had never stopped."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from edgeseq.errors import EdgeseqError, ModelError
from edgeseq.training.quantization import Grids, put_on_grids
from edgeseq.training.sequence_model import renamed_weights
from edgeseq.training.state import State
from edgeseq.whole_file import write_whole

FORMAT = 4
"""Format of the file; raised when names or meanings in it change."""
KEPT = 2
"""Checkpoints of a run that stay on disk: the newest, and one before it."""
BEST = "best.pt"
"""The checkpoint that was measured to be the best, of a run with `train.patience`."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training after `step` steps."""

    step: int
    recipe: dict[str, Any]
    details: dict[str, Any]
    """of the task: what its outputs stand for"""
    model: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    carried: State
    """the streams' state at the end of the last batch"""
    average: dict[str, torch.Tensor] | None = None
    """weights averaged over steps, where the recipe asks for it"""
    bad_steps: int = 0
    best: tuple[float, int] | None = None
    """the best value of `ValidReport.metric`, and its step"""
    grids: Grids | None = None
    """to which weights are rounded, where the recipe asks for it and the step has come"""

    @property
    def weights(self) -> dict[str, torch.Tensor]:
        """What is measured and exported: the average, if there is one; rounded, if they are in training."""
        return put_on_grids(self.model if self.average is None else self.average, self.grids)


def save_checkpoint(folder: Path, checkpoint: Checkpoint, name: str | None = None) -> Path:
    """Write to `folder`; the file appears whole or not at all, and older ones go only when it is there.

    Raises EdgeseqError when it cannot be written (a full disk); earlier checkpoints are then untouched.
    """
    packed = io.BytesIO()
    torch.save({"format": FORMAT, **checkpoint.__dict__}, packed)
    path = folder / (name or f"step-{checkpoint.step:08d}.pt")
    try:
        write_whole(path, packed.getbuffer())
    except OSError as fault:
        left = latest_checkpoint(folder)
        raise EdgeseqError(
            f"{path}: the checkpoint cannot be written ({fault.strerror or fault}); {packed.tell():,} bytes are needed.\n"
            f"  {f'{left} is untouched. ' if left else ''}Make room, then continue with --resume."
        ) from fault
    for old in _checkpoints(folder)[:-KEPT]:
        old.unlink(missing_ok=True)
    return path


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, tensors and plain values only.

    Raises ModelError when the file is none of ours, or of another version.
    """
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
        version = values.pop("format", 1)
        if version == 3:
            return Checkpoint(**_renamed(values))
        check_format(version, FORMAT, path)
        return Checkpoint(**values)
    except ModelError:
        raise
    except FileNotFoundError as fault:
        raise ModelError(f"{path}: no such checkpoint.") from fault
    except Exception as fault:  # torch raises many kinds for a file that is not a checkpoint
        raise ModelError(
            f"{path}: cannot be read as a checkpoint of edgeseq ({type(fault).__name__}).\n"
            "  Name a file under runs/NAME/checkpoints/ that `edgeseq train` wrote. If it is damaged, remove it: --resume then "
            "continues from the one before."
        ) from fault


def _renamed(values: dict[str, Any]) -> dict[str, Any]:
    """Convert format 3: tokens as fields, states by their places, weights of an encoder."""
    values = values | {"details": ctc_details(values.pop("tokens"), values.pop("token_details", {}))}
    names = ["hidden", "cell"] if values["recipe"]["network"]["cell"] == "lstm" else ["hidden"]
    weights = {key: renamed_weights(values[key]) for key in ("model", "average", "grids") if values[key] is not None}
    if not values["carried"]:
        return values | weights | {"carried": {}}
    samples, frames, *stacked = values["carried"]
    layers = zip(*stacked, strict=True)
    states = {f"{name}_{n}": state for n, layer in enumerate(layers) for name, state in zip(names, layer, strict=True)}
    return values | weights | {"carried": {"samples": samples, "frames": frames, **states}}


def ctc_details(symbols: Sequence[str], details: Mapping[str, Any]) -> dict[str, Any]:
    """Give the details of the task `ctc` as older files kept them."""
    return {"tokens": list(symbols), **({"token_details": dict(details)} if details else {})}


def check_format(found: object, wanted: int, path: Path) -> None:
    """Raise ModelError if a file of weights is not in the format that this edgeseq reads."""
    if found != wanted:
        raise ModelError(
            f"{path}: weights of another version of edgeseq (format {found}; this one reads {wanted}).\n"
            "  Use the version that wrote them, or train again. Exported .onnx files still work."
        )


def latest_checkpoint(folder: Path) -> Path | None:
    """Find the newest whole checkpoint in `folder`."""
    found = _checkpoints(folder)
    return found[-1] if found else None


def finished_checkpoint(folder: Path) -> Path | None:
    """Find the checkpoint to export: the best one where a run keeps it, else the newest."""
    best = folder / BEST
    return best if best.is_file() else latest_checkpoint(folder)


def _checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.pt"))
