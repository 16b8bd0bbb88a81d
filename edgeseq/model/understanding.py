"""What a model understands, in words for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeseq.model.metadata import CtcMetadata
    from edgeseq.tokens.table import TokenTable

MOST_WORDS = 40
"""that are listed"""


def understanding(metadata: CtcMetadata) -> str:
    """Say which words a model can write or, where it may write any, what it was trained on; begins with a verb."""
    tokens = metadata.token_table
    knows_words = tokens.whole_words or tokens.kind == "phones"
    return f"understands {words_of(tokens)}" if knows_words else f"was trained on: {metadata.data}"


def words_of(tokens: TokenTable) -> str:
    """List the words that tokens can write, or say how many there are, or of which letters."""
    if tokens.whole_words:
        more = len(tokens.whole_words) - MOST_WORDS
        return ", ".join(tokens.whole_words[:MOST_WORDS]) + (f" and {more:,} more" if more > 0 else "")
    if tokens.kind == "phones":
        return f"{len(tokens.pronunciations):,} words"
    return f"words of the letters {' '.join(sorted(tokens.letters))}"
