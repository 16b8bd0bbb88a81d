"""The command line: one module a command, which reads arguments, calls the library once and shows the result.

Command modules are all imported for `edgeseq --help`, so whatever is slow to import (numpy, onnxruntime,
torch, pydantic) waits inside the commands.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from edgeseq.cli import (
    augment,
    bench,
    data,
    devices,
    eval,
    export,
    lexicon,
    listen,
    lm,
    models,
    phrases,
    prove,
    report,
    serve,
    train,
    transcribe,
)
from edgeseq.errors import EdgeseqError


class Commands(TyperGroup):
    """Commands whose expected faults end in one message and the right exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; turn an EdgeseqError into its message, a closed pipe into a quiet end."""
        try:
            return super().invoke(ctx)
        except EdgeseqError as fault:
            typer.echo(f"edgeseq: {fault}", err=True)
            raise typer.Exit(fault.exit_code) from fault
        except BrokenPipeError as fault:
            _discard_output()
            raise typer.Exit(0) from fault
        except OSError as fault:
            where = f"{fault.filename}: " if fault.filename is not None else ""
            typer.echo(f"edgeseq: {where}{fault.strerror or fault}", err=True)
            raise typer.Exit(1) from fault


app = typer.Typer(
    name="edgeseq",
    cls=Commands,
    help="Train, shrink and run streaming recurrent models on small computers: live words from a microphone.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# The order here is the order in `edgeseq --help`.
app.command("listen")(listen.listen)
app.command("transcribe")(transcribe.transcribe)
app.command("serve", cls=serve.ServeCommand)(serve.serve)
app.command("devices")(devices.devices)
app.add_typer(models.app, name="models")
app.add_typer(phrases.app, name="phrases")
app.command("train")(train.train)
app.command("augment")(augment.augment)
app.command("eval")(eval.evaluate)
app.command("prove")(prove.prove)
app.command("export")(export.export)
app.command("report")(report.report)
app.command("explain")(report.explain)
app.command("bench")(bench.bench)
app.add_typer(data.app, name="data")
app.add_typer(lm.app, name="lm")
app.add_typer(lexicon.app, name="lexicon")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"edgeseq {version('edgeseq')}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and end.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Hold the options of `edgeseq` itself; each command has its own."""


def main() -> None:
    """Run the command line (the console script `edgeseq`)."""
    try:
        app()
    finally:
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
        except (OSError, ValueError):
            _discard_output()


def _discard_output() -> None:
    """Point standard output at nothing, so that the interpreter's last flush of a closed pipe is quiet."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
