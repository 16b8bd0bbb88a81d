"""The training loop: batches in, weights out, everything written down."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import yaml

from edgeseq.data.manifest import find_data
from edgeseq.errors import EdgeseqError, UsageError
from edgeseq.training import processes, tasks
from edgeseq.training.averaging import average_in, share_of_new
from edgeseq.training.batch import Batch
from edgeseq.training.batches import JoinedBatches
from edgeseq.training.chance import RowChance
from edgeseq.training.checkpoint import BEST, latest_checkpoint, load_checkpoint
from edgeseq.training.licenses import refuse_licenses
from edgeseq.training.loading import load_ahead
from edgeseq.training.loggers import refuse_missing
from edgeseq.training.manifest_index import ManifestIndex
from edgeseq.training.memory import reuse_pages
from edgeseq.training.metrics import Notice, Report, RunLog, StepReport, ValidReport, writing_to
from edgeseq.training.objective import streamed_loss
from edgeseq.training.plan import difficulty
from edgeseq.training.quantization import find_grids, put_on_grids, rounded
from edgeseq.training.recipe import Recipe
from edgeseq.training.sources import OwnWords, pick_source, refuse_other_input
from edgeseq.training.state import State, detach, pick, put, restart
from edgeseq.training.tasks.task import Validator
from edgeseq.training.train_state import Training, begin, restore, save, with_precision
from edgeseq.training.valid import load_validation
from edgeseq.training.watch import layer_norms
from edgeseq.whole_file import write_whole


@dataclass(frozen=True)
class Devices:
    """On what a training runs: `count` processes on each of `nodes` machines, each with a device of the kind `accelerator`."""

    accelerator: str = "auto"
    count: int | None = None
    """by default all graphics processors, or one process on the CPU"""
    nodes: int = 1


def learning_rate(step: int, lr: float, warmup_steps: int, steps: int) -> float:
    """Linear warm-up to `lr`, then half a cosine down to zero at `steps` (Loshchilov and Hutter 2017)."""
    if step < warmup_steps:
        return lr * (step + 1) / warmup_steps
    return lr * 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, steps - warmup_steps)))


def load_batches(recipe: Recipe) -> JoinedBatches:
    """Read the manifests of a recipe, and make its task for them.

    Raises ManifestError or RecipeError when data is missing or broken.
    """
    indices = [ManifestIndex.of(find_data(one.manifest), allow_empty_text=one.others) for one in recipe.data.train]
    pairs = list(zip(recipe.data.train, indices, strict=True))
    for index in indices:
        refuse_other_input(index[0], recipe)
    own = [index for source, index in pairs if not source.others]
    task = tasks.prepare(recipe, own)
    words = OwnWords.of(own if len(own) < len(pairs) else (), recipe.language)
    sources = [pick_source(source, index, task, words) for source, index in pairs]
    refuse_licenses(recipe.data, sources)
    return JoinedBatches(sources, recipe, task)


def train(
    recipe: Recipe,
    folder: Path,
    *,
    resume: bool,
    report: Callable[[Report], None],
    workers: int = 1,
    devices: Devices | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Training:
    """Train to the last step of `recipe`, writing the resolved recipe, checkpoints, metrics and pictures to `folder`.

    With `resume` the newest checkpoint in `folder` is continued, exactly as if training had not stopped (a recipe that was
    changed in what leaves past steps as they were, such as its number of steps, holds from there on). `stop` is asked at each
    step; if it says so, the step is ended, a checkpoint saved, and KeyboardInterrupt raised. `workers` processes make batches;
    0 makes them in this one. `devices` says on how many processes and machines the training runs; all give the same, within
    rounding. Only the first process writes and reports. Raises UsageError, ManifestError, RecipeError, MissingExtraError or
    EdgeseqError for what cannot begin, EdgeseqError for what cannot continue; a logger that fails on the way is reported.
    """
    devices = devices or Devices()
    refuse_missing(recipe.train.loggers)
    reuse_pages()
    checkpoints = folder / "checkpoints"
    found = latest_checkpoint(checkpoints)
    if found and not resume:
        raise UsageError(
            f"{folder} holds a training already ({found.name}).\n  Continue it with --resume, or name another --out."
        )
    saved = load_checkpoint(found) if found else None
    recipe = with_precision(recipe, saved, devices.accelerator)
    fabric = processes.start(recipe.train.precision, devices.accelerator, devices.count, devices.nodes)
    processes.set_threads(fabric, devices.nodes, recipe.train.threads, workers)
    rows = processes.own_rows(fabric, recipe.train.batch_size)
    batches = load_batches(recipe).of_rows(rows)
    valid = load_validation(recipe)
    validator = batches.task.validator(recipe, valid, batches.reader) if valid else None
    training = restore(recipe, batches.task, saved, fabric, rows) if saved else begin(recipe, batches, fabric, rows)
    fabric.barrier()  # nobody writes before all have read
    log = processes.in_first(fabric, lambda: RunLog(recipe, folder, training.step + 1, report))
    if log is None:
        _run(training, batches, validator, checkpoints, lambda _: None, workers, stop)
        return training
    with log:
        with writing_to(folder):
            write_recipe(recipe, folder)
        _run(training, batches, validator, checkpoints, log.add, workers, stop)
    return training


def _run(
    training: Training,
    batches: JoinedBatches,
    validator: Validator | None,
    checkpoints: Path,
    report: Callable[[Report], object],
    workers: int,
    stop: Callable[[], bool],
) -> None:
    """Train to the last step; whatever ends it sooner, what was learnt is saved first."""
    settings = training.recipe.train
    try:
        for batch, wait_seconds in load_ahead(batches, range(training.step, settings.steps), workers):
            told, stopping = train_step(training, batch, wait_seconds, stop(), batches.clip_names)
            for one in told:
                report(one)
            last = training.step == settings.steps
            if stopping and not last:
                save(training, checkpoints)
                raise KeyboardInterrupt
            if training.step % settings.checkpoint_every == 0 or last:
                save(training, checkpoints)
            due = training.step % settings.valid_every == 0 or last
            if validator and due and _validate(training, validator, checkpoints, report):
                report(Notice(training.step, _why_stopped(training, validator)))
                save(training, checkpoints)
                return
    except EdgeseqError:
        # Several processes save together, and the others may wait elsewhere.
        if training.step and training.fabric.world_size == 1:
            save(training, checkpoints)
        raise
    except torch.AcceleratorError as fault:
        raise EdgeseqError(
            f"The device failed after step {training.step}: {str(fault).splitlines()[0]}\n"
            f"  {latest_checkpoint(checkpoints) or 'No checkpoint'} is kept; see to the device, then continue with --resume."
        ) from fault


def train_step(
    training: Training,
    batch: Batch,
    wait_seconds: float = 0.0,
    stop: bool = False,
    clip_names: Callable[[int], list[str]] = lambda _: [],
) -> tuple[list[Report], bool]:
    """Advance the weights, and the streams that the batch's rows belong to, by one step.

    Returns what there is to report, and whether any process wants to stop. A step whose loss or gradient is not a number
    changes no weights, and its streams start afresh.
    """
    began = time.monotonic()
    settings, step, model = training.recipe.train, training.step, training.model
    hardness = difficulty(step, settings.easy_steps, settings.ramp_steps)
    lr = learning_rate(step, settings.lr, settings.warmup_steps, settings.steps)
    for group in training.optimizer.param_groups:
        group["lr"] = lr
    if training.grids is None and settings.quantize is not None and step >= settings.quantize.from_step:
        training.grids = find_grids(model, settings.quantize.bits)
    training.optimizer.zero_grad(set_to_none=True)
    places = (batch.rows - training.rows.start).to(training.fabric.device)
    loss_value, state = _backward(training, batch, pick(training.carried, places), hardness)
    loss_value, n_stopping, seconds = processes.sum_up(
        training.fabric, model, [loss_value, float(stop), batch.units.shape[:2].numel() / training.recipe.input.rate]
    )
    norms = layer_norms(model)
    norm = math.sqrt(sum(one * one for one in norms.values()))
    training.step = step + 1
    reports: list[Report] = []
    if math.isfinite(loss_value) and math.isfinite(norm):
        torch.nn.utils.clip_grads_with_norm_(model.parameters(), settings.grad_clip, torch.tensor(norm))
        training.optimizer.step()
        training.carried = put(training.carried, places, detach(state))
        if settings.averaging.kind != "none":
            share = share_of_new(settings.averaging, step + 1, settings.steps)
            training.average = average_in(training.average, model.state_dict(), share)
        noticed = training.gradients.look(step + 1, norms, settings.grad_clip, hardness)
    else:
        noticed = training.bad_steps.add(step + 1, loss_value, clip_names(step))
        training.carried = restart(training.carried, torch.ones(len(training.rows), dtype=torch.bool, device=places.device))
    if noticed:
        reports.append(Notice(step + 1, noticed))
    took = time.monotonic() - began
    reports.append(StepReport(step + 1, loss_value, norm, lr, hardness, seconds, took, wait_seconds, norms))
    return reports, n_stopping > 0


def _backward(training: Training, batch: Batch, state: State, hardness: float) -> tuple[float, State]:
    """Add the gradient of a process's rows; returns their loss, and their streams' state at the end of the batch."""
    if not len(batch.rows):
        return 0.0, state
    chance = RowChance(training.recipe.train.seed, training.step, batch.rows.tolist(), training.fabric.device)
    with rounded(training.model, training.grids):
        loss, state = streamed_loss(
            training.model, training.recipe, training.task, batch, state, hardness, chance, training.fabric
        )
        training.fabric.backward(loss)
    return loss.item(), state


def write_recipe(recipe: Recipe, folder: Path) -> None:
    """Write the resolved recipe to a run's folder."""
    text = yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    write_whole(folder / "recipe.yaml", text.encode())


