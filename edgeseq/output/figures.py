"""Spoken numbers in figures: "three one four" is 314, "twenty five minutes" 25 minutes.

text2num does the numbers of seven languages. It keeps digits said one by one apart, so those are joined here, as telephone
numbers and codes are meant.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from edgeseq.errors import UsageError

LANGUAGES = ("de", "en", "es", "fr", "it", "nl", "pt")
SINGLE_DIGIT = re.compile(r"0*\d")
"""What one digit becomes; leading zeros stay with the digit behind them."""
SAID_O = re.compile(r"(?<=\d) oh(?= \d)|(?<=\d) o(?= \d)")
"""The letter O among digits is a zero: five oh five."""


def in_figures(words: Sequence[str], language: str = "en") -> str:
    """Write words as text with numbers in figures; digits said one by one are joined.

    Raises UsageError for a language that text2num does not know.

    >>> in_figures("call three one four and wait twenty five minutes".split())
    'call 314 and wait 25 minutes'
    """
    from text_to_num import alpha2digit

    check_language(language)
    text = alpha2digit(" ".join(words), language.partition("-")[0], threshold=0.0)
    if language.startswith("en"):
        text = SAID_O.sub(" 0", text)
    return _join_digits(text.split(" ")) if words else ""


def check_language(language: str) -> None:
    """Raise UsageError for a language (a code such as `en` or `en-GB`) whose numbers are not known."""
    if language.partition("-")[0] not in LANGUAGES:
        raise UsageError(
            f"numbers of the model's language {language!r} cannot be written in figures; wanted one of "
            f"{', '.join(LANGUAGES)}.\n  Leave out --figures."
        )


def _join_digits(parts: Sequence[str]) -> str:
    joined: list[str] = []
    is_run = False
    for part in parts:
        is_digit = SINGLE_DIGIT.fullmatch(part) is not None
        if is_digit and is_run:
            joined[-1] += part
        else:
            joined.append(part)
        is_run = is_digit
    return " ".join(joined)
