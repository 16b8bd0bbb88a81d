"""Texts as tokens spell them: one form for a letter, small letters by the language's own rules, nothing that cannot be seen."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

DOTLESS = ("tr", "az")
"""Languages in which the capital of ı is I, and that of i is İ."""

INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"  # control characters that are no white space
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)
"""What takes no place on paper: byte order marks, soft hyphens, directions, fillers, halves of characters."""
JOINERS = "\u200c\u200d"
"""They shape letters of Arabic and Indian scripts, and belong to words there."""
JOINED = ("Lo", "Mn", "Mc")
"""Categories of such letters and their marks."""


def normalize_text(text: str, language: str = "") -> str:
    """Bring a transcript into the form that tokens spell: Unicode NFC, lower case, single spaces, nothing invisible.

    `language` is a tag such as `tr`: Turkish and Azeri have small letters of their own.

    >>> normalize_text("  Three\u200b   ONE ")
    'three one'
    >>> normalize_text("IŞIK İSTANBUL", "tr"), normalize_text("IŞIK İSTANBUL")
    ('ışık istanbul', 'işik istanbul')
    """
    if not text.isascii() or not text.isprintable():
        text = _without_invisible(unicodedata.normalize("NFC", text))
    if language.lower().replace("_", "-").partition("-")[0] in DOTLESS:
        text = text.replace("I\u0307", "i").replace("I", "ı").replace("İ", "i")
    elif "İ" in text:
        text = text.replace("İ", "I")  # its small letter would be two: i, and a dot above that
    return " ".join(text.lower().split())


def invisible(text: str) -> Iterator[str]:
    """Name what in a text cannot be seen, each once: U+200B and the like."""
    for letter in dict.fromkeys(text[place] for place in _places(text)):
        name = unicodedata.name(letter, "half a character" if "\ud800" <= letter <= "\udfff" else "control character")
        yield f"U+{ord(letter):04X} ({name.lower()})"


def _places(text: str) -> Iterator[int]:
    for found in INVISIBLE.finditer(text):
        place = found.start()
        is_joiner = text[place] in JOINERS and place > 0 and unicodedata.category(text[place - 1]) in JOINED
        if not is_joiner:
            yield place


def _without_invisible(text: str) -> str:
    places = set(_places(text))
    return "".join(letter for place, letter in enumerate(text) if place not in places) if places else text
