"""Optimization with all sound on the device: AdamW, averaged weights, held-out error rates, checkpoints."""

from __future__ import annotations

import fnmatch
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgeseq.errors import RecipeError
from edgeseq.manifest import Recording, find_data, read_manifest
from edgeseq.recipe import Recipe, SourceRecipe
from edgeseq.tokens import TokenTable
from edgeseq.training.acoustic_model import AcousticModel, EncoderState, build_model
from edgeseq.training.augmentation.sound_library import find_sounds
from edgeseq.training.averaging import average_in, share_of_new
from edgeseq.training.checkpoint import Checkpoint, save_checkpoint
from edgeseq.training.resident.rendering import Renderer
from edgeseq.training.resident.rows import Choice, PlannedBatch, Planner
from edgeseq.training.resident.scoring import HeldOut, error_rate
from edgeseq.training.resident.stack import Stack
from edgeseq.training.resident.store import Store, decode_all, fill_store, speeds_between

STATISTICS_BATCHES = 8
"""Augmented batches from which mean and deviation of each mel band are taken."""
REPORT_EVERY = 50

Report = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Prepared:
    """What a training needs besides the network."""

    recipe: Recipe
    tokens: TokenTable
    store: Store
    choice: Choice
    held_out: Sequence[HeldOut]
    noises: Sequence[NDArray[np.int16]]
    responses: Sequence[NDArray[np.float32]]


@dataclass(frozen=True)
class Clock:
    """How far a training has come: by steps, or by time where that is bounded."""

    steps: int
    seconds: float | None
    began: float

    def progress(self, step: int) -> float:
        """From 0 at the start to 1 at the end."""
        by_time = 0.0 if self.seconds is None else (time.perf_counter() - self.began) / self.seconds
        return min(1.0, max(step / self.steps, by_time))


def prepare(recipe: Recipe, tokens: TokenTable, device: torch.device, threads: int) -> Prepared:
    """Read manifests and decode all sound. Raises ManifestError and RecipeError."""
    rate = recipe.frontend.sample_rate
    seconds_per_token = recipe.data.min_rows_per_token * recipe.row_samples / rate
    parts = [(source, _usable(source, tokens, seconds_per_token)) for source in recipe.data.train]
    recordings = [recording for _, part in parts for recording in part]
    weights = np.concatenate([np.full(len(part), source.weight / len(part)) for source, part in parts])
    easy = np.concatenate([np.full(len(part), source.easy) for source, part in parts])
    speeds = speeds_between(*recipe.augment.speed)
    store = fill_store(decode_all(recordings, rate, threads), speeds, rate, device)
    targets = [np.array(tokens.encode(recording.text), dtype=np.int32) for recording in recordings]
    choice = Choice(store.lengths, targets, weights / weights.sum(), easy, speeds.index(1))
    held_out = [_held_out(name, tokens, rate, threads) for name in recipe.data.valid]
    sounds, rooms = recipe.augment.recorded_noise.sounds, recipe.augment.room.responses
    noises = [] if sounds is None else decode_all(find_sounds(sounds), rate, threads)
    responses = [] if rooms is None else [r.astype(np.float32) for r in decode_all(find_sounds(rooms), rate, threads)]
    return Prepared(recipe, tokens, store, choice, held_out, noises, responses)


def _usable(source: SourceRecipe, tokens: TokenTable, seconds_per_token: float) -> list[Recording]:
    """List the recordings of a source, without speakers left out and clips said too fast for CTC."""
    found = [
        recording
        for recording in read_manifest(find_data(source.manifest))
        if not any(fnmatch.fnmatch(recording.speaker or "", pattern) for pattern in source.exclude)
        and recording.duration >= seconds_per_token * len(tokens.encode(recording.text))
    ]
    if not found:
        raise RecipeError(f"{source.manifest}: no recording is left. Look at 'exclude' and data.min_rows_per_token.")
    return found


