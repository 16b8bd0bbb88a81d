"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeseq.cli.display import Format
from edgeseq.errors import UsageError

if TYPE_CHECKING:
    from edgeseq.model.metadata import CtcMetadata
    from edgeseq.phrases.search import PhraseDecoder

DEVICE_VARIABLE = "EDGESEQ_DEVICE"
"""Environment variable: the microphone where no --device names one."""
ModelOption = Annotated[
    str, typer.Option("--model", "-m", metavar="MODEL", help="A model's name, folder or file; see $EDGESEQ_DEFAULT_MODEL.")
]
BitsOption = Annotated[
    int | None,
    typer.Option("--bits", metavar="8|4|32", help="Which file of the model's folder.  [default: 8]"),
]
RateOption = Annotated[
    int | None,
    typer.Option(
        "--rate",
        min=1000,
        max=1_000_000,
        metavar="HZ",
        help="Sample rate of raw samples on standard input.  [default: the model's]",
    ),
]
FormatOption = Annotated[Format, typer.Option("--format", "-f", help="Plain text, JSON lines, or subtitles.")]
FiguresOption = Annotated[bool, typer.Option("--figures", help="Write numbers in figures: three one four is 314.")]
EndpointOption = Annotated[float, typer.Option("--endpoint-seconds", metavar="SECONDS", help="Silence that ends an utterance.")]
CompleteOption = Annotated[
    float, typer.Option("--complete-seconds", metavar="SECONDS", help="Silence that ends a complete phrase.")
]
LongestOption = Annotated[float, typer.Option("--longest-seconds", metavar="SECONDS", help="Longest utterance.")]
PhrasesOption = Annotated[
    Path | None,
    typer.Option("--phrases", metavar="FILE", help="Understand these phrases and nothing else (see `edgeseq phrases`)."),
]
ThresholdOption = Annotated[
    float | None,
    typer.Option("--phrase-threshold", metavar="NATS", help="Lowest score to accept, 0 or less.  [default: the file's]"),
]
RejectOption = Annotated[
    bool, typer.Option("--reject/--no-reject", help="If no phrase was said, write nothing, or the nearest phrase.")
]
JobsOption = Annotated[
    int | None,
    typer.Option("--jobs", "-j", min=1, metavar="N", help="Spread the files over N processes by Ray, here or at $RAY_ADDRESS."),
]
JournalOption = Annotated[
    Path | None,
    typer.Option("--journal", metavar="FILE.jsonl", help="Record finished files there; the same command resumes from it."),
]


def speller(figures: bool, language: str) -> Callable[[Sequence[str]], str]:
    """Choose how words become text. Raises UsageError for a language whose numbers are not known."""
    if not figures:
        return " ".join
    from edgeseq.output.figures import check_language, in_figures

    check_language(language)
    return lambda words: in_figures(words, language)


def phrase_decoder(
    path: Path | None, metadata: CtcMetadata, threshold: float | None, reject: bool = True
) -> PhraseDecoder | None:
    """Make the decoder that --phrases asks for, None without. Raises UsageError for options that need it."""
    if path is None:
        if threshold is not None or not reject:
            raise UsageError("--phrase-threshold and --no-reject are about phrases; give --phrases FILE, too.")
        return None
    from edgeseq.phrases import load_phrases

    return load_phrases(path, metadata, threshold=threshold, reject=reject)
