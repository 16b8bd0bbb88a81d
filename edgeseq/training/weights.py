"""Where an export, or a fine-tuning, begins: a checkpoint, a run's folder or a released model's folder."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from edgeseq.errors import ModelError, UsageError
from edgeseq.model.companions import SEARCH, SearchDefaults, faults_of, find_companions, named
from edgeseq.models import model_folders
from edgeseq.tokens.table import TokenTable
from edgeseq.training import tasks
from edgeseq.training.checkpoint import check_format, ctc_details, finished_checkpoint, load_checkpoint
from edgeseq.training.metrics import read_lines
from edgeseq.training.recipe import Recipe
from edgeseq.training.recipe_file import parse_recipe
from edgeseq.training.sequence_model import SequenceModel, Shape, build_model, renamed_weights, weight_shapes
from edgeseq.training.tasks.task import Task
from edgeseq.untrusted import Fields, parse_json

T = TypeVar("T")

WEIGHTS_FILE = "weights.safetensors"
METRICS_FILE = "metrics.jsonl"
NO_LR = 1e-3
"""of the recipe's learning rate: a schedule that came so far has ended"""
METADATA_KEY = "edgeseq"
FORMAT = 3
"""Format of the weights' names; raised when they change."""


@dataclass(frozen=True)
class Trained:
    """Weights, and what they need to be used."""

    recipe: Recipe
    task: Task
    model: SequenceModel
    flush_seconds: float | None = None
    """known when the weights were released before"""
    measured: dict[str, Any] = field(default_factory=dict)
    """optional fields of the metadata that were measured: word delays, confidence maps"""
    companion_files: Mapping[str, Path] = field(default_factory=dict)
    """what lies beside the model's files, by role (see companions.py)"""
    search: SearchDefaults | None = None
    """how words are searched for with them"""
    unfinished: str = ""
    """how far its training came, where it was stopped before its end; "" for a finished one"""

    @property
    def gives_words(self) -> bool:
        """Whether it has `tokens`."""
        return isinstance(getattr(self.task, "tokens", None), TokenTable)

    @property
    def tokens(self) -> TokenTable:
        """What a model of words writes. Raises UsageError for other tasks."""
        found = getattr(self.task, "tokens", None)
        if not isinstance(found, TokenTable):
            raise UsageError(
                f"{self.recipe.name} is trained for the task '{self.recipe.task.kind}', which gives no words; wanted 'ctc'.\n"
                "  Name the weights of a model of words."
            )
        return found


def find_weights(name: str, key: str) -> Path:
    """Find a run, a checkpoint, weights.safetensors or a released model's folder, by path or by the model's name.

    Raises UsageError that names `key`, such as that of a recipe, and lists the places looked at.
    """
    places = [Path(name).expanduser(), *(folder / name for folder in model_folders())]
    found = next((place for place in places if place.exists()), None)
    if found is None:
        listed = "\n".join(f"    {place}" for place in places)
        raise UsageError(
            f"{key}: there is no {name}. Looked for:\n{listed}\n"
            "  Name a run (runs/NAME), a checkpoint, or a folder that holds weights.safetensors."
        )
    return found


def load_trained(path: Path) -> Trained:
    """Read a checkpoint file, a folder of `edgeseq train`, weights.safetensors or a folder that holds it.

    Raises ModelError when it is none of these.
    """
    released = path / WEIGHTS_FILE if path.is_dir() else path
    if released.suffix == Path(WEIGHTS_FILE).suffix and released.is_file():
        return _load_released(released)
    checkpoint = finished_checkpoint(path / "checkpoints") if path.is_dir() else path
    if checkpoint is None:
        raise ModelError(
            f"{path}: holds neither checkpoints/ nor {WEIGHTS_FILE}.\n"
            "  Name a checkpoint, a folder written by `edgeseq train` (runs/NAME), or a released model's folder."
        )
    saved = load_checkpoint(checkpoint)
    weights = saved.weights
    trained = _assemble(*_planned(saved.recipe, saved.details, _shapes(weights), checkpoint), weights, checkpoint)
    return replace(trained, unfinished=_unfinished(path, saved.step, trained.recipe))


def _unfinished(path: Path, step: int, recipe: Recipe) -> str:
    """Say how far the training of a checkpoint, or of a run's folder, came; "" for one that has ended as it should.

    By its steps, by train.patience, or, bounded in time, with its learning rate at zero.
    """
    lines, steps = read_lines(path / METRICS_FILE) if path.is_dir() else [], recipe.train.steps
    done = max((line["step"] for line in lines), default=step)
    last_lr = next((line["lr"] for line in reversed(lines) if "lr" in line), math.inf)
    has_ended = last_lr < NO_LR * recipe.train.lr and done > recipe.train.warmup_steps
    if done >= steps or has_ended or any("stopped: " in line.get("notice", "") for line in lines):
        return ""
    return f"its training was stopped after {done:,} of {steps:,} steps"


