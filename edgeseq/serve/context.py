"""What every protocol of a server is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeseq.serve.hub import Hub


@dataclass(frozen=True)
class Context:
    """One server's parts."""

    hub: Hub
    save_audio: Path | None = None
    """folder for what clients say; None, the default, keeps nothing"""
