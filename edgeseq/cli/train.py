"""`edgeseq train`: a recipe to weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from shlex import join, quote
from typing import TYPE_CHECKING, Annotated

import typer

from edgeseq.cli.printing import say
from edgeseq.cli.progress import busy, progress
from edgeseq.cli.report import REPORT, write_report
from edgeseq.cli.stopping import stop_on_signals
from edgeseq.cli.train_progress import TrainProgress

if TYPE_CHECKING:
    from edgeseq.training.recipe import Recipe

EXIT_INTERRUPTED = 130
USUAL: dict[str, object] = {"workers": 1, "accelerator": "auto", "devices": None, "nodes": 1}
"""Values of options that a command need not name."""


def train(
    recipe: Annotated[Path, typer.Argument(help="The recipe, a YAML file.", metavar="RECIPE")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="Changes to the recipe, such as train.steps=500.", metavar="[KEY=VALUE]..."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run.  [default: runs/NAME]")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue exactly from the newest checkpoint.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Check the recipe and its data, then end.")] = False,
    workers: Annotated[int, typer.Option(min=0, help="Processes that make batches, for each process that trains.")] = 1,
    accelerator: Annotated[str, typer.Option(help="Kind of device: auto, cpu, cuda, mps.")] = "auto",
    devices: Annotated[
        int | None,
        typer.Option(min=1, help="Devices per machine, with one process for each.  [default: all GPUs, or one process]"),
    ] = None,
    nodes: Annotated[int, typer.Option(min=1, help="Machines (under SLURM or torchrun).")] = 1,
    resident: Annotated[
        bool,
        typer.Option("--resident", help="Keep all sound in one GPU's memory and augment it there; cannot be resumed."),
    ] = False,
    minutes: Annotated[
        float | None, typer.Option(min=0.01, help="With --resident: end after this time, with the learning rate at zero.")
    ] = None,
) -> None:
    """Train a streaming model as a recipe says.

    Writes checkpoints, metrics.jsonl, TensorBoard files, curves.png and the resolved recipe to runs/NAME. At the end it
    adds the exported model, its error rates in torch and in onnxruntime (proof.json) and a report (report.html).
    Ctrl-C saves a checkpoint and ends with exit code 130. The number of processes and machines changes only the time:
    torchrun --nproc-per-node 8 -m edgeseq train RECIPE, or --devices 8.

    Example: edgeseq train recipes/ctc.yaml train.steps=500
    """
    from edgeseq.errors import MissingExtraError, UsageError

    try:
        with busy("loading torch"):
            from edgeseq.training import trainer
            from edgeseq.training.finetuning import load_given
            from edgeseq.training.licenses import count_licenses
            from edgeseq.training.loggers import refuse_missing
            from edgeseq.training.recipe_file import load_recipe
            from edgeseq.training.valid import load_validation
    except ModuleNotFoundError as fault:
        raise MissingExtraError(f"Training needs {fault.name}, which is not installed: pip install 'edgeseq[train]'") from fault
    resolved = load_recipe(recipe, overrides or [])
    if check:
        refuse_missing(resolved.train.loggers)
        batches = trainer.load_batches(resolved)
        valid = load_validation(resolved)
        if resolved.finetune is not None:
            load_given(resolved, batches.task, resolved.finetune)
        n_recordings = sum(len(source.recordings) for source in batches.sources)
        say(f"{recipe}: fits together; {n_recordings:,} recordings, {batches.task.describe()}")
        for source, drawn in zip(resolved.data.train, batches.sources, strict=True):
            licenses = count_licenses(source, drawn.recordings).most_common()
            say(f"{source.manifest}: " + ", ".join(f"{count:,} recordings under {name}" for name, count in licenses))
        validator = batches.task.validator(resolved, valid, batches.reader)
        for name in valid:
            say(f"{name}: {validator.describe(name)}")
        return
    folder = out or Path("runs") / resolved.name
    if minutes is not None and not resident:
        raise UsageError("--minutes is about --resident; other trainings end by train.steps.")
    if resident and (resume or devices is not None or nodes > 1):
        raise UsageError("--resident trains on one device and cannot be resumed; leave out --resume, --devices and --nodes.")
    with TrainProgress(resolved) as shown, stop_on_signals() as stop:
        try:
            if resident:
                _train_resident(resolved, folder, accelerator, minutes, shown, lambda: stop.requested)
                is_first = True
            else:
                trained = trainer.train(
                    resolved,
                    folder,
                    resume=resume,
                    report=shown.show,
                    workers=workers,
                    devices=trainer.Devices(accelerator, devices, nodes),
                    stop=lambda: stop.requested,
                )
                is_first = trained.fabric.global_rank == 0
        except KeyboardInterrupt:
            again = _again(recipe, overrides or [], out, workers=workers, accelerator=accelerator, devices=devices, nodes=nodes)
            hint = f"Export it with: edgeseq export {quote(str(folder))}" if resident else f"Continue with: {again}"
            say(f"\nStopped; a checkpoint is saved. {hint}", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None
    if is_first and not _finish(folder, resolved.name):
        raise typer.Exit(1)


def _again(recipe: Path, overrides: Sequence[str], out: Path | None, **options: object) -> str:
    """Write the command that continues a training, as it was given: without its overrides or --out it is another one.

    >>> _again(Path("my recipe.yaml"), ["train.steps=500"], Path("runs/b"), workers=2, nodes=1)
    "edgeseq train 'my recipe.yaml' train.steps=500 --out runs/b --workers 2 --resume"
    """
    words = ["edgeseq", "train", str(recipe), *overrides, *([] if out is None else ["--out", str(out)])]
    for name, value in options.items():
        if value != USUAL[name]:
            words += [f"--{name}", str(value)]
    return join([*words, "--resume"])


def _train_resident(
    recipe: Recipe, folder: Path, accelerator: str, minutes: float | None, shown: TrainProgress, stop: Callable[[], bool]
) -> None:
    """Train with all sound on one device: a GPU, if there is one and nothing else is asked for."""
    import os

    import torch

    from edgeseq.errors import UsageError
    from edgeseq.training.resident.loop import train as train_on_device

    there = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    kind = there[-1] if accelerator == "auto" else accelerator
    if kind not in there:
        raise UsageError(f"--accelerator {kind}: --resident trains here on {' or '.join(there)}.")
    n_threads = os.cpu_count() or 1
    train_on_device(
        recipe,
        folder,
        device=torch.device(kind),
        report=shown.show,
        minutes=minutes,
        threads=n_threads,
        workers=min(4, n_threads - 1),
        stop=stop,
    )


def _finish(folder: Path, name: str) -> bool:
    """Export, prove, report; it also reports what is not fit to be released; the weights are safe in any case.

    Returns whether the proof held, where there is one.
    """
    from edgeseq.errors import ExportError
    from edgeseq.export.finishing import EXPORTS, finish
    from edgeseq.export.proof import NotProvenError

    refused = False
    try:
        with progress("Exporting; hearing the validation set in all ways", unit="clips") as show:
            exported = finish(folder, lambda way, done, total: show(done, total))
    except ExportError as fault:
        refused = isinstance(fault, NotProvenError)
        say(f"Trained, not exported: {fault}", err=True)
    else:
        say(f"not proven: {exported.unproven}" if exported.proof is None else exported.proof.to_text(), err=True)
        say(f"Trained, and exported to {folder / EXPORTS}. Next: edgeseq export {folder} --out models/{name}", err=True)
    say(f"Report: {write_report(folder, folder / REPORT)}", err=True)
    return not refused
