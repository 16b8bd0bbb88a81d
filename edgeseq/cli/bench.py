"""`edgeseq bench`: speed, latency and memory of a model on this machine, and of networks beside other runtimes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeseq.cli.printing import say
from edgeseq.cli.progress import busy, progress
from edgeseq.cli.search_options import Search, searches
from edgeseq.errors import MissingExtraError, UsageError
from edgeseq.model.default import DEFAULT_MODEL

if TYPE_CHECKING:
    from edgeseq.bench.network import NetworkBench, NetworkReport
    from edgeseq.bench.synthetic import BenchNetwork

DEFAULT_CHUNK_STEPS = 4
DEFAULT_BITS = 8
WIDTHS = (4, 8, 32)


@searches
def bench(
    model: Annotated[str | None, typer.Option(help=f"Name, folder or file of the model.  [default: {DEFAULT_MODEL}]")] = None,
    bits: Annotated[
        str | None, typer.Option(metavar="8,4,32", help="Bits of a weight.  [default: each file of a model; 8 for a network]")
    ] = None,
    seconds: Annotated[float, typer.Option(min=2.0, help="Seconds of sound to process.")] = 60.0,
    audio: Annotated[
        Path | None, typer.Option(help="Sound to use, repeated; a manifest with --beam.  [default: bursts of noise]")
    ] = None,
    memory: Annotated[bool, typer.Option("--memory", help="Process an hour of sound and watch the memory.")] = False,
    shape: Annotated[
        list[str] | None,
        typer.Option(metavar="CELL:LAYERSxSIZE", help="A network of this size, such as gru:4x512; may be repeated."),
    ] = None,
    chunk_steps: Annotated[
        str | None, typer.Option(metavar="1,4,8", help="Steps a chunk.  [default: 4; a model's own]")
    ] = None,
    inputs: Annotated[int, typer.Option(min=1, max=65536, help="Inputs of a --shape.")] = 320,
    tokens: Annotated[int, typer.Option(min=2, max=65536, help="Outputs of a --shape.")] = 32,
    peers: Annotated[bool, typer.Option("--peers", help="Compare other runtimes on the same network, in turns.")] = False,
    streams: Annotated[
        str | None, typer.Option(metavar="1,4,16,64", help="Compare batches of these sizes with one stream.")
    ] = None,
    profile: Annotated[bool, typer.Option("--profile", help="Show the time of each operator.")] = False,
    target: Annotated[str, typer.Option(help="Processor of edgeseq's graphs: generic, x86, pi4, pi5 or auto.")] = "generic",
    rounds: Annotated[int, typer.Option(min=1, max=10_000, help="Rounds to measure.")] = 20,
    chart: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw the network's figures.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object.")] = False,
    *,
    search: Search,
) -> None:
    """Measure speed, latency and memory.

    Sound at 48 kHz comes in 80 ms chunks, is resampled, and becomes words.

    Start, memory and processor time are those of whole `edgeseq transcribe` processes. Medians of five and their quartiles; the
    worst chunk is the worst of all. Nothing else should be running.

    With --shape, --peers or --streams the recurrent network alone is measured, one thread, everybody in turns: a drawn one of
    --shape, or that of --model (a folder with weights). docs/benchmarks.md says what each figure means.

    With --beam and its options only processor time is measured: of the network, of greedy decoding and of the beam
    search, over the same speech (--audio is then a manifest, whose clips are joined to strings where they are words).

    \b
    Examples:
      edgeseq bench --model digits-en --json
      edgeseq bench --shape gru:4x512 --peers --chart bench.png
      edgeseq bench --shape gru:4x512 --streams 1,4,16,64
      edgeseq bench --beam 8 --lm spoken.lm --audio fsdd/test.jsonl --seconds 300
    """
    from edgeseq.bench.shape import parse_numbers

    widths = None if bits is None else parse_numbers("--bits", bits, max(WIDTHS))
    if widths is not None and not set(widths) <= set(WIDTHS):
        raise UsageError(f"--bits {bits}: wanted some of {', '.join(map(str, WIDTHS))}.")
    named = model or DEFAULT_MODEL
    if _bench_search(named, widths, search, seconds, audio, as_json):
        return
    if not (shape or peers or streams):
        if chart is not None or chunk_steps is not None:
            raise UsageError("--chart and --chunk-steps are about networks; give --shape, --peers or --streams, too.")
        _bench_models(named, widths, seconds, audio, memory, profile, as_json)
        return
    if shape and model is not None:
        raise UsageError("--shape is a network of its own; leave out --model, or --shape.")
    if memory:
        raise UsageError("--memory is about a model's whole path; leave out --shape, --peers and --streams.")
    report = _bench_networks(
        shape or [],
        named,
        (inputs, tokens),
        chunk_steps=None if chunk_steps is None else parse_numbers("--chunk-steps", chunk_steps, 1000),
        bits=widths or [DEFAULT_BITS],
        peers=peers,
        streams=[] if streams is None else parse_numbers("--streams", streams, 4096),
        profile=profile,
        target=target,
        rounds=rounds,
        chart=chart,
    )
    say(report.to_json() if as_json else report.to_table())


def _bench_models(
    model: str, bits: list[int] | None, seconds: float, audio: Path | None, memory: bool, profile: bool, as_json: bool
) -> None:
    """Measure every file of the model, or those of `bits`."""
    from edgeseq.bench.machine import machine
    from edgeseq.bench.model import bench_model, model_table, steps_a_chunk, time_help
    from edgeseq.bench.profile import profile_graph
    from edgeseq.models import read_metadata

    rows, profiles = [], {}
    for path in _files(model, bits):
        with progress(f"Measuring {path.name}", unit="measurements") as show:
            rows.append(bench_model(path, seconds, audio, memory=memory, on_progress=show))
        if profile:
            profiles[path.name] = profile_graph(path, steps_a_chunk(read_metadata(path)))
    help_seconds = time_help()
    if as_json:
        figures = {"rows": [row.to_dict() for row in rows], "help_seconds": round(help_seconds, 3), "machine": machine()}
        if profile:
            figures["profiles"] = {name: profiled.to_dict() for name, profiled in profiles.items()}
        say(json.dumps(figures))
        return
    parts = [model_table(rows), f"edgeseq --help  {help_seconds:.3f} s"]
    parts += [f"{name}\n{profiled.to_table()}" for name, profiled in profiles.items()]
    say("\n\n".join(parts))


def _files(model: str, bits: list[int] | None) -> list[Path]:
    """List the model's files to measure: those of `bits`, or all that its folder holds."""
    from edgeseq.models import FILES, find_model

    if bits is not None:
        return [find_model(model, width) for width in bits]
    found = find_model(model)
    if Path(model).is_file() or found.name not in FILES.values():
        return [found]
    return [found.parent / name for name in FILES.values() if (found.parent / name).is_file()]


