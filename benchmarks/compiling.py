"""What `torch.compile` does to the time of training steps: parts of the trainer compiled, against the unchanged trainer.

    python -m benchmarks.compiling --recipe recipes/ctc.yaml
    python -m benchmarks.compiling --shape gru:4x512

Each variant is a training of its own, in this process, and takes the same steps on the same batches (making them is not timed).
In each step the variants take turns, in random order. Ratios are paired by step; those by processor time are disturbed least.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Annotated

import torch
import typer

from benchmarks.training import bench_recipe, with_steps
from edgeseq.bench.results import align
from edgeseq.bench.timing import Progress, Spread
from edgeseq.cli.faults import run
from edgeseq.cli.progress import progress
from edgeseq.training import processes
from edgeseq.training.metrics import StepReport
from edgeseq.training.recipe import Recipe
from edgeseq.training.recipe_file import parse_recipe
from edgeseq.training.train_state import Training, begin
from edgeseq.training.trainer import load_batches, train_step

EAGER = "as it is"
WARM_UP_STEPS = 12
"""In these everything is compiled, for lengths of rows in general too."""


def compile_frontend(training: Training) -> None:
    """Compile sound to log-mel."""
    training.model.sound.step = torch.compile(training.model.sound.step, dynamic=True)  # type: ignore[method-assign]


def compile_network(training: Training) -> None:
    """Compile frames to log-probs; torch's compiler leaves recurrent layers as they are."""
    training.model.trunk.step = torch.compile(training.model.trunk.step, dynamic=True)  # type: ignore[method-assign]


def compile_optimizer(training: Training) -> None:
    """Compile AdamW's step; the learning rate must be a tensor, or each new one would be compiled for."""
    compiled = torch.compile(training.optimizer.step)

    def step() -> None:
        for group in training.optimizer.param_groups:
            group["lr"] = torch.tensor(group["lr"])
        compiled()

    training.optimizer.step = step  # type: ignore[method-assign, assignment]


COMPETITORS: Mapping[str, Callable[[Training], None]] = {
    EAGER: lambda _: None,
    "frontend": compile_frontend,
    "network": compile_network,
    "optimizer": compile_optimizer,
}
"""What is compiled."""


@dataclass
class StepTimes:
    """Times of a competitor's steps."""

    wall: list[float] = field(default_factory=list)
    """seconds"""
    cpu: list[float] = field(default_factory=list)
    """seconds of processor time"""
    losses: list[float] = field(default_factory=list)


def measure(
    recipe: Recipe, names: list[str], steps: int, on_progress: Progress = lambda done, total: None
) -> dict[str, StepTimes]:
    """Let the competitors `names` train for `steps` after the first, which are listed too."""
    batches = load_batches(recipe)
    fabric = processes.start(accelerator="cpu", devices=1)
    trainings = {name: begin(recipe, batches, fabric, range(recipe.train.batch_size)) for name in names}
    for name, training in trainings.items():
        COMPETITORS[name](training)
    taken = {name: StepTimes() for name in names}
    drawn = random.Random(0)
    for step in range(WARM_UP_STEPS + steps):
        batch = batches[step]
        for name in drawn.sample(names, len(names)):
            wall, cpu = time.perf_counter(), time.process_time()
            reports, _ = train_step(trainings[name], batch)
            taken[name].wall.append(time.perf_counter() - wall)
            taken[name].cpu.append(time.process_time() - cpu)
            taken[name].losses += [report.loss for report in reports if isinstance(report, StepReport)]
        on_progress(step + 1, WARM_UP_STEPS + steps)
    return taken


def to_table(taken: Mapping[str, StepTimes]) -> str:
    """Lay the times out for people; a time below 1 is shorter than that of the trainer as it is."""
    eager = taken[EAGER]
    head = ("compiled", "ms/step", "time/as it is", "quartiles", "by cpu time", "s to compile", "last loss")
    cells = []
    for name, one in taken.items():
        ratio = Spread.of(_ratios(one.wall, eager.wall))
        cells.append(
            (
                name,
                f"{1000 * median(one.wall[WARM_UP_STEPS:]):.1f}",
                f"{ratio.median:.3f}",
                f"{ratio.low:.3f}-{ratio.high:.3f}",
                f"{median(_ratios(one.cpu, eager.cpu)):.3f}",
                f"{sum(one.wall[:WARM_UP_STEPS]) - sum(eager.wall[:WARM_UP_STEPS]):.1f}",
                f"{one.losses[-1]:.4f}",
            )
        )
    return "\n".join(align([head, *cells]))


def _ratios(of: list[float], to: list[float]) -> list[float]:
    return [a / b for a, b in zip(of[WARM_UP_STEPS:], to[WARM_UP_STEPS:], strict=True)]


def main(
    recipe: Annotated[Path | None, typer.Option(help="Network and augmentation of this recipe.")] = None,
    shape: Annotated[
        str | None, typer.Option(metavar="CELL:LAYERSxSIZE", help="A network of this size.  [default: gru:4x512]")
    ] = None,
    steps: Annotated[int, typer.Option(min=2, help="Counted.")] = 40,
) -> None:
    """Measure training steps with parts under torch.compile beside the trainer as it is."""
    with tempfile.TemporaryDirectory(prefix="edgeseq-bench-") as folder, progress("Training in turns", unit="steps") as show:
        values = bench_recipe(recipe, shape or (None if recipe else "gru:4x512"), None, Path(folder))
        taken = measure(parse_recipe(with_steps(values, steps, 1), "the recipe of the bench"), list(COMPETITORS), steps, show)
    typer.echo(to_table(taken))


if __name__ == "__main__":
    run(main)
