"""With what a command hears: plain values, from which any process can make the recognizer."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseq.cli.options import phrase_decoder
from edgeseq.cli.search_options import Search

if TYPE_CHECKING:
    from edgeseq.stream.recognizer import Recognizer


@dataclass(frozen=True)
class Hearing:
    """A model, and how words are searched for."""

    model: str
    bits: int | None
    search: Search
    phrases: Path | None = None
    phrase_threshold: float | None = None
    reject: bool = True

    def recognizer(self) -> Recognizer:
        """Load the model. Raises UsageError, ModelError and what the files of the search raise."""
        from edgeseq.models import load_recognizer

        recognizer = load_recognizer(self.model, self.bits)
        metadata = recognizer.metadata
        decoder = self.search.decoder(metadata, self.phrases) or phrase_decoder(
            self.phrases, metadata, self.phrase_threshold, self.reject
        )
        return recognizer if decoder is None else recognizer.with_decoder(decoder)

    def asked(self, **more: Any) -> dict[str, Any]:
        """Say for a journal what makes results what they are: files by what they hold, options that are given."""
        from edgeseq.data.jobs import describe
        from edgeseq.models import find_model

        own = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in ("model", "bits", "search")}
        searched = {one.name: getattr(self.search, one.name) for one in fields(self.search)}
        given = {name: value for name, value in (own | searched | more).items() if value not in (None, [])}
        return describe(model=find_model(self.model, self.bits), **given)
