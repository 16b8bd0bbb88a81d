"""A training under way: begun, put together from a checkpoint, saved to one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from edgeseq.errors import UsageError
from edgeseq.training import processes, tasks
from edgeseq.training.averaging import Weights
from edgeseq.training.batches import JoinedBatches
from edgeseq.training.checkpoint import Checkpoint, save_checkpoint
from edgeseq.training.finetuning import begin_from, freeze
from edgeseq.training.lightning_import import Fabric
from edgeseq.training.quantization import Grids
from edgeseq.training.recipe import Recipe
from edgeseq.training.recipe_file import parse_recipe
from edgeseq.training.resuming import refuse_changes
from edgeseq.training.sequence_model import SequenceModel, build_model
from edgeseq.training.state import State, pick
from edgeseq.training.tasks.task import Task
from edgeseq.training.watch import BadSteps, GradientWatch

STATISTICS_BATCHES = 8
"""Batches at full difficulty from which the mean and deviation of log-mel, or of values, are taken."""


@dataclass
class Training:
    """A training under way, as one of its processes holds it."""

    recipe: Recipe
    task: Task
    model: SequenceModel
    optimizer: torch.optim.Optimizer
    fabric: Fabric
    rows: range
    """numbers of this process's streams"""
    carried: State
    """of these streams"""
    step: int
    """steps done"""
    bad_steps: BadSteps
    average: Weights | None = None
    best: tuple[float, int] | None = None
    """the best value of `ValidReport.metric`, and its step"""
    grids: Grids | None = None
    """to which weights are rounded"""
    gradients: GradientWatch = field(default_factory=GradientWatch)


def with_precision(recipe: Recipe, saved: Checkpoint | None, accelerator: str) -> Recipe:
    """Put a precision in the place of `auto`: that of the checkpoint to resume, or the quickest here."""
    if recipe.train.precision != "auto":
        return recipe
    chosen = saved.recipe["train"].get("precision", "32") if saved else processes.quickest_precision(accelerator)
    return recipe.model_copy(update={"train": recipe.train.model_copy(update={"precision": chosen})})


def begin(recipe: Recipe, batches: JoinedBatches, fabric: Fabric, rows: range) -> Training:
    """Begin with fresh weights, or with given ones."""
    torch.manual_seed(recipe.train.seed)
    task = batches.task
    model = build_model(recipe.input, recipe.network, task.n_outputs, task.activation)
    if recipe.finetune is None:
        take_statistics(model, batches)
    else:
        begin_from(model, task, recipe, recipe.finetune)
        freeze(model, recipe.finetune.freeze)
    model.to(fabric.device)
    carried = model.init_state(len(rows))
    return Training(
        recipe,
        task,
        model,
        _make_optimizer(model, recipe),
        fabric,
        rows,
        carried,
        step=0,
        bad_steps=BadSteps(recipe.train.most_bad_steps),
    )


def take_statistics(model: SequenceModel, batches: JoinedBatches) -> None:
    """Let the frontend see a few batches at full difficulty, of all streams."""
    every = batches.of_rows(range(batches.recipe.train.batch_size))
    model.frontend.fit(every[len(every) + i] for i in range(STATISTICS_BATCHES))


def restore(recipe: Recipe, task: Task, saved: Checkpoint, fabric: Fabric, rows: range) -> Training:
    """Put a saved training together, as far as this process holds it."""
    was = parse_recipe(saved.recipe, "the saved recipe")  # with what newer versions have added
    same_kind = was.task.kind == recipe.task.kind
    changes = tasks.restore(was, saved.details).changes(task) if same_kind else []
    refuse_changes(was.model_dump(mode="json"), recipe.model_dump(mode="json"), changes)
    if saved.step > recipe.train.steps:
        raise UsageError(
            f"{saved.step:,} steps are done; train.steps ({recipe.train.steps:,}) cannot be fewer.\n"
            "  Name as many or more, or start over with another --out."
        )
    model = build_model(recipe.input, recipe.network, task.n_outputs, task.activation).to(fabric.device)
    model.load_state_dict(saved.model)
    if recipe.finetune is not None:
        freeze(model, recipe.finetune.freeze)
    optimizer = _make_optimizer(model, recipe)
    optimizer.load_state_dict(saved.optimizer)
    every = {name: tensor.to(fabric.device) for name, tensor in saved.carried.items()}
    average = saved.average and {name: tensor.to(fabric.device) for name, tensor in saved.average.items()}
    return Training(
        recipe,
        task,
        model,
        optimizer,
        fabric,
        rows,
        pick(every, torch.arange(rows.start, rows.stop, device=fabric.device)),
        saved.step,
        BadSteps(recipe.train.most_bad_steps, saved.bad_steps),
        average,
        saved.best,
        saved.grids and {name: tuple(part.to(fabric.device) for part in grid) for name, grid in saved.grids.items()},
    )


def save(training: Training, checkpoints: Path, name: str | None = None) -> None:
    """Save a checkpoint of all processes' streams; the first process writes it."""
    fabric = training.fabric
    together = {name: processes.gather(fabric, tensor, 0) for name, tensor in training.carried.items()}
    if fabric.global_rank == 0:
        checkpoint = Checkpoint(
            step=training.step,
            recipe=training.recipe.model_dump(mode="json"),
            details=training.task.details,
            model=training.model.state_dict(),
            optimizer=training.optimizer.state_dict(),
            carried=together,
            average=training.average,
            bad_steps=training.bad_steps.count,
            best=training.best,
            grids=training.grids,
        )
        save_checkpoint(checkpoints, checkpoint, name)
    fabric.barrier()


def _make_optimizer(model: SequenceModel, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW in one pass over the weights; biases do not decay."""
    trained = [p for p in model.parameters() if p.requires_grad]
    weights, biases = [p for p in trained if p.ndim > 1], [p for p in trained if p.ndim == 1]
    groups: list[dict[str, Any]] = [{"params": weights}, {"params": biases, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.train.lr, weight_decay=recipe.train.weight_decay, fused=True)