def _bench_networks(
    shapes: list[str],
    model: str,
    sizes: tuple[int, int],
    *,
    chunk_steps: list[int] | None,
    bits: list[int],
    peers: bool,
    streams: list[int],
    profile: bool,
    target: str,
    rounds: int,
    chart: Path | None,
) -> NetworkReport:
    """Draw or load the networks, measure them, draw the chart."""
    from edgeseq.bench.chart import check_matplotlib, draw_chart
    from edgeseq.bench.shape import parse_shape

    parsed = [parse_shape(text) for text in shapes]
    if chart is not None:
        check_matplotlib()
    try:
        with busy("loading torch"):
            from edgeseq.bench.network import NetworkBench, bench_networks
            from edgeseq.bench.synthetic import draw_network, trained_network
    except ModuleNotFoundError as fault:
        raise MissingExtraError(
            f"Benching a network needs {fault.name}, which is not installed: pip install 'edgeseq[train]'\n"
            "  `edgeseq bench --model NAME` needs nothing more."
        ) from fault
    networks: list[BenchNetwork]
    if parsed:
        networks, own_steps = [draw_network(shape, *sizes) for shape in parsed], DEFAULT_CHUNK_STEPS
    else:
        network, own_steps = trained_network(_weights(model))
        networks = [network]
    wanted: NetworkBench = NetworkBench(chunk_steps or [own_steps], bits, peers, streams, profile, target, rounds)
    with progress("Measuring", unit="networks") as show:
        report = bench_networks(networks, wanted, on_progress=show)
    if chart is not None:
        draw_chart(report.comparisons, chart)
    return report


def _weights(model: str) -> Path:
    """Find the folder or checkpoint that holds the trained weights of a model."""
    from edgeseq.models import find_model

    return Path(model) if Path(model).exists() else find_model(model).parent


def _bench_search(
    model: str, bits: list[int] | None, search: Search, seconds: float, audio: Path | None, as_json: bool
) -> bool:
    """Measure the beam search if one is asked for."""
    from edgeseq.models import load_recognizer

    if search == Search():
        return False
    if audio is None:
        raise UsageError("--beam needs speech to be measured on; give --audio a manifest, such as fsdd/test.jsonl.")
    from edgeseq.bench.search import bench_search, read_speech

    recognizer = load_recognizer(model, bits[0] if bits else None)
    beam = search.decoder(recognizer.metadata)
    if beam is None:
        return False
    costs = bench_search(recognizer, beam, read_speech(audio, recognizer.sample_rate, seconds))
    say(costs.to_json() if as_json else costs.to_table())
    return True
