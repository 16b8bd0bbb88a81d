"""A phrase file to begin with, for each model one that it can understand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from edgeseq.errors import EdgeseqError
from edgeseq.phrases.importers import escaped

if TYPE_CHECKING:
    from edgeseq.model.metadata import CtcMetadata
    from edgeseq.tokens.table import TokenTable

LIGHTS = """intents:
  light: "[please] turn {state} the {room} light"
  dim: "dim the {room} light to {percent:10..100/10} percent"
  timer: "set a timer for {minutes:1..20} (minute | minutes)"
slots:
  state: ["on", "off"]
  room: [kitchen, bedroom, living room]
"""
DIGITS = """intents:
  short: "{first} {second} {third}"
  long: "{first} {second} {third} {fourth}"
slots:
""" + "".join(
    f"  {name}: [zero, one, two, three, four, five, six, seven, eight, nine]\n"
    for name in ("first", "second", "third", "fourth")
)
ENGLISH = (LIGHTS, DIGITS)
"""The first that a model can spell is its example."""
MOST_WORDS = 6
"""of a model that knows a few whole words, such as a taught one"""


def example_for(metadata: CtcMetadata) -> str:
    """Give the text of a phrase file that this model understands; empty where none is known."""
    tokens = metadata.token_table
    if tokens.whole_words:
        return _of_words(tokens)
    texts = ENGLISH if metadata.language.partition("-")[0] == "en" else ()
    return next((text for text in texts if _fits(text, tokens)), "")


def _of_words(tokens: TokenTable) -> str:
    words = tokens.whole_words[:MOST_WORDS]
    return 'intents:\n  command: "{word}"\nslots:\n  word:\n' + "".join(
        f"    - {json.dumps(escaped(word), ensure_ascii=False)}\n" for word in words
    )


def _fits(text: str, tokens: TokenTable) -> bool:
    """Whether the tokens spell all words of a phrase file, without guesses."""
    from edgeseq.phrases.file import parse_phrases
    from edgeseq.phrases.spelling import check_spelling

    try:
        return not check_spelling(parse_phrases(text, language=tokens.language), tokens)
    except EdgeseqError:
        return False
