"""`edgeseq devices`: microphones, as the machine sees them."""

from __future__ import annotations

import dataclasses
import json

import typer

from edgeseq.cli.display import Format, printable
from edgeseq.cli.options import FormatOption


def devices(form: FormatOption = Format.text) -> None:
    """List the microphones; `*` marks the one that `edgeseq listen` takes by itself.

    \b
    Examples:
      edgeseq devices
      edgeseq listen --device 2
    """
    from edgeseq.microphone import list_microphones

    for found in list_microphones():
        if form is Format.jsonl:
            typer.echo(json.dumps(dataclasses.asdict(found), ensure_ascii=False))
        else:
            mark = "*" if found.is_default else " "
            channels = f"{found.n_channels} channel{'s' if found.n_channels > 1 else ''}"
            typer.echo(f"{mark} {found.index:3}  {printable(found.name)}  ({channels}, {found.rate} Hz)")
