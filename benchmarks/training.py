"""Training speed: the real trainer, which augments on the fly, against a plain torch loop over features computed beforehand.

    python -m benchmarks.training --shape gru:4x512
    python -m benchmarks.training --recipe recipes/ctc.yaml --uses 1,4
    python -m benchmarks.training --shape gru:4x512 --profile --steps 5
    python -m benchmarks.training --recipe RECIPE.yaml --before CHECKOUT --cores 1 --workers 0

Both train the same network on the same batches at full difficulty, on the same cores, in turns, each turn in a process of its
own. The plain loop has no streams, no augmentation and no log: features in memory, torch's layers, CTC, AdamW, gradient
clipping. With `--before`, the trainer of another checkout takes its place.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeseq.bench.machine import machine
from edgeseq.bench.processes import reason
from edgeseq.bench.results import align
from edgeseq.bench.shape import parse_numbers, parse_shape
from edgeseq.bench.timing import Progress, Spread
from edgeseq.cli.faults import run
from edgeseq.cli.progress import progress
from edgeseq.errors import EdgeseqError, UsageError

if TYPE_CHECKING:
    from benchmarks.training_turn import Turn

PLAIN, BEFORE = "plain loop", "before"
VOICES, WORDS = 40, ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
WARM_UP_STEPS = 12
"""as in training_turn.py, which needs torch"""
REUSED_STEPS = 64
"""Augmented sound is reused in groups of this many steps; a measurement takes whole rounds of them."""
TURN_SECONDS = 3600.0


@dataclass(frozen=True)
class Row:
    """One competitor over all rounds."""

    name: str
    step_ms: Spread
    audio_per_second: Spread
    """seconds of sound trained on in a second"""
    cpu_ms: float
    """processor time a step, median"""
    waiting: float
    """share of the time that was waited for data, median"""
    ratio: Spread
    """speed against that of the first competitor, paired by round"""
    cpu_ratio: float
    """the same by processor time, which what else runs on the machine disturbs less; median"""


def write_corpus(folder: Path, sample_rate: int) -> Path:
    """Write clips of noise as long as spoken digits, and their manifest."""
    import numpy as np
    import soundfile

    rng = np.random.default_rng(0)
    lines = []
    for voice in range(VOICES):
        for word in WORDS:
            n_samples = int(rng.uniform(0.3, 0.7) * sample_rate)
            name = f"{word}_{voice}.wav"
            soundfile.write(folder / name, 0.1 * rng.standard_normal(n_samples) * np.hanning(n_samples), sample_rate)
            line = {"audio_filepath": name, "duration": n_samples / sample_rate, "text": word, "speaker": f"voice{voice}"}
            lines.append(json.dumps(line) + "\n")
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(lines), encoding="utf-8")
    return manifest


def bench_recipe(base: Path | None, shape: str | None, manifest: Path | None, folder: Path) -> dict[str, Any]:
    """Give the values of a recipe that trains at full difficulty on one manifest (None: a made one), without validation."""
    from edgeseq.training.recipe_file import load_recipe, parse_recipe

    drawn = {
        "name": "bench",
        "language": "zxx",
        "license": "CC0-1.0",
        "data_statement": "noise",
        "data": {"train": [{"manifest": "", "easy": True}]},
    }
    recipe = load_recipe(base) if base else parse_recipe(drawn, "the recipe of the bench")
    values = recipe.model_dump(mode="json", exclude_unset=True)  # defaults are those of the version that takes the turn
    if "input" in values:
        values["frontend"] = values.pop("input")  # its name in every version
    if shape is not None:
        values["network"] = {**values.get("network", {}), **asdict(parse_shape(shape))}
    values.pop("finetune", None)  # weights make no difference to speed
    if manifest is None:
        values["tokens"] = {"kind": "characters"}  # a lexicon may lack the words of the made corpus
    used = manifest or write_corpus(folder, recipe.frontend.sample_rate)
    values["data"] |= {"train": [{"manifest": str(used.resolve()), "easy": True}], "valid": []}
    values["train"] = {**values.get("train", {}), "easy_steps": 0, "ramp_steps": 0}
    return values


def with_steps(values: Mapping[str, Any], steps: int, uses: int) -> dict[str, Any]:
    """Let a recipe count `steps` steps (or, where sound is reused, as many as it is reused for), and save nothing between."""
    counted = steps if uses == 1 else REUSED_STEPS * uses
    total = counted + WARM_UP_STEPS
    train = {**values["train"], "steps": total, "checkpoint_every": total + 1, "valid_every": total + 1}
    return {**values, "train": train, "augment": {**values.get("augment", {}), "uses": uses}}


def take_turn(
    what: str, values: Mapping[str, Any], cores: Sequence[int], workers: int, checkout: Path | None = None
) -> dict[str, Any]:
    """Let a process of this checkout, or another, take a turn on some processor cores; returns what it printed.

    Raises EdgeseqError if it fails.
    """
    root = (checkout or Path(__file__).parents[1]).resolve()
    module = "benchmarks.training_turn" if (root / "benchmarks").is_dir() else "edgeseq.bench.training_turn"  # its place once
    command = [sys.executable, "-m", module, what, str(workers)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(len(cores)), "PYTHONPATH": str(root)}
    done = subprocess.run(
        command,
        input=json.dumps(values),
        capture_output=True,
        text=True,
        timeout=TURN_SECONDS,
        env=environment,
        cwd=root,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    )
    if done.returncode:
        raise EdgeseqError(f"the {what}'s turn {reason(done.returncode, done.stderr)}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def measure(
    values: Mapping[str, Any],
    uses: Sequence[int],
    *,
    cores: Sequence[int],
    workers: int = 1,
    steps: int = 40,
    rounds: int = 5,
    before: Path | None = None,
    on_progress: Progress = lambda done, total: None,
) -> list[Row]:
    """Take turns, in a drawn order each round: the plain loop, and the trainer for each of `uses` of augmented sound.

    The trainer of the checkout `before` takes the plain loop's place, if one is named.
    """
    from benchmarks.training_turn import Turn

    first = PLAIN if before is None else BEFORE
    trainers = {f"trainer, sound used {count} x" if count > 1 else "trainer": count for count in uses}
    drawn = random.Random(0)
    taken: dict[str, list[Turn]] = {name: [] for name in (first, *trainers)}
    for done in range(rounds):
        for place, name in enumerate(drawn.sample(list(taken), len(taken))):
            on_progress(done * len(taken) + place, rounds * len(taken))
            what = "plain" if name == PLAIN else "trainer"
            checkout = before if name == BEFORE else None
            figures = take_turn(what, with_steps(values, steps, trainers.get(name, uses[0])), cores, workers, checkout)
            taken[name].append(Turn(**figures))
    return [make_row(name, turns, taken[first]) for name, turns in taken.items()]


def make_row(name: str, turns: Sequence[Turn], first: Sequence[Turn]) -> Row:
    """Describe the turns of one competitor beside those of the first in the same rounds."""
    speeds = [turn.audio_seconds / turn.seconds for turn in turns]
    cpu_speeds = [turn.audio_seconds / turn.cpu_seconds for turn in turns]
    return Row(
        name,
        Spread.of([1000 * turn.seconds / turn.steps for turn in turns]),
        Spread.of(speeds),
        median(1000 * turn.cpu_seconds / turn.steps for turn in turns),
        median(turn.wait_seconds / turn.seconds for turn in turns),
        Spread.of([speed * one.seconds / one.audio_seconds for speed, one in zip(speeds, first, strict=True)]),
        median(speed * one.cpu_seconds / one.audio_seconds for speed, one in zip(cpu_speeds, first, strict=True)),
    )


def to_table(rows: Sequence[Row]) -> str:
    """Lay rows out for people."""
    head = ("", "ms/step", "quartiles", "x real time", "cpu ms/step", "waiting %", "speed/first", "quartiles", "by cpu time")
    cells = [
        (
            row.name,
            f"{row.step_ms.median:.1f}",
            f"{row.step_ms.low:.1f}-{row.step_ms.high:.1f}",
            f"{row.audio_per_second.median:.0f}",
            f"{row.cpu_ms:.1f}",
            f"{100 * row.waiting:.1f}",
            f"{row.ratio.median:.2f}",
            f"{row.ratio.low:.2f}-{row.ratio.high:.2f}",
            f"{row.cpu_ratio:.2f}",
        )
        for row in rows
    ]
    return "\n".join(align([head, *cells]))


def profile_table(figures: Mapping[str, Any]) -> str:
    """Lay a profile out for people."""
    shares = {"recurrent kernels": figures["recurrent"], "matrix products": figures["products"], "all else": figures["other"]}
    lines = [f"share of {figures['seconds']:.1f} s of training on {figures['device']}"]
    lines += align([(name, f"{100 * share:.1f} %") for name, share in shares.items()])
    return "\n".join([*lines, "", *align([(name[:60], f"{100 * one:.1f} %") for name, one in figures["largest"].items()])])


def main(
    recipe: Annotated[Path | None, typer.Option(help="Network and augmentation of this recipe.")] = None,
    shape: Annotated[
        str | None, typer.Option(metavar="CELL:LAYERSxSIZE", help="A network of this size.  [default: gru:4x512]")
    ] = None,
    manifest: Annotated[Path | None, typer.Option(help="Train on this.  [default: noise as long as spoken digits]")] = None,
    uses: Annotated[str, typer.Option(metavar="1,4", help="Measure with `augment.uses` of these.")] = "1",
    cores: Annotated[int, typer.Option(min=1, help="Processor cores that everybody gets.")] = 2,
    workers: Annotated[int, typer.Option(min=0, help="Processes that make batches.")] = 1,
    steps: Annotated[int, typer.Option(min=2, help="Counted in a turn.")] = 40,
    rounds: Annotated[int, typer.Option(min=1, help="Turns that everybody gets.")] = 5,
    before: Annotated[
        Path | None, typer.Option(help="A checkout of another version, whose trainer takes the plain loop's place.")
    ] = None,
    profile: Annotated[
        bool, typer.Option("--profile", help="Say where the trainer's time goes instead, on a GPU if there is one.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object.")] = False,
) -> None:
    """Measure training speed against a plain torch loop over features made beforehand."""
    chosen = sorted(os.sched_getaffinity(0))[:cores]
    if len(chosen) < cores:
        raise UsageError(f"--cores {cores}: there are {len(chosen)}.")
    with tempfile.TemporaryDirectory(prefix="edgeseq-bench-") as folder:
        named = shape or (None if recipe else "gru:4x512")
        values = bench_recipe(recipe, named, manifest, Path(folder))
        if profile:
            figures = take_turn("profile", with_steps(values, steps, 1), chosen, workers)
            typer.echo(json.dumps(figures) if as_json else profile_table(figures))
            return
        with progress("Training in turns", unit="turns") as show:
            counts = parse_numbers("--uses", uses, 64)
            rows = measure(
                values,
                counts,
                cores=chosen,
                workers=workers,
                steps=steps,
                rounds=rounds,
                before=before,
                on_progress=show,
            )
    typer.echo(json.dumps({"rows": [asdict(row) for row in rows], "machine": machine()}) if as_json else to_table(rows))


if __name__ == "__main__":
    run(main)
