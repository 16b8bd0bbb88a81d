"""What a model understands, in a line for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeseq.cli.display import fit_start
from edgeseq.errors import printable

if TYPE_CHECKING:
    from edgeseq.model.metadata import CtcMetadata
    from edgeseq.tokens.table import TokenTable

LINE = 79
"""Columns: a line of a terminal of 80 that is not wrapped."""
MOST_WORDS = 40
"""that are listed"""


def understands(metadata: CtcMetadata, line: int = LINE) -> str:
    """Say which words a model can write, or where it may write any, what it was trained on; cut to `line` columns."""
    tokens = metadata.token_table
    knows_words = tokens.whole_words or tokens.kind == "phones"
    what = f" understands {words_of(tokens)}" if knows_words else f", trained on: {metadata.data}"
    return fit_start(printable(metadata.name + what), line)


def words_of(tokens: TokenTable) -> str:
    """List the words that tokens can write, or say how many there are, or of which letters."""
    if tokens.whole_words:
        more = len(tokens.whole_words) - MOST_WORDS
        return ", ".join(tokens.whole_words[:MOST_WORDS]) + (f" and {more:,} more" if more > 0 else "")
    if tokens.kind == "phones":
        return f"{len(tokens.pronunciations):,} words"
    return f"words of the letters {' '.join(sorted(tokens.letters))}"
