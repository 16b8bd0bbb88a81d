"""`edgeseq transcribe`: recordings to words."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeseq.cli.display import Display, Format
from edgeseq.cli.hearing import Hearing
from edgeseq.cli.options import (
    BitsOption,
    FiguresOption,
    FormatOption,
    JobsOption,
    JournalOption,
    ModelOption,
    PhrasesOption,
    RateOption,
    RejectOption,
    ThresholdOption,
    speller,
)
from edgeseq.cli.printing import say
from edgeseq.cli.progress import busy, progress
from edgeseq.cli.search_options import Search, searches
from edgeseq.cli.stopping import Stop, stop_on_signals, until
from edgeseq.errors import CutShortError, EdgeseqError, UsageError
from edgeseq.model.default import DEFAULT_MODEL
from edgeseq.whole_file import write_whole

if TYPE_CHECKING:
    from edgeseq.data.jobs import Outcome
    from edgeseq.stream.recognizer import Recognizer

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
    jobs: JobsOption = None,
    journal: JournalOption = None,
    *,
    search: Search,
) -> None:
    """Write down what is said in recordings, one line each.

    Files: whatever soundfile reads (WAV, FLAC, Ogg, MP3 ...) and, where ffmpeg is installed, m4a, webm and
    more. Standard input: WAV, or raw 16-bit little-endian mono samples.

    Subtitles (srt, vtt) have a cue for each seven words or six seconds at most; of several files they need
    --out-dir. With several files each line of text begins with the file's name and a colon. A file that cannot be
    read is reported on standard error and the others are still done; the exit code is then 1.
    One that breaks off counts as such, and the words up to there are printed. Ctrl-C prints what has
    been heard so far and ends.

    A large archive: with --jobs the files are spread over processes, of this machine or of a Ray cluster; with --journal
    a run that was ended continues where it was. The words are the same, in the same order.

    \b
    Examples:
      edgeseq transcribe call.wav
      edgeseq transcribe --format jsonl *.flac | jq .text
      edgeseq transcribe --format srt --out-dir subtitles *.mp4
      sox call.wav -t wav - | edgeseq transcribe -
      edgeseq transcribe -f jsonl -j 8 --journal done.journal archive/*.flac
    """
    targets = _targets(files, form, out_dir)
    with stop_on_signals() as stop:
        hearing = Hearing(model, bits, search, phrases, phrase_threshold, reject)
        if jobs is not None or journal is not None:
            wanted = TranscribeRequest(hearing, rate, form, figures, len(files) > 1 and out_dir is None)
            raise typer.Exit(_transcribe_many(wanted, list(zip(files, targets, strict=True)), jobs, journal, stop))
        with busy(f"loading {model}"):
            recognizer = hearing.recognizer()
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
                write_whole(target, out.getvalue().encode())
    if n_failed:
        raise typer.Exit(1)


def _targets(files: list[str], form: Format, out_dir: Path | None) -> list[Path | None]:
    """Say where the words of each file go, None for standard output. Raises UsageError when files would meet."""
    if out_dir is None:
        if form.is_subtitles and len(files) > 1:
            raise UsageError(
                f"--format {form.value} of {len(files)} files cannot share standard output: each file's times begin at zero.\n"
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


@dataclass(frozen=True)
class TranscribeRequest:
    """What is wanted of each file: plain values, for any process."""

    hearing: Hearing
    rate: int | None
    form: Format
    figures: bool
    named: bool
    """each line of text begins with the file's name"""

    def asked(self) -> dict[str, Any]:
        """Say so for a journal."""
        more = {"rate": self.rate, "format": self.form.value, "figures": self.figures, "named": self.named}
        return self.hearing.asked(command="transcribe", **more)

    def open(self, stop: Stop) -> Callable[[str], Outcome]:
        """Load the model; returns what makes the text of one file."""
        recognizer = self.hearing.recognizer()
        return partial(self._write_down, recognizer, speller(self.figures, recognizer.metadata.language), stop)

    def _write_down(self, recognizer: Recognizer, spell: Callable[[Sequence[str]], str], stop: Stop, file: str) -> Outcome:
        from edgeseq.data.jobs import Outcome

        out = io.StringIO()
        display = Display(self.form, file, f"{file}: " if self.named else "", spell=spell, out=out)
        fault = _show_words(recognizer, file, self.rate, display, stop)
        if stop.requested:
            fault = "stopped"
        return Outcome(out.getvalue() if display.n_shown else None, fault)


def _transcribe_many(
    wanted: TranscribeRequest, targets: list[tuple[str, Path | None]], jobs: int | None, journal_file: Path | None, stop: Stop
) -> int:
    """Write down files of an archive, in their order, as they are finished; returns the exit code."""
    from edgeseq.data.jobs import Journal, run

    items = {file: file for file, _ in targets}
    if STANDARD_INPUT in items:
        raise UsageError("Standard input cannot be spread or resumed; leave out --jobs and --journal, or name files.")
    opener = partial(wanted.open, Stop() if jobs else stop)
    outcomes: dict[str, Outcome] = {}
    left = iter(targets)
    following = next(left, None)
    with (
        progress("Transcribing") as show,
        nullcontext() if journal_file is None else closing(Journal(journal_file, wanted.asked())) as journal,
    ):
        for file, outcome in run(opener, items, jobs=jobs, journal=journal, stop=lambda: stop.requested):
            outcomes[file] = outcome
            while following is not None and following[0] in outcomes:
                _tell(outcomes[following[0]], following[1])
                following = next(left, None)
            show(len(outcomes), len(items))
    return int(any(outcome.fault is not None for outcome in outcomes.values()) and not stop.requested)


def _tell(outcome: Outcome, target: Path | None) -> None:
    """Write what was understood of a file."""
    if outcome.fault is not None:
        say(f"edgeseq: {outcome.fault}", err=True)
    if outcome.result is not None and target is not None:
        write_whole(target, outcome.result.encode())
    elif outcome.result is not None:
        say(outcome.result, nl=False)


def _transcribe_one(recognizer: Recognizer, file: str, rate: int | None, display: Display, stop: Stop) -> bool:
    """Show the words of one file; False if it could not be read to its end."""
    fault = _show_words(recognizer, file, rate, display, stop)
    if fault is not None:
        say(f"edgeseq: {fault}", err=True)
    return fault is None


def _show_words(recognizer: Recognizer, file: str, rate: int | None, display: Display, stop: Stop) -> str | None:
    """Show the words of one file; returns why it could not be read to its end, if so."""
    from edgeseq.decoding.decoder import kind_of
    from edgeseq.sound.audio import read_blocks

    try:
        blocks = until(read_blocks(file, recognizer.sample_rate, rate), stop)
        if display.form is Format.jsonl and kind_of(recognizer.decoder) == "phrases":
            for final in recognizer.utterances(blocks):  # joined they would have no intents
                display.show(final)
        else:
            display.show(recognizer.transcribe_blocks(blocks))
    except UsageError:
        raise
    except CutShortError as fault:
        if fault.final is not None:
            display.show(fault.final)
        return str(fault)
    except EdgeseqError as fault:
        return str(fault)
    return None