def pack_weights(trained: Trained, flush_seconds: float) -> bytes:
    """Write the weights as safetensors, float16 where that is exact, else float32; recipe, tokens and flush in the metadata."""
    about = {
        "format": FORMAT,
        "recipe": trained.recipe.model_dump(mode="json"),
        "details": trained.task.details,
        "flush_seconds": flush_seconds,
        **({"measured": trained.measured} if trained.measured else {}),
        **({"companions": named(trained.companion_files, trained.search)} if trained.companion_files else {}),
    }
    tensors = {name: _smallest(tensor.contiguous()) for name, tensor in trained.model.state_dict().items()}
    # One key only: safetensors writes several in random order, and equal weights should make equal files.
    return save(tensors, metadata={METADATA_KEY: json.dumps(about, ensure_ascii=False)})


def _smallest(weights: Tensor) -> Tensor:
    """Give float16 where it holds the very same values, as those of a model that was released so."""
    half = weights.half()
    return half if torch.equal(half.to(weights.dtype), weights) else weights


def _load_released(path: Path) -> Trained:
    try:
        with safe_open(path, framework="pt") as file:
            about = Fields.of(parse_json((file.metadata() or {})[METADATA_KEY]), "its description").values
            details, names = _described(about, path), list(file.keys())
            flush_seconds = Fields(about).number("flush_seconds", 0, 60)
            measured, companions = dict(about.get("measured", {})), dict(about.get("companions", {}))
            if wrong := faults_of(companions):
                raise ValueError("; ".join(wrong))
            shapes = _named({name: tuple(file.get_slice(name).get_shape()) for name in names}, about)
            plan = _planned(about["recipe"], details, shapes, path)  # before anything is read or made
            weights = _named({name: file.get_tensor(name) for name in names}, about)
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError) as fault:
        raise ModelError(f"{path}: not weights of edgeseq, or damaged ({type(fault).__name__}: {fault}).") from fault
    trained = _assemble(*plan, weights, path)
    files = find_companions(companions, path, trained.recipe.name)
    search = SearchDefaults.of(companions) if SEARCH in companions else None
    return replace(trained, flush_seconds=flush_seconds, measured=measured, companion_files=files, search=search)


def _described(about: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Read the details of the task from a file's description, in today's format or the one before."""
    if about.get("format") == 2:
        return ctc_details(about["tokens"], about.get("token_details", {}))
    check_format(about.get("format", 1), FORMAT, path)
    return dict(about["details"])


def _named(values: dict[str, T], about: Mapping[str, Any]) -> dict[str, T]:
    return renamed_weights(values) if about.get("format") == 2 else values


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, Shape]:
    return {name: tuple(tensor.shape) for name, tensor in weights.items()}


def _planned(
    recipe: dict[str, Any], details: Mapping[str, Any], shapes: Mapping[str, Shape], path: Path
) -> tuple[Recipe, Task]:
    """Read the recipe and task that weights of these shapes were stored with. Raises ModelError where they do not fit.

    Nothing is allocated for them yet: a small file's recipe may ask for a network that no memory holds.
    """
    resolved = parse_recipe(recipe, str(path))
    try:
        task = tasks.restore(resolved, details)
    except (KeyError, ValueError, TypeError) as fault:
        raise ModelError(f"{path}: not weights of edgeseq, or damaged ({type(fault).__name__}: {fault}).") from fault
    for name, wanted in weight_shapes(resolved.input, resolved.network, task.n_outputs).items():
        if shapes.get(name) != wanted:
            seen = "is missing" if name not in shapes else f"has the shape {list(shapes[name])}"
            raise ModelError(
                f"{path}: the weights do not fit the recipe stored with them: {name} {seen}; the recipe wants {list(wanted)}."
            )
    return resolved, task


def _assemble(recipe: Recipe, task: Task, weights: dict[str, Tensor], path: Path) -> Trained:
    model = build_model(recipe.input, recipe.network, task.n_outputs, task.activation)
    try:
        model.load_state_dict(weights)
    except RuntimeError as fault:
        why = " ".join(str(fault).split())[:300]
        raise ModelError(f"{path}: the weights do not fit the recipe stored with them ({why}).") from fault
    return Trained(recipe, task, model.eval())
