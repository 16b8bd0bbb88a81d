"""The training loop: batches in, weights out, everything written down."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import ctc_loss
from torch.utils.data import DataLoader

from edgeseq.errors import UsageError
from edgeseq.manifest import Recording, find_data, read_manifest
from edgeseq.recipe import Recipe
from edgeseq.tokens import TokenTable
from edgeseq.training.acoustic_model import AcousticModel, EncoderState, StreamState, build_model
from edgeseq.training.augment import spec_augment
from edgeseq.training.batches import Batch, ClipReader, JoinedBatches, difficulty, pick_source
from edgeseq.training.checkpoint import Checkpoint, latest_checkpoint, load_checkpoint, save_checkpoint
from edgeseq.training.metrics import RunLog, StepReport, ValidReport
from edgeseq.training.valid import transcribe_clips, words_wrong

STATISTICS_BATCHES = 8
"""Batches at full difficulty from which the mean and deviation of log-mel are taken."""

Report = StepReport | ValidReport


@dataclass
class Training:
    """A training under way."""

    recipe: Recipe
    tokens: TokenTable
    model: AcousticModel
    optimizer: torch.optim.Optimizer
    carried: StreamState
    step: int
    """steps done"""


def learning_rate(step: int, lr: float, warmup_steps: int, steps: int) -> float:
    """Linear warm-up to `lr`, then half a cosine down to zero at `steps` (Loshchilov and Hutter 2017)."""
    if step < warmup_steps:
        return lr * (step + 1) / warmup_steps
    return lr * 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, steps - warmup_steps)))


def step_seed(seed: int, step: int) -> int:
    """Seed of what is drawn in one step (dropout, masks)."""
    return seed * 1_000_003 + step


def load_batches(recipe: Recipe) -> tuple[JoinedBatches, TokenTable]:
    """Read the manifests of a recipe; their characters become the tokens.

    Raises ManifestError or RecipeError when data is missing or broken.
    """
    manifests = [read_manifest(find_data(source.manifest)) for source in recipe.data.train]
    tokens = TokenTable.of_characters(r.text for manifest in manifests for r in manifest)
    seconds_per_token = recipe.data.min_rows_per_token * recipe.row_samples / recipe.frontend.sample_rate
    sources = [
        pick_source(source, manifest, tokens, seconds_per_token)
        for source, manifest in zip(recipe.data.train, manifests, strict=True)
    ]
    return JoinedBatches(sources, recipe), tokens


def train(recipe: Recipe, folder: Path, *, resume: bool, report: Callable[[Report], None], workers: int = 1) -> Training:
    """Train to the last step of `recipe`, writing checkpoints, metrics and pictures to `folder`.

    With `resume` the newest checkpoint in `folder` is gone on from, exactly as if training had not stopped (a recipe that was
    changed in what does not shape the weights, such as its number of steps, holds from there on). KeyboardInterrupt
    (Ctrl-C) saves a checkpoint before it goes up. `workers` processes make batches; 0 makes them in this one.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    checkpoints = folder / "checkpoints"
    found = latest_checkpoint(checkpoints)
    if found and not resume:
        raise UsageError(
            f"{folder} holds a training already ({found.name}).\n  Go on with it by --resume, or name another --out."
        )
    batches, tokens = load_batches(recipe)
    valid = {name: read_manifest(find_data(name)) for name in recipe.data.valid}
    training = _restore(recipe, tokens, load_checkpoint(found), device) if found else _begin(recipe, tokens, batches, device)
    log = RunLog(folder, training.step + 1)
    try:
        _run(training, batches, valid, checkpoints, _tee(log, report), workers)
    except KeyboardInterrupt:
        save_checkpoint(checkpoints, _snapshot(training))
        raise
    finally:
        log.close()
    return training


def _run(
    training: Training,
    batches: JoinedBatches,
    valid: dict[str, list[Recording]],
    checkpoints: Path,
    report: Callable[[Report], object],
    workers: int,
) -> None:
    settings = training.recipe.train
    for batch in _load(batches, range(training.step, settings.steps), workers):
        report(train_step(training, batch))
        last = training.step == settings.steps
        if training.step % settings.checkpoint_every == 0 or last:
            save_checkpoint(checkpoints, _snapshot(training))
        if valid and (training.step % settings.valid_every == 0 or last):
            report(_validate(training, valid, batches.reader))


def train_step(training: Training, batch: Batch) -> StepReport:
    """Advance the weights, and the streams that the batch's rows belong to, by one step."""
    began = time.monotonic()
    settings, step = training.recipe.train, training.step
    hardness = difficulty(step, settings.easy_steps, settings.ramp_steps)
    lr = learning_rate(step, settings.lr, settings.warmup_steps, settings.steps)
    for group in training.optimizer.param_groups:
        group["lr"] = lr
    torch.manual_seed(step_seed(settings.seed, step))
    loss, state = streamed_loss(training, batch, hardness)
    training.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(training.model.parameters(), settings.grad_clip)
    training.optimizer.step()
    training.carried, training.step = state.detach(), step + 1
    seconds = batch.audio.numel() / training.recipe.frontend.sample_rate
    return StepReport(step + 1, loss.item(), norm.item(), lr, hardness, seconds, time.monotonic() - began)


