"""The command line: one module a command, which reads arguments, calls the library once and shows the result.

A command's module is imported when the command is asked for, all of them for `edgeseq --help`; so whatever is slow to import
(numpy, onnxruntime, torch, pydantic) waits inside the commands.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from edgeseq.cli.faults import discard_output, faults_told
from edgeseq.cli.printing import open_missing_streams, print_warnings, say

GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "Listen": {
        "listen": ("listen", "listen"),
        "transcribe": ("transcribe", "transcribe"),
        "detect": ("detect", "detect"),
        "serve": ("serve", "serve", "ServeCommand"),
        "phrases": ("phrases", "app"),
        "devices": ("devices", "devices"),
        "models": ("models", "app"),
    },
    "Train": {
        "teach": ("teach", "teach"),
        "data": ("data", "app"),
        "train": ("train", "train"),
        "eval": ("eval", "evaluate"),
        "export": ("export", "export"),
        "report": ("report", "report"),
        "lm": ("lm", "app"),
        "lexicon": ("lexicon", "app"),
    },
    "Tools": {
        "augment": ("augment", "augment"),
        "explain": ("report", "explain"),
        "prove": ("prove", "prove"),
        "bench": ("bench", "bench"),
    },
}
"""As `--help` lists them: name -> module here, function or group of commands in it, and perhaps the class of the command."""
COMMANDS = {name: of_command for group in GROUPS.values() for name, of_command in group.items()}


class OnDemand(Mapping[str, Any]):
    """Commands by name, each made when it is first asked for: to make all of them takes longer than to run one."""

    def __getitem__(self, name: str) -> Any:
        """Make a command, or give the one that was made."""
        return _make(name)

    def __iter__(self) -> Iterator[str]:
        """Give the names in their order."""
        return iter(COMMANDS)

    def __len__(self) -> int:
        """Count the commands."""
        return len(COMMANDS)


@cache
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
    """Commands by name, each made when it is asked for."""

    def __init__(self, **attributes: Any) -> None:
        """Know the commands by name."""
        super().__init__(**attributes)
        self.commands: Any = OnDemand()

    def list_commands(self, ctx: Any) -> list[str]:
        """List the names in their order."""
        return list(self.commands)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """List the commands by group, each with the first sentence of its help."""
        columns = max(map(len, COMMANDS))
        for title, group in GROUPS.items():
            listed = [
                (f"{name:{columns}}", self.commands[name].get_short_help_str(formatter.width - 6 - columns)) for name in group
            ]
            with formatter.section(title):
                formatter.write_dl(listed)

    def invoke(self, ctx: Any) -> Any:
        """Run a command; expected faults end in one message and the right exit code."""
        print_warnings()
        with faults_told():
            return super().invoke(ctx)


app = typer.Typer(
    name="edgeseq",
    cls=Commands,
    help="Speech to text, live and offline, on small computers; with models that you can train yourself.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        say(f"edgeseq {version('edgeseq')}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("-V", "--version", help="Print the version and end.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Hold the options of `edgeseq` itself; each command has its own."""


def main() -> None:
    """Run the command line (the console script `edgeseq`)."""
    open_missing_streams()
    try:
        app()
    finally:
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
        except (OSError, ValueError):
            discard_output()
