"""The command line: one module a command, which reads arguments, calls the library once and shows the result.

A command's module is imported when the command is asked for, all of them for `edgeseq --help`; so whatever is slow to import
(numpy, onnxruntime, torch, pydantic) waits inside the commands.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from edgeseq.errors import EdgeseqError

COMMANDS = {
    "listen": ("listen", "listen"),
    "transcribe": ("transcribe", "transcribe"),
    "serve": ("serve", "serve", "ServeCommand"),
    "devices": ("devices", "devices"),
    "models": ("models", "app"),
    "phrases": ("phrases", "app"),
    "train": ("train", "train"),
    "augment": ("augment", "augment"),
    "eval": ("eval", "evaluate"),
    "prove": ("prove", "prove"),
    "export": ("export", "export"),
    "report": ("report", "report"),
    "explain": ("report", "explain"),
    "bench": ("bench", "bench"),
    "data": ("data", "app"),
    "lm": ("lm", "app"),
    "lexicon": ("lexicon", "app"),
}
"""Name -> module here, function or group of commands in it, and perhaps the class of the command; as `--help` lists them."""


class OnDemand(dict[str, Any]):
    """Commands by name, each made when it is first asked for: to make all of them takes longer than to run one."""

    def __getitem__(self, name: str) -> Any:
        """Make a command, or give the one that was made."""
        made = super().__getitem__(name)
        if made is None:
            made = self[name] = _make(name)
        return made

    def get(self, name: str, default: Any = None) -> Any:
        """Give a command, or `default` where there is none of that name."""
        try:
            return self[name]  # dict's own get would not make it
        except KeyError:
            return default


def _make(name: str) -> Any:
    module_name, attribute, *cls = COMMANDS[name]
    module = import_module(f"edgeseq.cli.{module_name}")
    host, found = typer.Typer(rich_markup_mode=None, callback=lambda: None), getattr(module, attribute)
    if isinstance(found, typer.Typer):
        host.add_typer(found, name=name)
    else:
        host.command(name, cls=getattr(module, cls[0]) if cls else None)(found)
    group = typer.main.get_command(host)
    assert isinstance(group, TyperGroup)
    return group.commands[name]


class Commands(TyperGroup):
    """Commands whose expected faults end in one message and the right exit code."""

    def __init__(self, **attributes: Any) -> None:
        """Know the commands by name."""
        super().__init__(**attributes)
        self.commands = OnDemand(dict.fromkeys(COMMANDS))

    def list_commands(self, ctx: Any) -> list[str]:
        """List the names in their order."""
        return list(self.commands)

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
