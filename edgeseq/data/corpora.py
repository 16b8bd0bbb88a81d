"""Corpora that edgeseq can bring: one module each, with an `import_corpus` of this form."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

from edgeseq.errors import UsageError

Progress = Callable[[int, int], None]
"""Called with the amount done and wanted; the latter is 0 while it is not known."""

MODULES = {"fsdd": "edgeseq.data.fsdd"}
"""A corpus's name, and the module that knows it; imported when it is asked for."""


@dataclass(frozen=True)
class Imported:
    """What an import gave."""

    manifests: Mapping[Path, int]
    """recordings of each manifest"""
    folder: Path
    """where the recordings lie"""
    licence: str


class ImportCorpus(Protocol):
    """Writes manifests of a corpus to `out`, from `source` (a folder or archive) or from its public home."""

    def __call__(self, out: Path, source: Path | None = None, *, on_progress: Progress = ...) -> Imported:
        """Import the corpus; raises EdgeseqError where that cannot be."""


def importer(name: str) -> ImportCorpus:
    """Look up how a corpus is imported; raises UsageError for an unknown one."""
    if name not in MODULES:
        raise UsageError(f"{name!r} is no corpus that edgeseq can import. Choose from: {', '.join(MODULES)}.")
    function: ImportCorpus = import_module(MODULES[name]).import_corpus
    return function
