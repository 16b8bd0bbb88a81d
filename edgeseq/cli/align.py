"""`edgeseq data align`: where the tokens of known texts are said."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeseq.cli.printing import say
from edgeseq.cli.progress import progress
from edgeseq.cli.stopping import stop_on_signals
from edgeseq.errors import EdgeseqError, UsageError

EXIT_INTERRUPTED = 130
MAX_FAILURES = 5
"""Recordings that could not be read and are shown."""


def align(
    manifest: Annotated[Path, typer.Argument(help="Recordings with texts.", metavar="MANIFEST")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The manifest to write.")],
    model: Annotated[str, typer.Option(metavar="NAME_OR_FILE", help="The model that hears where tokens are said.")],
    max_errors: Annotated[
        float, typer.Option(min=0, max=100, help="Leave out recordings of which the model misses more, in percent of tokens.")
    ] = 85.0,
) -> None:
    """Find where each token of known texts is said.

    The manifest gets `segments`: one for each phone or letter, as long as the rows in which the model hears it. The
    task `frames` trains on them by cross entropy. A network that begins that way learns CTC from little data in a fraction
    of the steps. The model may be weak: it is given the text and only finds the places.

    Example: edgeseq data align mine/train.jsonl --model english-small --out mine/aligned.jsonl
    """
    from edgeseq.data.align import align_recordings
    from edgeseq.data.manifest import find_data, read_manifest
    from edgeseq.models import load_recognizer

    if out.resolve() == manifest.resolve():
        raise UsageError(f"{out}: is what --out would overwrite. Name another file.")
    recordings = read_manifest(find_data(manifest))
    network = load_recognizer(model).network
    with progress("Aligning", unit="recordings") as show, stop_on_signals() as stop:
        report = align_recordings(
            recordings, network, out, max_errors=max_errors / 100, stop=lambda: stop.requested, on_progress=show
        )
    for reason, count in report.left_out.most_common():
        say(f"left out: {reason}: {count:,}", err=True)
    for failure in report.failed[:MAX_FAILURES]:
        say(f"cannot be read: {failure}", err=True)
    if len(report.failed) > MAX_FAILURES:
        say(f"cannot be read: ... and {len(report.failed) - MAX_FAILURES:,} more", err=True)
    if not report.aligned:
        raise EdgeseqError(f"{out}: not written: no recording could be aligned.")
    say(f"{out}: {len(report.aligned):,} recordings, {report.hours:.2f} hours", err=True)
    if report.stopped:
        say("Stopped before the end; the manifest holds what was aligned.", err=True)
        raise typer.Exit(EXIT_INTERRUPTED)
