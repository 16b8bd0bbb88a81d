"""`edgeseq transcribe`: recordings to words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from edgeseq.cli.display import Display, Format
from edgeseq.cli.options import DEFAULT_MODEL, BitsOption, FormatOption, ModelOption, RateOption
from edgeseq.cli.stopping import Stop, stop_on_signals, until
from edgeseq.errors import CutShortError, EdgeseqError, UsageError

if TYPE_CHECKING:
    from edgeseq.recognizer import Recognizer


def transcribe(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Recordings; '-' is standard input.", show_default=False),
    ],
    model: ModelOption = DEFAULT_MODEL,
    bits: BitsOption = None,
    rate: RateOption = None,
    form: FormatOption = Format.text,
) -> None:
    """Write down what is said in recordings, one line each.

    Files: whatever soundfile reads (WAV, FLAC, Ogg, MP3 ...) and, where ffmpeg is installed, m4a, webm and
    more. Standard input: WAV, or raw 16-bit little-endian mono samples.

    With several files each line of text begins with the file's name and a colon. A file that cannot be
    read is reported on standard error and the others are done all the same; the exit code is then 1.
    One that breaks off counts as such, and the words up to there are printed. Ctrl-C prints what has
    been heard so far and ends.

    \b
    Examples:
      edgeseq transcribe call.wav
      edgeseq transcribe --format jsonl *.flac | jq .text
      sox call.wav -t wav - | edgeseq transcribe -
    """
    from edgeseq.models import load

    with stop_on_signals() as stop:
        recognizer = load(model, bits)
        n_failed = 0
        for file in files:
            if stop.requested:
                break
            display = Display(form, file, prefix=f"{file}: " if len(files) > 1 else "")
            n_failed += not _transcribe_one(recognizer, file, rate, display, stop)
    if n_failed:
        raise typer.Exit(1)


def _transcribe_one(recognizer: Recognizer, file: str, rate: int | None, display: Display, stop: Stop) -> bool:
    """Show the words of one file; False if it could not be read to its end."""
    from edgeseq.audio import read_blocks

    try:
        blocks = read_blocks(file, recognizer.sample_rate, rate)
        display.show(recognizer.transcribe_blocks(until(blocks, stop)))
    except UsageError:
        raise
    except CutShortError as fault:
        if fault.final is not None:
            display.show(fault.final)
        typer.echo(f"edgeseq: {fault}", err=True)
        return False
    except EdgeseqError as fault:
        typer.echo(f"edgeseq: {fault}", err=True)
        return False
    return True
