"""Optimization with all sound on one device: AdamW, averaged weights, error rates on the way, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from edgeseq.errors import UsageError
from edgeseq.tokens.table import TokenTable
from edgeseq.training.averaging import Weights, average_in, share_of_new
from edgeseq.training.checkpoint import Checkpoint, latest_checkpoint, save_checkpoint
from edgeseq.training.clips import ClipReader
from edgeseq.training.finetuning import begin_from
from edgeseq.training.metrics import Report, RunLog, StepReport, writing_to
from edgeseq.training.recipe import Recipe
from edgeseq.training.resident.prepare import Prepared, prepare
from edgeseq.training.resident.rendering import Renderer
from edgeseq.training.resident.rows import PlannedBatch, Planner
from edgeseq.training.resident.stack import Stack
from edgeseq.training.sequence_model import SequenceModel, build_model
from edgeseq.training.state import State, detach, restart
from edgeseq.training.tasks.ctc import Task as CtcTask
from edgeseq.training.tasks.task import Task
from edgeseq.training.trainer import load_batches, write_recipe
from edgeseq.training.valid import WordValidator, load_validation

STATISTICS_BATCHES = 8
"""Augmented batches from which mean and deviation of each mel band are taken."""
REPORT_EVERY = 50
"""Steps; reading a loss waits for the device."""


@dataclass(frozen=True)
class Clock:
    """How far a training has come: by steps, or by time where that is bounded."""

    steps: int
    seconds: float | None
    began: float = field(default_factory=time.perf_counter)

    def progress(self, step: int) -> float:
        """From 0 at the start to 1 at the end."""
        by_time = 0.0 if self.seconds is None else (time.perf_counter() - self.began) / self.seconds
        return min(1.0, max(step / self.steps, by_time))


def train(
    recipe: Recipe,
    folder: Path,
    *,
    device: torch.device,
    report: Callable[[Report], None],
    minutes: float | None = None,
    threads: int = 8,
    workers: int = 4,
    stop: Callable[[], bool] = lambda: False,
) -> Path:
    """Train until `train.steps`, or for that many `minutes` after the preparation; returns the last checkpoint.

    The learning rate falls by whichever comes first. `threads` decode sound, `workers` processes plan batches. `stop` is asked
    at each step; if it says so, a checkpoint is saved and KeyboardInterrupt raised. Raises UsageError for a folder that holds
    a training, and what `trainer.train` raises for recipes and data.
    """
    found = latest_checkpoint(folder / "checkpoints")
    if found:
        raise UsageError(
            f"{folder} holds a training already ({found.name}), and one with all sound on the device cannot be resumed.\n"
            "  Name another --out; finetune.weights=RUN begins with the weights of a run."
        )
    batches = load_batches(recipe)
    tokens = _tokens_of(batches.task)
    valid = load_validation(recipe)
    validator = WordValidator(recipe, tokens, valid, ClipReader(recipe.frontend.sample_rate)) if valid else None
    prepared = prepare(recipe, tokens, batches.sources, device, threads)
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    with RunLog(recipe, folder, 1, report) as log:
        with writing_to(folder):
            write_recipe(recipe, folder)
        return _Training(prepared, folder, validator, log).run(
            Clock(recipe.train.steps, minutes and 60 * minutes), workers, stop
        )


def _tokens_of(task: Task) -> TokenTable:
    if not isinstance(task, CtcTask):
        raise UsageError("--resident trains models of words (task ctc); train other tasks without it.")
    return task.tokens


class _Training:
    """The weights and what moves them."""

    def __init__(self, prepared: Prepared, folder: Path, validator: WordValidator | None, log: RunLog) -> None:
        self.prepared, self.folder, self.validator, self.log = prepared, folder, validator, log
        recipe = prepared.recipe
        self.settings, self.device = recipe.train, prepared.store.samples.device
        torch.manual_seed(recipe.train.seed)
        self.model = _fresh(recipe, prepared.tokens).to(self.device)
        self.renderer = Renderer(prepared.store, recipe.augment, prepared.noises, prepared.responses, recipe.train.seed)
        self.planner = Planner(prepared.choice, recipe.joining, recipe.train, recipe.frontend.sample_rate, recipe.step_units)
        if recipe.finetune is None:
            set_statistics(self.model, self.renderer, self.planner)
        self.stack = Stack(self.model.trunk, self.model.head, recorded=self.device.type == "cuda")
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=recipe.train.lr,
            weight_decay=recipe.train.weight_decay,
            fused=self.device.type == "cuda",
        )
        self.average: Weights | None = None
        self.state: State | None = None

    def run(self, clock: Clock, workers: int, stop: Callable[[], bool]) -> Path:
        """Train to the end; returns the last checkpoint."""
        losses: list[Tensor] = []
        heard, before = 0.0, time.perf_counter()
        for planned in self.planner.loader(workers):
            batch = planned.pin_memory() if self.device.type == "cuda" else planned
            lr = learning_rate(self.prepared.recipe, batch.step, clock.progress(batch.step))
            loss, norm = self._step(batch, lr)
            losses.append(loss)
            heard += batch.n_samples * len(batch.target_lengths) / self.prepared.recipe.frontend.sample_rate
            stopped = stop()
            ended = clock.progress(batch.step) >= 1 or stopped
            if batch.step % REPORT_EVERY == 0 or ended:
                now, mean = time.perf_counter(), float(torch.stack(losses).mean())
                took = (now - before) / len(losses)
                hours = heard / len(losses)
                self.log.add(StepReport(batch.step, mean, float(norm), lr, batch.difficulty, hours, took, 0.0, {}))
                losses, heard, before = [], 0.0, now
            if self.validator is not None and (batch.step % self.settings.valid_every == 0 or ended) and not stopped:
                self.log.add(self._measure(self.validator, batch.step))
                before = time.perf_counter()
            if ended:
                break
            if batch.step % self.settings.checkpoint_every == 0:
                self._save(batch.step)
        path = self._save(batch.step)
        if stopped:
            raise KeyboardInterrupt
        return path

    def _step(self, batch: PlannedBatch, lr: float) -> tuple[Tensor, Tensor]:
        """Move the weights by one batch; gives its loss per target token and its gradient's norm, both still on the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        loss = self._loss(batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = clip(self.model, self.settings.grad_clip)
        self.optimizer.step()
        if self.settings.averaging.kind != "none":
            share = share_of_new(self.settings.averaging, batch.step, self.settings.steps)
            self.average = average_in(self.average, self.model.state_dict(), share)
        return loss.detach(), norm

    def _loss(self, batch: PlannedBatch) -> Tensor:
        n_rows = len(batch.target_lengths)
        with torch.no_grad():
            sound = self.renderer.samples(batch)
            frames, _ = self.model.sound.step(sound, self.model.sound.init_state(n_rows))
            frames = self.renderer.mask(frames, batch.difficulty)
        fresh = batch.restart.to(self.device, non_blocking=True)
        log_probs, state = self.stack.step(frames, carried(self.model, self.state, fresh))
        self.state = detach(state)
        rows = torch.full((n_rows,), log_probs.shape[1])  # on the processor, like the other lengths: ctc_loss reads them there
        targets = batch.targets.to(self.device, non_blocking=True)
        blank_id = self.prepared.tokens.blank_id
        loss = nn.functional.ctc_loss(
            log_probs.transpose(0, 1), targets, rows, batch.target_lengths, blank_id, "sum", zero_infinity=True
        )
        return loss / max(1, len(batch.targets))

    def _measure(self, validator: WordValidator, step: int) -> Report:
        """Measure the weights as they would be exported."""
        trained = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.model.load_state_dict(trained if self.average is None else self.average)
        self.model.eval()
        try:
            return validator.measure(self.model, step)
        finally:
            self.model.load_state_dict(trained)
            self.model.train()

    def _save(self, step: int) -> Path:
        """Write a checkpoint for `edgeseq export`: without the optimizer's state, since nothing resumes it."""
        tokens, recipe = self.prepared.tokens, self.prepared.recipe.model_dump(mode="json")
        weights = {name: tensor.detach().cpu().clone() for name, tensor in self.model.state_dict().items()}
        average = None if self.average is None else {name: tensor.cpu() for name, tensor in self.average.items()}
        checkpoint = Checkpoint(step, recipe, CtcTask(tokens).details, weights, {}, {}, average)
        return save_checkpoint(self.folder / "checkpoints", checkpoint)


