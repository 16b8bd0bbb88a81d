"""`edgeseq bench`: speed, latency and memory of a model on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeseq.cli.progress import progress
from edgeseq.cli.search_options import Search, searches
from edgeseq.errors import UsageError


@searches
def bench(
    model: Annotated[str, typer.Option(help="Name, folder or file of the model.")] = "digits-en",
    bits: Annotated[int | None, typer.Option(help="Of a folder: its 8 or 32 bit file.  [default: all there are]")] = None,
    seconds: Annotated[float, typer.Option(min=2.0, help="Sound to go through.")] = 60.0,
    audio: Annotated[
        Path | None, typer.Option(help="Sound to use, repeated; a manifest with --beam.  [default: bursts of noise]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object.")] = False,
    *,
    search: Search,
) -> None:
    """Measure speed, latency and memory: sound at 48 kHz in 80 ms chunks, resampling included, to words.

    Start and memory are those of whole `edgeseq transcribe` processes. Medians of five; the worst chunk is
    the worst of all. Nothing else should be running.

    With --beam and its options only processor time is measured: of the network, of greedy decoding and of the beam
    search, over the same speech (--audio is then a manifest, whose clips are joined to strings where they are words).

    \b
    Examples:
      edgeseq bench --model digits-en --json
      edgeseq bench --beam 8 --lm spoken.lm --audio fsdd/test.jsonl --seconds 300
    """
    if _bench_search(model, bits, search, seconds, audio, as_json):
        return
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


def _bench_search(model: str, bits: int | None, search: Search, seconds: float, audio: Path | None, as_json: bool) -> bool:
    """Measure the beam search if one is asked for."""
    from edgeseq.models import load

    if search == Search():
        return False
    if audio is None:
        raise UsageError("--beam needs speech to be measured on; give --audio a manifest, such as fsdd/test.jsonl.")
    from edgeseq.bench_search import bench_search, read_speech

    recognizer = load(model, bits)
    beam = search.decoder(recognizer.metadata)
    if beam is None:
        return False
    costs = bench_search(recognizer, beam, read_speech(audio, recognizer.sample_rate, seconds))
    typer.echo(costs.to_json() if as_json else costs.to_table())
    return True
