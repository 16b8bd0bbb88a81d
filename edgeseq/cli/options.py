"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeseq.cli.display import Format

ModelOption = Annotated[str, typer.Option("--model", "-m", metavar="MODEL", help="A model's name, folder or file.")]
BitsOption = Annotated[
    int | None,
    typer.Option("--bits", metavar="8|4|32", help="Which file of the model's folder.  [default: 8]"),
]
RateOption = Annotated[
    int | None,
    typer.Option(
        "--rate",
        min=1000,
        max=1_000_000,
        help="Of raw 16-bit samples on standard input, in Hz.  [default: the model's]",
    ),
]
FormatOption = Annotated[Format, typer.Option("--format", "-f", help="Words for people or for programs.")]
DEFAULT_MODEL = "digits-en"