def _fresh(recipe: Recipe, tokens: TokenTable) -> SequenceModel:
    model = build_model(recipe.input, recipe.network, len(tokens))
    if recipe.finetune is not None:
        begin_from(model, CtcTask(tokens), recipe, recipe.finetune)
    return model


def clip(model: SequenceModel, most: float) -> Tensor:
    """Bound the gradient's norm; one that is no number becomes zero. Nothing here waits for the device."""
    norm = nn.utils.clip_grad_norm_(model.parameters(), most)
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad.nan_to_num_(0.0, 0.0, 0.0)
    return norm


def carried(model: SequenceModel, before: State | None, rows: Tensor) -> State:
    """Continue from the state of the batch before, except for `rows`, bool `[n_rows]`, that begin a stream."""
    if before is None or len(before["hidden_0"]) != len(rows):
        return model.trunk.init_state(len(rows))
    return restart(before, rows)


def learning_rate(recipe: Recipe, step: int, progress: float) -> float:
    """Linear warm-up, then cosine decay to zero."""
    return recipe.train.lr * min(1.0, step / max(1, recipe.train.warmup_steps)) * 0.5 * (1 + math.cos(math.pi * progress))


@torch.no_grad()
def set_statistics(model: SequenceModel, renderer: Renderer, planner: Planner) -> None:
    """Take mean and deviation of each mel band from augmented batches."""
    full = planner.train.easy_steps + planner.train.ramp_steps + 1
    batches = [planner.plan(full + number) for number in range(STATISTICS_BATCHES)]
    frames = torch.cat([model.sound.log_mel(renderer.samples(batch)).flatten(0, 1) for batch in batches])
    model.sound.mean.copy_(frames.mean(dim=0))
    model.sound.std.copy_(frames.std(dim=0).clamp_min(1e-3))
