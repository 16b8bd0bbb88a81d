"""What a model understands, in a line for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeseq.cli.display import fit_start
from edgeseq.errors import printable

if TYPE_CHECKING:
    from edgeseq.model.metadata import CtcMetadata

LINE = 79
"""Columns: a line of a terminal of 80 that is not wrapped."""
MOST_WORDS = 40
"""that are listed"""


def understands(metadata: CtcMetadata, line: int = LINE) -> str:
    """Say which words a model can write, cut to `line` columns."""
    tokens = metadata.token_table
    if tokens.whole_words:
        listed = ", ".join(tokens.whole_words[:MOST_WORDS])
        more = f" and {len(tokens.whole_words) - MOST_WORDS:,} more" if len(tokens.whole_words) > MOST_WORDS else ""
        what = f"{listed}{more}"
    elif tokens.kind == "phones":
        what = f"{len(tokens.pronunciations):,} words"
    else:
        what = f"words of the letters {' '.join(sorted(tokens.letters))}"
    return fit_start(printable(f"{metadata.name} understands {what}"), line)
