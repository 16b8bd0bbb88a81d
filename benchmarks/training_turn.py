"""One turn of `benchmarks.training`, in a process of its own: some steps of the trainer, or of a plain loop.

    python -m benchmarks.training_turn trainer|plain|profile WORKERS < RECIPE.json

Prints its figures as JSON.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from edgeseq.errors import EdgeseqError, UsageError
from edgeseq.training.batches import Batch
from edgeseq.training.metrics import Report, StepReport
from edgeseq.training.recipe import Recipe
from edgeseq.training.recipe_file import parse_recipe
from edgeseq.training.sequence_model import build_model
from edgeseq.training.tasks.task import Task
from edgeseq.training.trainer import Devices, load_batches, train

WARM_UP_STEPS = 12
"""Not counted: torch warms up, and batches that were made while the trainer started are used up."""
STOPPED = 10.0
"""A step that took this many times the usual was stopped from outside, and is left out."""
CELLS: Mapping[str, Callable[..., nn.RNNBase]] = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}

RECURRENT = ("rnn", "gru", "lstm", "cudnn::")
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm", "mkldnn", "gemm", "cutlass")
"""What names of operators and kernels of matrix products hold."""


@dataclass(frozen=True)
class Step:
    """One step, from the end of the one before to its own end."""

    seconds: float
    cpu_seconds: float
    """processor time of the process and of those that make its batches"""
    wait_seconds: float
    """for data"""
    audio_seconds: float
    """of sound trained on"""


@dataclass(frozen=True)
class Turn:
    """What was measured: sums over the counted steps."""

    steps: int
    seconds: float
    cpu_seconds: float
    wait_seconds: float
    audio_seconds: float


def add_up(steps: Sequence[Step]) -> Turn:
    """Sum up steps, leaving out those in which the process was stopped from outside.

    >>> add_up([Step(1.0, 1.0, 0.0, 2.0), Step(2.0, 2.0, 0.5, 4.0), Step(50.0, 1.0, 0.0, 2.0)])
    Turn(steps=2, seconds=3.0, cpu_seconds=3.0, wait_seconds=0.5, audio_seconds=6.0)
    """
    usual = median(step.seconds / step.audio_seconds for step in steps)
    kept = [step for step in steps if step.seconds / step.audio_seconds < STOPPED * usual]
    sums = (sum(getattr(step, one.name) for step in kept) for one in fields(Step))
    return Turn(len(kept), *sums)


def trainer_turn(recipe: Recipe, workers: int) -> Turn:
    """Let the trainer train, as `edgeseq train` does, and measure it by its own reports."""
    steps: list[Step] = []
    clock = StepClock()

    def note(report: Report) -> None:
        if isinstance(report, StepReport):
            steps.append(clock.step(report.wait_seconds, report.audio_seconds))

    _train(recipe, workers, note)
    return add_up(steps[WARM_UP_STEPS:])


def plain_turn(recipe: Recipe) -> Turn:
    """Train on features in memory, as anybody would write it."""
    batches = load_batches(recipe)
    task = batches.task
    torch.manual_seed(recipe.train.seed)
    frontend = build_model(recipe.input, recipe.network, task.n_outputs).sound
    heard = [batches[step] for step in range(recipe.train.steps)]
    with torch.no_grad():
        features = [stack(frontend.log_mel(batch.audio), recipe.network.subsampling) for batch in heard]
    model = PlainNetwork(recipe, task.n_outputs)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.train.lr, weight_decay=recipe.train.weight_decay)
    steps: list[Step] = []
    clock = StepClock()
    for inputs, batch in zip(features, heard, strict=True):
        plain_step(model, optimizer, inputs, batch, task, recipe.train.grad_clip)
        steps.append(clock.step(0.0, batch.audio.numel() / recipe.frontend.sample_rate))
    return add_up(steps[WARM_UP_STEPS:])


class StepClock:
    """Wall and processor time from step to step."""

    def __init__(self) -> None:
        """Begin the first step."""
        self._wall, self._cpu = time.perf_counter(), _cpu_seconds()

    def step(self, wait_seconds: float, audio_seconds: float) -> Step:
        """End a step and begin the next."""
        wall, cpu = time.perf_counter(), _cpu_seconds()
        step = Step(wall - self._wall, cpu - self._cpu, wait_seconds, audio_seconds)
        self._wall, self._cpu = wall, cpu
        return step


def plain_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, inputs: Tensor, batch: Batch, task: Task, grad_clip: float
) -> float:
    """Take one step of the plain loop; returns the loss, as a loop that shows it would."""
    optimizer.zero_grad(set_to_none=True)
    loss = task.loss(model(inputs), batch.targets) / int(batch.count)
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
    optimizer.step()
    return loss.item()


class PlainNetwork(nn.Module):
    """A recipe's network of torch's own parts: stacked frames in, log-probs out."""

    def __init__(self, recipe: Recipe, n_tokens: int) -> None:
        """Make it with fresh weights. Raises UsageError for layers that torch does not have."""
        super().__init__()
        sizes, self.n_tokens = recipe.network, n_tokens
        if sizes.layer_norm or sizes.projection_size is not None:
            raise UsageError("the plain loop has torch's own layers only: no network.layer_norm, no network.projection_size.")
        n_inputs = recipe.frontend.n_mels * sizes.subsampling
        self.rnn = CELLS[sizes.cell](n_inputs, sizes.hidden_size, sizes.num_layers, batch_first=True, dropout=sizes.dropout)
        self.output = nn.Linear(sizes.hidden_size, sizes.rows_per_step * n_tokens)

    def forward(self, inputs: Tensor) -> Tensor:
        """Turn `[batch, n_steps, n_in]` into log-probs `[batch, n_rows, n_tokens]`."""
        logits: Tensor = self.output(self.rnn(inputs)[0])
        return logits.reshape(len(logits), -1, self.n_tokens).log_softmax(dim=-1)


def stack(log_mel: Tensor, subsampling: int) -> Tensor:
    """Normalize, and put `subsampling` frames of `[batch, n_frames, n_mels]` into one step."""
    frames = (log_mel - log_mel.mean()) / log_mel.std()
    n_steps = frames.shape[1] // subsampling
    return frames[:, : n_steps * subsampling].reshape(len(frames), n_steps, -1)


def profile_turn(recipe: Recipe, workers: int) -> dict[str, Any]:
    """Say where the time of the trainer's steps goes, by torch's profiler: on a graphics processor, if there is one."""
    from torch.profiler import ProfilerActivity, profile

    device = "cuda" if torch.cuda.is_available() else "cpu"
    activity = ProfilerActivity.CUDA if device == "cuda" else ProfilerActivity.CPU
    profiler = profile(activities=[activity])
    began = ended = 0.0

    def mark(report: Report) -> None:
        nonlocal began, ended
        if isinstance(report, StepReport) and report.step == WARM_UP_STEPS:
            profiler.start()
            began = time.perf_counter()
        if isinstance(report, StepReport) and report.step == recipe.train.steps:
            if device == "cuda":
                torch.cuda.synchronize()
            ended = time.perf_counter()
            profiler.stop()

    _train(recipe, workers, mark, device)
    times: dict[str, float] = {}
    for row in profiler.key_averages():
        times[row.key] = (row.self_device_time_total if device == "cuda" else row.self_cpu_time_total) / 1e6
    return {"device": device, "seconds": ended - began, **shares(times, ended - began)}


def shares(times: Mapping[str, float], seconds: float) -> dict[str, Any]:
    """Sort seconds of operators and kernels, by name, into parts of all `seconds`.

    >>> shares({"aten::mm": 1.0, "cudnn::rnn_kernel": 2.0, "aten::add": 0.5}, 4.0)["products"]
    0.25
    """
    recurrent = sum(took for name, took in times.items() if _holds(name, RECURRENT))
    products = sum(took for name, took in times.items() if _holds(name, PRODUCTS) and not _holds(name, RECURRENT))
    largest = sorted(times.items(), key=lambda named: -named[1])[:15]
    return {
        "recurrent": recurrent / seconds,
        "products": products / seconds,
        "other": (sum(times.values()) - recurrent - products) / seconds,
        "largest": {name: took / seconds for name, took in largest},
    }


def _holds(name: str, parts: tuple[str, ...]) -> bool:
    return any(part in name.lower() for part in parts)


def _train(recipe: Recipe, workers: int, report: Callable[[Report], None], device: str = "cpu") -> None:
    with tempfile.TemporaryDirectory(prefix="edgeseq-bench-") as folder:
        train(recipe, Path(folder), resume=False, report=report, workers=workers, devices=Devices(device))


def _cpu_seconds() -> float:
    """Processor time so far of this process and its children that still run."""
    ticks = os.sysconf("SC_CLK_TCK")
    total = time.process_time()
    for child in multiprocessing.active_children():
        fields = Path(f"/proc/{child.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / ticks
    return total


def main(what: str, workers: str) -> None:
    """Take a turn and print it."""
    recipe = parse_recipe(json.load(sys.stdin), "the recipe of the turn")
    if what == "profile":
        print(json.dumps(profile_turn(recipe, int(workers))))
    else:
        turn = plain_turn(recipe) if what == "plain" else trainer_turn(recipe, int(workers))
        print(json.dumps(asdict(turn)))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except EdgeseqError as fault:
        sys.exit(str(fault))
