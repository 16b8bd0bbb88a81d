"""`edgeseq models`."""

from __future__ import annotations

import typer

app = typer.Typer(help="Models: what is here.", no_args_is_help=True, rich_markup_mode=None)


@app.command("list")
def list_models() -> None:
    """Not there yet."""
