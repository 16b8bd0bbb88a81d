"""Corpora that edgeseq can bring, each with a function that writes its manifests, one a split."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Protocol

from edgeseq.data.manifest import Recording, write_manifest
from edgeseq.errors import ManifestError, MissingExtraError, UsageError

Progress = Callable[[int, int], None]
"""Called with the amount done and wanted; the latter is 0 while it is not known."""

Stage = Callable[[str, str], AbstractContextManager[Progress]]
"""Opens a part of the work by what is done and the unit that it is counted in, and gives the function to count with."""

MODULES = {
    "librispeech": "public_corpora",
    "minilibrispeech": "public_corpora",
    "commonvoice": "public_corpora",
    "speechcommands": "public_corpora",
    "speechocean762": "public_corpora",
    "an4": "public_corpora",
    "ljspeech": "public_corpora",
    "vctk": "public_corpora",
    "aishell": "public_corpora",
    "fsdd": "fsdd",
    "kaldi": "kaldi",
    "nemo": "nemo",
    "lhotse": "lhotse_sets",
    "huggingface": "huggingface",
    "folder": "folder",
}
"""A corpus's name, and the module here that knows it; imported when it is asked for."""


@contextmanager
def untold(what: str, unit: str) -> Iterator[Progress]:
    """A stage that nobody watches."""
    yield lambda done, total: None


@dataclass(frozen=True)
class ImportRequest:
    """What is to be imported, and to where."""

    name: str
    out: Path
    """folder for the manifests, and for what is unpacked"""
    source: Path | None = None
    """a folder or archive that is here already; None: the corpus's public home"""
    parts: tuple[str, ...] = ()
    """of the corpus, by its own names; none: the usual ones"""
    words_only: bool = False
    """leave punctuation out of the texts"""
    stage: Stage = untold


@dataclass(frozen=True)
class ImportResult:
    """What an import gave."""

    manifests: Mapping[Path, int]
    """recordings of each manifest"""
    folder: Path
    """where the recordings lie"""
    licence: str
    left_out: tuple[str, ...] = ()
    """what is not in the manifests, and why"""


class ImportCorpus(Protocol):
    """Writes manifests of a corpus."""

    def __call__(self, request: ImportRequest) -> ImportResult:
        """Import the corpus; raises EdgeseqError where that cannot be."""


def importer(name: str) -> ImportCorpus:
    """Look up how a corpus is imported; raises UsageError for an unknown one."""
    if name not in MODULES:
        raise UsageError(f"{name!r} is not a corpus that edgeseq can import. Choose from: {', '.join(sorted(MODULES))}.")
    function: ImportCorpus = import_module(f"edgeseq.data.{MODULES[name]}").import_corpus
    return function


def given_source(request: ImportRequest, wanted: str) -> Path:
    """Say where the data is that a request names; raises UsageError where it names none or nothing that exists."""
    if request.source is None or not request.source.exists():
        seen = "no --from" if request.source is None else f"{request.source}, which does not exist"
        raise UsageError(f"Got {seen}. Wanted: edgeseq data import {request.name} --from {wanted}")
    return request.source


def missing(package: str) -> MissingExtraError:
    """Say that importing needs a package of the extra `corpora`."""
    return MissingExtraError(f"Importing needs {package}, which is not installed: pip install 'edgeseq[corpora]'")


def write_splits(
    request: ImportRequest,
    splits: Mapping[str, Iterable[Recording]],
    folder: Path,
    licence: str,
    left_out: Iterable[str] = (),
) -> ImportResult:
    """Write one manifest a split, named by it, its lines in the order of files.

    What has no text is left out and counted. Raises ManifestError where no split has a recording.
    """
    notes = list(left_out)
    manifests: dict[Path, int] = {}
    for split, recordings in splits.items():
        kept, n_wordless = _with_words(recordings, request.words_only)
        if n_wordless:
            notes.append(f"{split}: {n_wordless:,} recordings without a text")
        if not kept:
            notes.append(f"{split}: no manifest, for no recordings were found")
            continue
        path = request.out / f"{split}.jsonl"
        write_manifest(path, sorted(kept, key=lambda r: (str(r.path), r.offset)))
        manifests[path] = len(kept)
    if not manifests:
        listed = "".join(f"\n  {note}" for note, _ in Counter(notes).most_common(20))
        raise ManifestError(f"{folder}: no recording with a text in it was found.{listed}")
    return ImportResult(manifests, folder, licence, tuple(notes))


def under_licence(recordings: Iterable[Recording], licence: str) -> list[Recording]:
    """Let each line say under which licence it is, an SPDX identifier: recipes may allow some (`data.licenses`)."""
    return [replace(recording, extra={**recording.extra, "licence": licence}) for recording in recordings]


def _with_words(recordings: Iterable[Recording], words_only: bool) -> tuple[list[Recording], int]:
    kept, n_wordless = [], 0
    for recording in recordings:
        text = only_words(recording.text) if words_only else " ".join(recording.text.split())
        if text:
            kept.append(recording if text == recording.text else replace(recording, text=text))
        else:
            n_wordless += 1
    return kept, n_wordless


def only_words(text: str) -> str:
    """Leave out punctuation and symbols; apostrophes and hyphens inside words stay.

    >>> only_words("\u2018Well \u2013 it\u2019s ten-past,\u2019 he said.")
    "Well it's ten-past he said"
    """
    plain = unicodedata.normalize("NFC", text).replace("\u2019", "'").replace("\u2010", "-")
    spelled = "".join(c if unicodedata.category(c)[0] in "LMN" or c in "'-" else " " for c in plain)
    return " ".join(word for word in (word.strip("'-") for word in spelled.split()) if word)


def choose_parts(request: ImportRequest, found: Iterable[str], where: Path) -> list[str]:
    """Take the parts that a request names out of those found, or all; raises UsageError for one that is not there."""
    names = list(found)
    absent = [part for part in request.parts if part not in names]
    if absent:
        raise UsageError(f"{where}: holds no part {', '.join(absent)}. There are: {', '.join(names) or 'none'}.")
    return [name for name in names if not request.parts or name in request.parts]
