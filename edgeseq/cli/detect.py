"""`edgeseq detect`: recordings to detections."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from edgeseq.cli.options import BitsOption, RateOption
from edgeseq.cli.printing import say
from edgeseq.cli.progress import busy
from edgeseq.cli.stopping import Stop, stop_on_signals, until
from edgeseq.errors import EdgeseqError, UsageError

if TYPE_CHECKING:
    from edgeseq.stream.spotter import Spotter


def detect(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Recordings; '-' is standard input.", show_default=False),
    ],
    model: Annotated[str, typer.Option("--model", "-m", help="A model of the task frames: its name, folder or file.")],
    threshold: Annotated[
        float | None,
        typer.Option(help="Probability from which on every label begins.  [default: those of the model]", show_default=False),
    ] = None,
    bits: BitsOption = None,
    rate: RateOption = None,
) -> None:
    """Report what a model detects in recordings, as JSON lines.

    For models that label sound (task `frames`), such as voice or none. A line with "end": null says that something began,
    a second one with the same label and start, when it has ended. Standard input: WAV, or raw 16-bit little-endian mono
    samples; lines come while it is heard. A file that cannot be read is reported on standard error and the others
    are still done; the exit code is then 1.

    \b
    Examples:
      edgeseq detect --model voice call.wav
      arecord -f S16_LE -r 16000 | edgeseq detect --model voice -
    """

    n_failed = 0
    with stop_on_signals() as stop:
        with busy(f"loading {model}"):
            from edgeseq.models import load_spotter

            spotter = load_spotter(model, bits)
        if threshold is not None:
            spotter = _with_threshold(spotter, threshold)
        for file in files:
            if not stop.requested:
                n_failed += not _detect_one(spotter, file, rate, stop)
    if n_failed:
        raise typer.Exit(1)


def _with_threshold(spotter: Spotter, threshold: float) -> Spotter:
    from edgeseq.stream.detector import Detector

    if not 0 < threshold <= 1:
        raise UsageError(f"--threshold {threshold:g}: wanted a probability above 0, at most 1.")
    return spotter.with_detector(Detector(spotter.detector.details.with_threshold(threshold)))


def _detect_one(spotter: Spotter, file: str, rate: int | None, stop: Stop) -> bool:
    """Show what is detected in one file; False if it could not be read to its end."""
    from edgeseq.sound.audio import read_blocks

    try:
        for event in spotter.follow(until(read_blocks(file, spotter.sample_rate, rate), stop)):
            say(event.to_json(file))
    except UsageError:
        raise
    except EdgeseqError as fault:
        say(f"edgeseq: {fault}", err=True)
        return False
    return True