def streamed_loss(training: Training, batch: Batch, hardness: float) -> tuple[Tensor, StreamState]:
    """CTC loss per target token of a batch whose rows go on from the carried state; returns the state at their end."""
    model, recipe = training.model, training.recipe
    device = training.carried.samples.device
    state = training.carried.restart(batch.restart.to(device))
    frames, samples = model.frontend.step(batch.audio.to(device), state.samples)
    generator = torch.Generator().manual_seed(step_seed(recipe.train.seed, training.step))
    frames = spec_augment(frames, recipe.augment.spec_augment, hardness, generator)
    log_probs, encoder = model.encoder.step(frames, state.encoder)
    n_rows = torch.full_like(batch.target_lengths, log_probs.shape[1])
    losses = ctc_loss(
        log_probs.transpose(0, 1),  # CTC wants time first
        batch.targets.to(device),
        n_rows,
        batch.target_lengths,
        blank=training.tokens.blank_id,
        reduction="sum",
        zero_infinity=True,  # rows whose text is too long for their audio teach nothing
    )
    return losses / max(1, len(batch.targets)), StreamState(samples, encoder)


def _begin(recipe: Recipe, tokens: TokenTable, batches: JoinedBatches, device: torch.device) -> Training:
    torch.manual_seed(recipe.train.seed)
    model = build_model(recipe.frontend, recipe.network, len(tokens))
    model.frontend.mean, model.frontend.std = log_mel_statistics(model, batches)
    model.to(device)
    return Training(recipe, tokens, model, _make_optimizer(model, recipe), model.init_state(recipe.train.batch_size), 0)


@torch.inference_mode()
def log_mel_statistics(model: AcousticModel, batches: JoinedBatches) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of log-mel over a few batches at full difficulty, `[n_mels]` each."""
    frames = torch.cat(
        [model.frontend.log_mel(batches[len(batches) + i].audio).flatten(0, 1) for i in range(STATISTICS_BATCHES)]
    )
    return frames.mean(dim=0).clone(), frames.std(dim=0).clamp_min(1e-3).clone()


def _restore(recipe: Recipe, tokens: TokenTable, saved: Checkpoint, device: torch.device) -> Training:
    """Put a saved training together. What shapes weights and state must be as it was; all else may be changed on the way."""
    wanted = recipe.model_dump(mode="json")
    changed = [part for part in ("frontend", "network") if saved.recipe[part] != wanted[part]]
    changed += ["tokens"] if saved.tokens != tokens.symbols else []
    changed += ["train.batch_size"] if saved.recipe["train"]["batch_size"] != recipe.train.batch_size else []
    if changed:
        raise UsageError(
            f"The training to resume had another recipe (differs in: {', '.join(changed)}).\n"
            "  Resume with these as they were, or begin anew with another --out."
        )
    model = build_model(recipe.frontend, recipe.network, len(tokens)).to(device)
    model.load_state_dict(saved.model)
    optimizer = _make_optimizer(model, recipe)
    optimizer.load_state_dict(saved.optimizer)
    samples, frames, *hidden = (tensor.to(device) for tensor in saved.carried)
    return Training(
        recipe,
        tokens,
        model,
        optimizer,
        StreamState(samples, EncoderState(frames, tuple(hidden))),
        saved.step,
    )


def _snapshot(training: Training) -> Checkpoint:
    carried = training.carried
    return Checkpoint(
        step=training.step,
        recipe=training.recipe.model_dump(mode="json"),
        tokens=training.tokens.symbols,
        model=training.model.state_dict(),
        optimizer=training.optimizer.state_dict(),
        carried=(carried.samples, carried.encoder.frames, *carried.encoder.hidden),
    )


def _make_optimizer(model: AcousticModel, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW; biases do not decay."""
    weights = [p for p in model.parameters() if p.ndim > 1]
    biases = [p for p in model.parameters() if p.ndim == 1]
    groups: list[dict[str, Any]] = [{"params": weights}, {"params": biases, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.train.lr, weight_decay=recipe.train.weight_decay)


def _load(batches: JoinedBatches, steps: Sequence[int], workers: int) -> Iterator[Batch]:
    """Make the batches of `steps`, in other processes if there are `workers`; arrays are handed over, not shared tensors."""
    loader: DataLoader[Batch] = DataLoader(
        batches,
        batch_size=None,  # a batch is made whole
        sampler=steps,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        collate_fn=_as_arrays,
        worker_init_fn=_leave_signals_to_parent,
    )
    for arrays in loader:
        yield Batch(*(torch.from_numpy(array) for array in arrays))


def _as_arrays(batch: Any) -> tuple[Any, ...]:
    return tuple(getattr(batch, field.name).numpy() for field in fields(batch))


def _leave_signals_to_parent(_: int) -> None:
    """A signal to the whole group should stop the training, which then stops its workers; those end with it in any case."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)


def _validate(training: Training, valid: dict[str, list[Recording]], reader: ClipReader) -> ValidReport:
    rates = {}
    for name, recordings in valid.items():
        texts = transcribe_clips(training.model, recordings, reader, training.tokens, training.recipe.joining.tail_seconds)
        rates[name] = words_wrong([r.text for r in recordings], texts)
    return ValidReport(training.step, rates)


def _tee(log: RunLog, report: Callable[[Report], None]) -> Callable[[Report], None]:
    """Write a report down, then hand it on."""

    def write_and_report(what: Report) -> None:
        if isinstance(what, StepReport):
            log.add_step(what)
        else:
            log.add_valid(what)
        report(what)

    return write_and_report
