"""What Lhotse knows of recordings, as lines of manifests: its recipes' results, and its cuts and sets on disk."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgeseq.data.corpora import ImportRequest, ImportResult, choose_parts, given_source, missing, write_splits
from edgeseq.data.manifest import Recording
from edgeseq.errors import ManifestError

SET_NAME = re.compile(r"^(?P<before>.*?)[._-]?(?P<kind>cuts|recordings)[._-]?(?P<after>.*?)\.jsonl(\.gz)?$")
"""librispeech_cuts_train-clean-100.jsonl.gz, cuts.jsonl, train_recordings.jsonl.gz, ..."""

LICENCE = "that of its recordings"


def import_lhotse() -> Any:
    """Give the package lhotse; raises MissingExtraError where it is not installed."""
    os.environ.setdefault("TQDM_DISABLE", "1")  # its bars would be written over ours
    try:
        import lhotse
    except ModuleNotFoundError as fault:
        raise missing(fault.name or "lhotse") from fault
    return lhotse


@contextmanager
def warnings_noted(notes: list[str]) -> Iterator[None]:
    """Append to `notes` what is logged as a warning, which is how Lhotse's recipes report what they leave out."""

    class Note(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            notes.append(record.getMessage().splitlines()[0])

    root, handler = logging.getLogger(), Note(logging.WARNING)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)


def import_corpus(request: ImportRequest) -> ImportResult:
    """Write manifests of Lhotse's own: each file of cuts, or of recordings with the supervisions beside it, is a split."""
    lhotse = import_lhotse()
    source = given_source(request, "CUTS.jsonl.gz, or a folder of cuts or of recordings with supervisions")
    files = {name: path for path in _sets(source) if (name := split_name(path))}
    if not files:
        raise ManifestError(
            f"{source}: no Lhotse set of cuts or recordings.\n  Wanted: files such as train_cuts.jsonl.gz, or "
            "librispeech_recordings_train.jsonl.gz and librispeech_supervisions_train.jsonl.gz."
        )
    notes: list[str] = []
    splits = {}
    chosen = choose_parts(request, files, source)
    with request.stage("Reading with Lhotse", "sets") as show:
        for done, name in enumerate(chosen):
            show(done, len(chosen))
            splits[name] = _read_set(lhotse, files[name], notes)
    return write_splits(request, splits, source if source.is_dir() else source.parent, LICENCE, notes)


def _sets(source: Path) -> list[Path]:
    return sorted(source.glob("*.jsonl*")) if source.is_dir() else [source]


def split_name(path: Path) -> str:
    """Name the split that a file of Lhotse's holds, or "" where its name says that it is none.

    >>> [split_name(Path(name)) for name in ("libri_cuts_dev-clean.jsonl.gz", "train_cuts.jsonl", "cuts.jsonl", "x.jsonl")]
    ['dev-clean', 'train', 'all', '']
    """
    named = SET_NAME.fullmatch(path.name)
    return (named["after"] or named["before"] or "all") if named else ""


def _read_set(lhotse: Any, path: Path, notes: list[str]) -> list[Recording]:
    try:
        found = lhotse.load_manifest(path)
        if isinstance(found, lhotse.RecordingSet):
            beside = path.with_name(path.name.replace("recordings", "supervisions"))
            if not beside.is_file():
                raise ManifestError(f"{path}: its supervisions, {beside.name}, are not beside it. Copy them there.")
            found = lhotse.CutSet.from_manifests(recordings=found, supervisions=lhotse.load_manifest(beside))
        return [recording for cut in found for recording in _of_cut(lhotse, cut, path.parent, notes)]
    except ManifestError:
        raise
    except Exception as fault:  # whatever Lhotse meets in a file that is not what its name says
        raise ManifestError(f"{path}: Lhotse cannot read it ({_first_line(fault)}). Write it again with Lhotse.") from fault


def _of_cut(lhotse: Any, cut: Any, folder: Path, notes: list[str]) -> Iterator[Recording]:
    if not isinstance(cut, lhotse.cut.MonoCut | lhotse.cut.MultiCut) or not cut.has_recording or cut.recording.transforms:
        notes.append("cuts that are mixed, padded or transformed: save their audio first (CutSet.save_audios)")
        return
    for spoken in cut.supervisions:
        yield of_supervision(cut.recording, spoken, folder, cut.start)


def of_supervision(recording: Any, spoken: Any, folder: Path, start: float = 0.0) -> Recording:
    """Make a line of a Lhotse recording and a supervision of it, whose times count from `start`, in seconds.

    Raises ManifestError for sound that lies in no file of its own, or of which one channel of several is meant.
    """
    if len(recording.sources) != 1 or recording.sources[0].type != "file":
        raise ManifestError(
            f"recording {recording.id!r}: its sound is {recording.sources[0].type!r}, in {len(recording.sources)} sources.\n"
            "  Wanted: one file each; save them as files first (Lhotse: CutSet.save_audios). "
            "Shar archives are trained on as they are (docs/data.md)."
        )
    channels = spoken.channel if isinstance(spoken.channel, list) else [spoken.channel]
    if set(channels) != set(recording.channel_ids):
        raise ManifestError(
            f"recording {recording.id!r}: channel {channels} of {recording.channel_ids} is meant, but sound is read mono.\n"
            "  Write each channel to a file of its own first."
        )
    return Recording(
        find_file(Path(recording.sources[0].source), folder),
        spoken.duration,
        (spoken.text or "").strip(),
        round(start + spoken.start, 6),
        None if spoken.speaker is None else str(spoken.speaker),
    )


def find_file(path: Path, folder: Path) -> Path:
    """Find a file whose relative path may count from here, from `folder` or from a folder above it."""
    if path.is_absolute() or path.exists():
        return path
    return next((base / path for base in (folder, *folder.absolute().parents) if (base / path).exists()), path)


def _first_line(fault: Exception) -> str:
    lines = str(fault).strip().splitlines()
    return f"{type(fault).__name__}: {lines[0]}" if lines else type(fault).__name__
