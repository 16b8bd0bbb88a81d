"""What can go wrong, said so that a person can fix it.

Every message holds three things: what was seen, what was wanted, and what to do next. The command line prints
the message alone (no traceback) and ends with `exit_code`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeseq.events import Final

CLONE = Path(__file__).parents[1]
"""The checkout that edgeseq runs from, if it does."""
RELEASED_EXTRA = re.compile(r"pip install 'edgeseq(\[[\w,]+\])'")


def printable(text: str, keep: str = "") -> str:
    """Replace what no terminal and no file of text should get: control characters, and halves of characters.

    They come from strangers: names in other encodings, texts of corpora and clients. `keep` lists what stays.

    >>> ascii(printable("caf\\udce9\\x1b[2J.wav"))
    "'caf\\\\ufffd\\\\ufffd[2J.wav'"
    """
    if text.isprintable():
        return text
    shown = (c if c.isprintable() or c in keep or _is_mark(c) else "\N{REPLACEMENT CHARACTER}" for c in text)
    return "".join(shown)


def _is_mark(letter: str) -> bool:
    """Tell joiners within words (zero width, in Persian and Indian scripts and emoji) and wide spaces from controls."""
    return letter in "\u200c\u200d\u00ad" or (letter.isspace() and letter > "\x7f" and letter not in "\x85\u2028\u2029")


class EdgeseqError(Exception):
    """Something went wrong that the user, a file or a device can fix. The command ends with exit code 1."""

    exit_code = 1

    def __str__(self) -> str:
        """Give the message, fit to be printed whatever the names in it."""
        return printable(super().__str__(), keep="\n\t")


class UsageError(EdgeseqError):
    """An option, argument or name was wrong. The command ends with exit code 2."""

    exit_code = 2


class AudioError(EdgeseqError):
    """A file, pipe or program did not give usable sound."""


class CutShortError(AudioError):
    """A recording broke off; `final` holds the words of what was there, once a recognizer has heard it."""

    final: Final | None = None


class DeviceError(EdgeseqError):
    """A microphone or the sound system failed."""


class ModelError(EdgeseqError):
    """A model file cannot be used."""


class StateError(EdgeseqError):
    """A saved state is not one, or belongs to another model or decoder."""


class ManifestError(EdgeseqError):
    """A manifest, or something it names, is broken."""


class RecipeError(EdgeseqError):
    """A recipe has faults; the message lists all of them."""

    exit_code = 2


class LanguageModelError(EdgeseqError):
    """A language model, or the text for one, cannot be used."""


class TeacherError(EdgeseqError):
    """A program that writes down speech failed, or answered what cannot be read."""


class WordListError(EdgeseqError):
    """A lexicon or a list of hotwords has faults."""


class ExportError(EdgeseqError):
    """An exported graph does not do what the trained network does; nothing was written."""


class MissingExtraError(EdgeseqError):
    """A package of an optional extra is not installed; in a clone the message also says how to install the clone's own."""

    def __init__(self, message: str) -> None:
        """Take a message that holds the command for a release: pip install 'edgeseq[EXTRA]'."""
        wanted = RELEASED_EXTRA.search(message) if (CLONE / "pyproject.toml").is_file() else None
        super().__init__(message if wanted is None else f"{message}\n  In this clone: pip install -e '{CLONE}{wanted[1]}'")