def _validate(training: Training, validator: Validator, checkpoints: Path, report: Callable[[Report], object]) -> bool:
    """Measure error rates, in the first process; with `patience`, keep the best weights and say whether to stop."""
    measured = processes.in_first(training.fabric, lambda: measure(training, validator))
    measured = training.fabric.broadcast(measured)
    assert measured is not None
    report(measured)
    patience = training.recipe.train.patience
    if patience is None:
        return False
    if training.best is None or measured.metric.is_better(measured.value, training.best[0]):
        training.best = (measured.value, training.step)
        save(training, checkpoints, BEST)
        return False
    return training.step - training.best[1] >= patience * training.recipe.train.valid_every


def _why_stopped(training: Training, validator: Validator) -> str:
    assert training.best is not None
    value, step = training.best
    metric = validator.metric
    best = f"{'the fewest' if metric.lower_is_better else 'the best'} {metric.title}, {metric.show(value, 2)}, "
    return f"stopped: {training.recipe.train.patience} validations brought nothing better; {best}were at step {step:,}."


def measure(training: Training, validator: Validator) -> ValidReport:
    """Measure the weights as they would be exported."""
    model = training.model
    trained = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    model.load_state_dict(put_on_grids(trained if training.average is None else training.average, training.grids))
    try:
        report: ValidReport = validator.measure(model, training.step)
        return report
    finally:
        model.load_state_dict(trained)