def _held_out(name: str, tokens: TokenTable, rate: int, threads: int) -> HeldOut:
    recordings = read_manifest(find_data(name))
    return HeldOut(name, decode_all(recordings, rate, threads), [tokens.encode(r.text) for r in recordings])


def train(
    prepared: Prepared,
    folder: Path,
    report: Report,
    *,
    seconds: float | None = None,
    consistency: float = 0.0,
    begin: Mapping[str, Tensor] | None = None,
    recorded: bool = False,
    workers: int = 4,
) -> Path:
    """Train until `train.steps`, or for so many `seconds`; returns the last checkpoint.

    `begin` are weights to go on from, with their statistics; `recorded` layers are replayed as CUDA graphs. `consistency` weighs the agreement of two masked views of each row (CR-CTC; Yao et al. 2024).
    """
    recipe, device = prepared.recipe, prepared.store.samples.device
    torch.manual_seed(recipe.train.seed)
    model = build_model(recipe.frontend, recipe.network, len(prepared.tokens)).to(device)
    if begin is not None:
        model.load_state_dict(begin)
    shadow = build_model(recipe.frontend, recipe.network, len(prepared.tokens)).to(device).eval()
    renderer = Renderer(prepared.store, recipe.augment, prepared.noises, prepared.responses, recipe.train.seed)
    planner = Planner(
        prepared.choice, recipe.joining, recipe.train, recipe.frontend.sample_rate, recipe.step_samples
    )
    if begin is None:
        _set_statistics(model, renderer, planner)
    stack = Stack(model.encoder, recorded=recorded)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.train.lr, weight_decay=recipe.train.weight_decay, fused=device.type == "cuda"
    )
    clock = Clock(recipe.train.steps, seconds, time.perf_counter())
    average: dict[str, Tensor] | None = None
    state: EncoderState | None = None
    losses, heard, step = [], 0.0, 0
    for planned in planner.loader(workers):
        batch = planned.pin_memory() if device.type == "cuda" else planned
        step = batch.step
        for group in optimizer.param_groups:
            group["lr"] = _learning_rate(recipe, step, clock.progress(step))
        loss, state = _step(model, stack, renderer, batch, state, prepared.tokens.blank_id, consistency)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = _clip(model, recipe.train.grad_clip)
        optimizer.step()
        average = average_in(average, model.state_dict(), share_of_new(recipe.train.averaging, step, recipe.train.steps))
        losses.append(loss.detach())
        heard += batch.n_samples * len(batch.target_lengths) / recipe.frontend.sample_rate
        if step % REPORT_EVERY == 0:
            report(
                {
                    "step": step,
                    "loss": round(float(torch.stack(losses).mean()), 4),
                    "norm": round(float(norm), 3),
                    "hours": round(heard / 3600, 1),
                    "seconds": round(time.perf_counter() - clock.began, 1),
                    "difficulty": round(batch.difficulty, 2),
                }
            )
            losses = []
        ended = clock.progress(step) >= 1
        if step % recipe.train.valid_every == 0 or ended:
            report({"step": step, "token_errors": _measure(shadow, average, prepared)})
        if step % recipe.train.checkpoint_every == 0 or ended:
            _save(prepared, folder, step, model, average)
        if ended:
            break
    return _save(prepared, folder, step, model, average)


def _clip(model: AcousticModel, most: float) -> Tensor:
    """Bound the gradient's norm; one that is no number becomes zero. Nothing here waits for the device."""
    norm = nn.utils.clip_grad_norm_(model.parameters(), most)
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad.nan_to_num_(0.0, 0.0, 0.0)
    return norm


