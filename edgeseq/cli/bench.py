"""`edgeseq bench`: speed, latency and memory of a model on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeseq.cli.progress import progress


def bench(
    model: Annotated[str, typer.Option(help="Name, folder or file of the model.")] = "digits-en",
    bits: Annotated[int | None, typer.Option(help="Of a folder: its 8 or 32 bit file.  [default: all there are]")] = None,
    seconds: Annotated[float, typer.Option(min=2.0, help="Sound to go through.")] = 60.0,
    audio: Annotated[Path | None, typer.Option(help="Sound to use, repeated.  [default: bursts of noise]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object.")] = False,
) -> None:
    """Measure speed, latency and memory: sound at 48 kHz in 80 ms chunks, resampling included, to words.

    Start and memory are those of whole `edgeseq transcribe` processes. Medians of five; the worst chunk is
    the worst of all. Nothing else should be running.

    Example: edgeseq bench --model digits-en --json
    """
    from edgeseq.bench import bench_model, time_help, to_json, to_table

    rows = []
    for path in _files(model, bits):
        with progress(f"Measuring {path.name}", unit="measurements") as show:
            rows.append(bench_model(path, seconds, audio, on_progress=show))
    help_seconds = time_help()
    if as_json:
        typer.echo(to_json(rows, help_seconds))
    else:
        typer.echo(f"{to_table(rows)}\n\nedgeseq --help          {help_seconds:.3f} s")


def _files(model: str, bits: int | None) -> list[Path]:
    """List the model's files to measure: the one of `bits`, or all that its folder holds."""
    from edgeseq.models import FILES, find_model

    found = find_model(model, bits)
    if bits is not None or Path(model).is_file() or found.name not in FILES.values():
        return [found]
    return [found.parent / name for name in FILES.values() if (found.parent / name).is_file()]
