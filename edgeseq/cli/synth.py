"""`edgeseq data synth`: training speech from text."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeseq.cli.printing import say
from edgeseq.cli.progress import progress
from edgeseq.cli.stopping import stop_on_signals
from edgeseq.errors import EdgeseqError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgeseq.data.synth import SynthReport

EXIT_INTERRUPTED = 130
OTHERS = "others"
"""Folder in --out for other speech."""


def synth(
    text: Annotated[Path | None, typer.Option(metavar="FILE", help="Texts to speak, one per line.")] = None,
    words: Annotated[str, typer.Option(metavar="WORD,WORD", help="Or the texts themselves, separated by commas.")] = "",
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Folder for the files and manifest.jsonl.")] = None,
    per_text: Annotated[int, typer.Option(min=1, metavar="N", help="Files for each text.")] = 100,
    others: Annotated[
        int, typer.Option(min=0, metavar="N", help="Also make about N recordings of other speech, in FOLDER/others.")
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Another seed draws other voices and pitches.")] = 0,
    engines: Annotated[str, typer.Option(metavar="NAME,NAME", help="Synthesizers to use.  [default: all installed]")] = "",
    exclude_engines: Annotated[str, typer.Option(metavar="NAME,NAME", help="Synthesizers not to use.")] = "",
    voices: Annotated[str, typer.Option(metavar="PATTERN", help="Use only such voices: 'flite/*', '*/en-us*'.")] = "*",
    exclude_voices: Annotated[str, typer.Option(metavar="PATTERN", help="Use no such voices: '*whisper*'.")] = "",
    rate: Annotated[int, typer.Option(min=8000, max=48000, metavar="HZ", help="Sample rate of the files.")] = 16_000,
    jobs: Annotated[int, typer.Option(min=0, metavar="N", help="Synthesizers to run at a time; 0: one per core.")] = 0,
    engine_file: Annotated[
        list[Path] | None, typer.Option(metavar="FILE.yaml", help="Description of another synthesizer; may be repeated.")
    ] = None,
    allow_licenses: Annotated[
        str, typer.Option(metavar="LICENCE,...", help="Use only voices under such licences: 'MIT*,CC0-1.0'.")
    ] = "",
    list_voices: Annotated[bool, typer.Option("--list-voices", help="List the voices and their licences, then end.")] = False,
) -> None:
    """Synthesize training speech from text.

    It uses espeak-ng, flite and festival, where they are installed, and any synthesizer that you describe in a file.
    Voice, pitch and speed are drawn for each file from the seed, the text and the file's number. To continue after
    Ctrl-C, or to add files or texts, start the command again. The manifest says what made each file, and under
    which licence the program is.

    A model that hears only your words in training takes every sound for one of them. --others speaks common words
    and sentences, and words that are nearly yours; name FOLDER/others/manifest.jsonl in the recipe with 'others: true'.

    Example: edgeseq data synth --words yes,no --per-text 200 --others 1200 --out data/yes-no
    """
    from edgeseq.data.engine_file import engines_with
    from edgeseq.data.other_speech import others_for
    from edgeseq.data.synth import installed_voices, read_texts, synthesize

    known = engines_with(engine_file or ())
    licences = split(allow_licenses)
    chosen = installed_voices(split(engines), split(exclude_engines), voices, exclude_voices, licences, known)
    if list_voices:
        for voice in chosen:
            say(f"{voice.speaker}\t{voice.licence}")
        return
    if (text is None) == (not words) or out is None:
        raise UsageError("Wanted: --text FILE or --words WORD,WORD (one of them), and --out FOLDER.")
    texts = read_texts(text) if text else list(dict.fromkeys(split(words)))
    speak = partial(synthesize, voices=chosen, seed=seed, sample_rate=rate, jobs=jobs, known=known)
    _speak(speak, texts, per_text, out)
    if others:
        _speak(speak, *others_for(texts, others), out / OTHERS)


def _speak(speak: Callable[..., SynthReport], texts: list[str], per_text: int, folder: Path) -> None:
    """Make files and say how many. Raises Exit for a run that was stopped, EdgeseqError for files that nobody could speak."""
    began = time.monotonic()
    with progress(f"Speaking to {folder}") as show, stop_on_signals() as stop:
        report = speak(texts, per_text, folder, on_progress=show, stop=lambda: stop.requested)
    seconds = time.monotonic() - began
    say(f"{report.manifest}: {report.made:,} files made in {seconds:.0f} s, {report.kept:,} kept", err=True)
    if report.stopped:
        say("Stopped. To continue, run the same command again.", err=True)
        raise typer.Exit(EXIT_INTERRUPTED)
    if report.failed:
        raise EdgeseqError(
            f"{len(report.failed)} files could not be spoken in any manner drawn ({report.failed[0]} ...).\n"
            "  The manifest lists the others. Run the command again to retry, or leave these voices out."
        )


def split(names: str) -> list[str]:
    """Split a list between commas; empty parts do not count."""
    return [name.strip() for name in names.split(",") if name.strip()]
