"""What every protocol of a server is given."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from edgeseq.serve.client_phrases import PhraseCompiler
from edgeseq.serve.hub import Hub
from edgeseq.serve.pace import Paces


@dataclass(frozen=True)
class Context:
    """One server's parts."""

    hub: Hub
    fingerprint: str | None = None
    """of the certificate, SHA-256, where https is spoken with one that was made here"""

    @property
    def save_audio(self) -> Path | None:
        """Folder for what clients say; None, the default, keeps nothing."""
        return self.hub.save_audio

    @cached_property
    def paces(self) -> Paces:
        """How fast addresses may ask."""
        return Paces(self.hub.limits)

    @cached_property
    def phrases(self) -> PhraseCompiler:
        """Compiles clients' own phrases."""
        return PhraseCompiler(self.hub.limits)