def _step(
    model: AcousticModel,
    stack: Stack,
    renderer: Renderer,
    batch: PlannedBatch,
    before: EncoderState | None,
    blank_id: int,
    consistency: float,
) -> tuple[Tensor, EncoderState]:
    """Compute the loss of one batch, per target token, and the state behind it."""
    n_rows = len(batch.target_lengths)
    with torch.no_grad():
        sound = renderer.samples(batch)
        frames, _ = model.frontend.step(sound, model.frontend.init_state(n_rows))
        views = 2 if consistency > 0 else 1
        frames = torch.cat([renderer.mask(frames, batch.difficulty) for _ in range(views)])
    state = _carried(model, before, batch.restart.to(sound.device, non_blocking=True), views)
    log_probs, state = stack.step(frames, state)
    rows = torch.full((n_rows,), log_probs.shape[1])  # on the processor, like the other lengths: ctc_loss reads them there
    targets = batch.targets.to(sound.device, non_blocking=True)
    losses = [
        nn.functional.ctc_loss(view.transpose(0, 1), targets, rows, batch.target_lengths, blank_id, "sum", zero_infinity=True)
        for view in log_probs.chunk(views)
    ]
    loss = torch.stack(losses).mean()
    if consistency > 0:
        one, other = log_probs.chunk(2)
        loss = loss + consistency * 0.5 * (_divergence(one, other) + _divergence(other, one))
    return loss / max(1, len(batch.targets)), state.detach()


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """Kullback-Leibler divergence from a teacher that is not moved, summed over rows."""
    teacher = teacher.detach()
    return (teacher.exp() * (teacher - student)).sum()


def _carried(model: AcousticModel, before: EncoderState | None, restart: Tensor, views: int) -> EncoderState:
    """Go on from the state of the batch before, but for rows that begin anew."""
    fresh = model.encoder.init_state(len(restart) * views)
    if before is None or before.hidden[0].shape != fresh.hidden[0].shape:
        return fresh
    kept = ~restart.repeat(views)[None, :, None]
    return EncoderState(fresh.frames, tuple(hidden * kept for hidden in before.hidden))


def _learning_rate(recipe: Recipe, step: int, progress: float) -> float:
    """Linear warm-up, then cosine decay to zero."""
    return recipe.train.lr * min(1.0, step / max(1, recipe.train.warmup_steps)) * 0.5 * (1 + math.cos(math.pi * progress))


@torch.no_grad()
def _set_statistics(model: AcousticModel, renderer: Renderer, planner: Planner) -> None:
    """Take mean and deviation of each mel band from augmented batches."""
    full = planner.train.easy_steps + planner.train.ramp_steps + 1
    batches = [planner.plan(full + number) for number in range(STATISTICS_BATCHES)]
    bands = [model.frontend.log_mel(renderer.samples(batch)).flatten(0, 1) for batch in batches]
    frames = torch.cat(bands)
    model.frontend.mean.copy_(frames.mean(dim=0))
    model.frontend.std.copy_(frames.std(dim=0).clamp_min(1e-3))


def _measure(shadow: AcousticModel, average: Mapping[str, Tensor], prepared: Prepared) -> dict[str, float]:
    """Measure averaged weights on each held-out set, in percent of the tokens but the word start."""
    shadow.load_state_dict(average)
    tokens, rate = prepared.tokens, prepared.recipe.frontend.sample_rate
    return {
        held_out.name: round(error_rate(shadow, held_out, tokens.blank_id, [tokens.word_start_id], rate), 2)
        for held_out in prepared.held_out
    }


def _save(
    prepared: Prepared, folder: Path, step: int, model: AcousticModel, average: Mapping[str, Tensor] | None
) -> Path:
    """Write a checkpoint that `edgeseq export` reads."""
    weights = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}
    averaged = None if average is None else {name: tensor.cpu() for name, tensor in average.items()}
    (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
    checkpoint = Checkpoint(
        step,
        prepared.recipe.model_dump(mode="json"),
        prepared.tokens.symbols,
        weights,
        {},
        (),
        averaged,
        prepared.tokens.details,
    )
    return save_checkpoint(folder / "checkpoints", checkpoint)


def log_to(folder: Path) -> Report:
    """Write reports to `metrics.jsonl` in a run's folder."""
    folder.mkdir(parents=True, exist_ok=True)

    def report(values: Mapping[str, Any]) -> None:
        with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(values) + "\n")

    return report
