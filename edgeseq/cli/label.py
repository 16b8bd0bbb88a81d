"""`edgeseq data label`: transcripts by a teacher, and a check of those that others wrote."""

from __future__ import annotations

import json
from contextlib import closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeseq.cli.printing import say
from edgeseq.cli.progress import progress
from edgeseq.cli.stopping import stop_on_signals
from edgeseq.errors import EdgeseqError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgeseq.data.label import CheckReport, LabelReport

EXIT_INTERRUPTED = 130
MAX_FAILURES = 5
"""Recordings without an answer that are shown."""


def label(
    source: Annotated[
        Path, typer.Argument(help="A manifest, with texts or without, or a folder of recordings.", metavar="MANIFEST_OR_FOLDER")
    ],
    teacher: Annotated[
        str, typer.Option(metavar="FILE_OR_NAME", help="The file that describes the teacher, or its name in recipes/teachers.")
    ],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="The manifest to write.")] = None,
    min_confidence: Annotated[
        float | None, typer.Option(min=0, max=1, help="Leave out answers that are less sure.  [default: the teacher's own]")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write no manifest: list transcripts that do not match the sound.")
    ] = False,
    max_wer: Annotated[float, typer.Option(min=0, help="With --check: list texts with a higher WER, a fraction.")] = 0.5,
    answers: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keep the teacher's answers here, to resume.  [default: beside --out]"),
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="With --check: list as JSON lines.")] = False,
) -> None:
    """Transcribe recordings with a larger recognizer, the teacher.

    It keeps answers that the teacher is sure of; those without speech, with numbers in figures, with more words than
    can be said or with loops are left out and counted. A run that was stopped resumes when you start it again, and
    another --min-confidence asks nothing twice. With --check the texts of a manifest are compared with the teacher's
    words, and those that do not match the sound are listed, the worst first; nothing is changed.

    \b
    Examples:
      edgeseq data label recordings/ --teacher whisper-base --out train.jsonl
      edgeseq data label data/mine/train.jsonl --teacher whisper-base --check
    """
    from edgeseq.data.jobs import Journal
    from edgeseq.data.label import check as check_texts
    from edgeseq.data.label import label as label_recordings
    from edgeseq.data.label import recordings_of
    from edgeseq.data.teacher_file import find_teacher

    if check == (out is not None):
        raise UsageError("Wanted: --out FILE, or --check (one of them).")
    if out is not None and out.resolve() == source.resolve():
        raise UsageError(f"{out}: is what --out would overwrite. Name another file.")
    known = find_teacher(teacher)
    recordings, broken = recordings_of(source)
    _show_failures(broken)
    journal_file = answers or (out.with_suffix(".answers.jsonl") if out else None)
    with (
        progress(f"Asking {known.name}", unit="recordings") as show,
        stop_on_signals() as stop,
        closing(Journal(journal_file, known.asked())) if journal_file else nullcontext() as journal,
    ):
        options: dict[str, Any] = {"journal": journal, "stop": lambda: stop.requested, "on_progress": show}
        if out is None:
            compared = check_texts(recordings, known, max_wer=max_wer, min_confidence=min_confidence, **options)
        else:
            labelled = label_recordings(recordings, known, out, min_confidence=min_confidence, **options)
    if out is None:
        _show_check(source, compared, json_)
    else:
        _show_labels(out, labelled)


def _show_labels(out: Path, report: LabelReport) -> None:
    for reason, count in report.skipped.most_common():
        say(f"left out: {reason}: {count:,}", err=True)
    _show_failures(report.failed)
    _end_if_stopped(report.stopped)
    if not report.labelled:
        raise EdgeseqError(f"{out}: not written, for no recording got a label.")
    say(f"{out}: {len(report.labelled):,} recordings, {report.hours:.2f} hours", err=True)
    say(f"Next: edgeseq data check {out}", err=True)


def _show_check(source: Path, report: CheckReport, json_: bool) -> None:
    for one in report.mismatches:
        if json_:
            say(json.dumps(one.to_dict(), ensure_ascii=False))
        else:
            say(f"{one.recording.where}: {100 * one.wer:.0f} % of the words differ")
            say(f"    text:  {one.recording.text}\n    heard: {one.heard or '(nothing)'}")
    _show_failures(report.failed)
    say(
        f"{source}: {len(report.mismatches):,} of {report.n_compared:,} transcripts do not match; "
        f"of all words {100 * report.wer:.1f} % differ; {report.n_unsure:,} answers were unsure",
        err=True,
    )
    _end_if_stopped(report.stopped)


def _show_failures(failed: Sequence[str]) -> None:
    for failure in failed[:MAX_FAILURES]:
        say(f"no answer: {failure}", err=True)
    if len(failed) > MAX_FAILURES:
        say(f"no answer: ... and {len(failed) - MAX_FAILURES:,} more", err=True)


def _end_if_stopped(stopped: bool) -> None:
    if stopped:
        say("Stopped. To continue, run the same command again.", err=True)
        raise typer.Exit(EXIT_INTERRUPTED)
