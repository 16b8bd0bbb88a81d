"""Which of a server's models a client means, by name or by language."""

from __future__ import annotations

from edgeseq.errors import UsageError
from edgeseq.serve.hub import Hub
from edgeseq.stream.recognizer import Recognizer

ANY = ("auto", "detect", "multi", "und", "none", "null")
"""What clients send as a language where they want none in particular."""


def choose_model(hub: Hub, name: str | None, language: str | None) -> Recognizer:
    """Find a model by its name, or the first of a language, or the first.

    Languages are compared by the part before the first hyphen. Raises UsageError that says what there is.
    """
    candidates = [hub.find(name[:200])] if name else list(hub.recognizers.values())
    found = [recognizer for recognizer in candidates if speaks(recognizer, language)]
    if not found:
        spoken = ", ".join(dict.fromkeys(recognizer.metadata.language for recognizer in candidates))
        raise UsageError(
            f"no model {'of this name' if name else 'here'} understands '{(language or '')[:40]}'. There is: {spoken}."
        )
    return found[0]


def speaks(recognizer: Recognizer, language: str | None) -> bool:
    """Whether a model is one of a language; None or nothing is any."""
    return not language or language.strip().lower() in ANY or _main(recognizer.metadata.language) == _main(language)


def _main(language: str) -> str:
    """Give what counts of a language tag.

    >>> _main("en-US"), _main("x-tones")
    ('en', 'x-tones')
    """
    first = language.lower().replace("_", "-").partition("-")[0]
    return language.lower() if first == "x" else first
