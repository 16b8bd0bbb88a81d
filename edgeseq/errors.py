"""What can go wrong, said so that a person can mend it.

Every message holds three things: what was seen, what was wanted, and what to do next. The command line prints
the message alone (no traceback) and ends with `exit_code`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeseq.events import Final


class EdgeseqError(Exception):
    """Something went wrong that the user, a file or a device can mend. The command ends with exit code 1."""

    exit_code = 1


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
    """A package of an optional extra is not installed."""
