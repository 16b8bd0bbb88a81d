"""How programs end when something is wrong: one message, and the right exit code."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import typer
from typer.core import TyperCommand

from edgeseq.errors import EdgeseqError


@contextmanager
def faults_told() -> Iterator[None]:
    """Turn an EdgeseqError into its message, a closed pipe into a quiet end."""
    try:
        yield
    except EdgeseqError as fault:
        typer.echo(f"edgeseq: {fault}", err=True)
        raise typer.Exit(fault.exit_code) from fault
    except BrokenPipeError as fault:
        discard_output()
        raise typer.Exit(0) from fault
    except OSError as fault:
        where = f"{fault.filename}: " if fault.filename is not None else ""
        typer.echo(f"edgeseq: {where}{fault.strerror or fault}", err=True)
        raise typer.Exit(1) from fault


def discard_output() -> None:
    """Point standard output at nothing, so that the interpreter's last flush of a closed pipe is quiet."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


class Program(TyperCommand):
    """A command that is a program of its own."""

    def invoke(self, ctx: Any) -> Any:
        """Run it."""
        with faults_told():
            return super().invoke(ctx)


def run(main: Callable[..., None]) -> None:
    """Run a function as a program, its arguments from the command line."""
    program = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    program.command(cls=Program)(main)
    program()
