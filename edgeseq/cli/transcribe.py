"""`edgeseq transcribe`: recordings to words."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeseq.cli.display import Display, Format
from edgeseq.cli.options import (
    DEFAULT_MODEL,
    BitsOption,
    FiguresOption,
    FormatOption,
    ModelOption,
    PhrasesOption,
    RateOption,
    RejectOption,
    ThresholdOption,
    phrase_decoder,
    speller,
)
from edgeseq.cli.search_options import Search, searches
from edgeseq.cli.stopping import Stop, stop_on_signals, until
from edgeseq.errors import CutShortError, EdgeseqError, UsageError

if TYPE_CHECKING:
    from edgeseq.recognizer import Recognizer

STANDARD_INPUT = "-"


@searches
def transcribe(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE...", help="Recordings; '-' is standard input.", show_default=False),
    ],
    model: ModelOption = DEFAULT_MODEL,
    bits: BitsOption = None,
    rate: RateOption = None,
    form: FormatOption = Format.text,
    figures: FiguresOption = False,
    phrases: PhrasesOption = None,
    phrase_threshold: ThresholdOption = None,
    reject: RejectOption = True,
    out_dir: Annotated[
        Path | None,
        typer.Option("--out-dir", "-o", metavar="DIR", help="Write a file for each recording: call.wav to DIR/call.srt."),
    ] = None,
    *,
    search: Search,
) -> None:
    """Write down what is said in recordings, one line each.

    Files: whatever soundfile reads (WAV, FLAC, Ogg, MP3 ...) and, where ffmpeg is installed, m4a, webm and
    more. Standard input: WAV, or raw 16-bit little-endian mono samples.

    Subtitles (srt, vtt) have a cue for each seven words or six seconds at most; of several files they need
    --out-dir. With several files each line of text begins with the file's name and a colon. A file that cannot be
    read is reported on standard error and the others are done all the same; the exit code is then 1.
    One that breaks off counts as such, and the words up to there are printed. Ctrl-C prints what has
    been heard so far and ends.

    \b
    Examples:
      edgeseq transcribe call.wav
      edgeseq transcribe --format jsonl *.flac | jq .text
      edgeseq transcribe --format srt --out-dir subtitles *.mp4
      sox call.wav -t wav - | edgeseq transcribe -
    """
    from edgeseq.models import load

    targets = _targets(files, form, out_dir)
    with stop_on_signals() as stop:
        recognizer = load(model, bits)
        decoder = search.decoder(recognizer.metadata, phrases) or phrase_decoder(
            phrases, recognizer.metadata, phrase_threshold, reject
        )
        recognizer = recognizer if decoder is None else recognizer.with_decoder(decoder)
        spell = speller(figures, recognizer.metadata.language)
        n_failed = 0
        for file, target in zip(files, targets, strict=True):
            if stop.requested:
                break
            prefix = f"{file}: " if len(files) > 1 and target is None else ""
            out = io.StringIO() if target is not None else None
            display = Display(form, file, prefix, spell=spell, out=out)
            n_failed += not _transcribe_one(recognizer, file, rate, display, stop)
            if target is not None and out is not None and display.n_shown:
                _write(target, out.getvalue())
    if n_failed:
        raise typer.Exit(1)


def _targets(files: list[str], form: Format, out_dir: Path | None) -> list[Path | None]:
    """Say where the words of each file go, None for standard output. Raises UsageError when files would meet."""
    if out_dir is None:
        if form.is_subtitles and len(files) > 1:
            raise UsageError(
                f"--format {form.value} of {len(files)} files cannot share standard output: times begin anew with each.\n"
                "  Give --out-dir DIR, and each gets a file there."
            )
        return [None] * len(files)
    sources: dict[Path, str] = {}
    for file in files:
        target = out_dir / f"{Path(file).stem if file != STANDARD_INPUT else 'standard-input'}{form.suffix}"
        if target in sources:
            raise UsageError(
                f"{sources[target]} and {file} would both be written to {target}.\n  Transcribe them into different folders."
            )
        sources[target] = file
    return list(sources)


def _write(path: Path, content: str) -> None:
    """Write a file whole or not at all, making its folder."""
    half = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        half.write_text(content, encoding="utf-8")
        half.replace(path)
    except OSError:
        with suppress(OSError):
            half.unlink()
        raise


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
