"""NeMo's manifests, which are edgeseq's own except for where they are kept."""

from __future__ import annotations

from pathlib import Path

from edgeseq.data.corpora import ImportRequest, ImportResult, choose_parts, given_source, write_splits
from edgeseq.data.manifest import read_manifest
from edgeseq.errors import ManifestError


def import_corpus(request: ImportRequest) -> ImportResult:
    """Check NeMo's manifests and write them again, with paths relative to where they are then: each file is a split."""
    source = given_source(request, "MANIFEST.json, or a folder of them")
    files = {path.stem: path for path in (_manifests(source) if source.is_dir() else [source])}
    if not files:
        raise ManifestError(f"{source}: no manifest. Wanted: NeMo's, JSON lines in files named *.json or *.jsonl.")
    chosen = choose_parts(request, files, source)
    splits = {}
    with request.stage("Reading manifests", "manifests") as show:
        for done, name in enumerate(chosen):
            show(done, len(chosen))
            splits[name] = read_manifest(files[name], allow_empty_text=True)
    return write_splits(request, splits, source if source.is_dir() else source.parent, "that of its recordings")


def _manifests(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in (".json", ".jsonl"))
