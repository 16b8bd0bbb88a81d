"""`edgeseq report` and `edgeseq explain`: pages that show a training, or what a model makes of a recording."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeseq.cli.options import ModelOption
from edgeseq.cli.printing import say
from edgeseq.cli.progress import busy, progress
from edgeseq.errors import MissingExtraError, UsageError
from edgeseq.model.default import DEFAULT_MODEL

if TYPE_CHECKING:
    from edgeseq.report.explaining import ExplainedClip

REPORT = "report.html"


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, finished or not, such as runs/digits-en.")],
    out: Annotated[Path | None, typer.Option(metavar="FILE.html", help="Where to write.  [default: RUN/report.html]")] = None,
    clips: Annotated[int, typer.Option(min=1, help="Recordings of each manifest to hear, at most.")] = 300,
    examples: Annotated[int, typer.Option(min=0, help="Utterances to show, the worst first.")] = 8,
) -> None:
    """Write the page that shows a training.

    It has curves, error rates, confusions, and the worst utterances to listen to and look at.

    `edgeseq train` makes it at its end. The page is one file that fetches nothing.

    Example: edgeseq report runs/digits-en
    """
    say(write_report(run, out or run / REPORT, clips, examples))


def write_report(run: Path, out: Path, clips: int = 300, examples: int = 8) -> Path:
    """Make the report of a run, with progress; returns its path."""
    try:
        with busy("loading torch"):
            from edgeseq.report.page import write_report as write
            from edgeseq.report.run import read_run
    except ModuleNotFoundError as fault:
        raise _missing(fault) from fault
    seen = read_run(run)
    with progress("Hearing for the report", unit="recordings") as show:
        write(seen, out, clips=clips, examples=examples, on_progress=show)
    return out


def explain(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Recordings.")],
    model: ModelOption = DEFAULT_MODEL,
    run: Annotated[Path | None, typer.Option(help="Take the weights of a run or a checkpoint instead of a model's.")] = None,
    text: Annotated[str | None, typer.Option(help="What is said, to mark what was misunderstood.")] = None,
    start: Annotated[float, typer.Option(min=0, help="Second to begin at; 20 s are shown.")] = 0.0,
    out: Annotated[Path, typer.Option(metavar="FILE", help="A page (.html) or, of one recording, a picture (.png).")] = Path(
        "explained.html"
    ),
) -> None:
    """Show what a model makes of recordings.

    The page or picture has the spectrogram, the saliency of each word, emissions, gates and states.

    Saliency, gates and states need the weights: of a run (--run), or weights.safetensors beside the model's file.

    \b
    Examples:
      edgeseq explain demo/number.flac
      edgeseq explain a.wav --text "three one four" --out a.png
    """
    if len(files) > 1 and (text is not None or out.suffix.lower() == ".png"):
        raise UsageError("--text and a picture are for a single recording; several make a page (.html).")
    if out.suffix.lower() not in (".html", ".png"):
        raise UsageError(f"--out {out}: wanted a name that ends in .html or .png.")
    try:
        with busy("loading torch"):
            from edgeseq.report import explaining
    except ModuleNotFoundError as fault:
        raise _missing(fault) from fault
    explainer = explaining.of_weights(run) if run is not None else explaining.of_model(model)
    explained: list[ExplainedClip] = [explainer.explain(path, text, start) for path in files]
    explaining.write(out, explained, explainer.name)
    for one in explained:
        say(f"{one.name}: {one.text or '(nothing)'}", err=True)
    say(out)


def _missing(fault: ModuleNotFoundError) -> MissingExtraError:
    return MissingExtraError(f"This needs {fault.name}, which is not installed: pip install 'edgeseq[train]'")
