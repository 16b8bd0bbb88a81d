"""The Free Spoken Digit Dataset: 3,000 recordings of ten digits by six speakers, 8 kHz, CC BY-SA 4.0."""

from __future__ import annotations

import re
import shutil
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

from edgeseq.data.corpora import ImportRequest, ImportResult, Progress, under_licence
from edgeseq.data.download import download
from edgeseq.data.manifest import Recording, write_manifest
from edgeseq.data.stored_sound import whole_file
from edgeseq.errors import AudioError, EdgeseqError, ManifestError, UsageError

NAME = "fsdd"
URL = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.zip"
LICENCE = "CC-BY-SA-4.0"
N_RECORDINGS = 3000
N_TEST = 5
"""Recordings 0 to 4 of each speaker and digit are the corpus's own test split."""

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
FILE_NAME = re.compile(r"(?P<digit>\d)_(?P<speaker>[^_/]+)_(?P<index>\d+)\.(wav|flac)$")

BY_HAND = (
    f"\n  Without a network: fetch {URL}\n  elsewhere, and run `edgeseq data import fsdd --from v1.0.10.zip` "
    "(a folder of the recordings will do as well)."
)


def import_corpus(request: ImportRequest) -> ImportResult:
    """Import what `import_recordings` does; the corpus has no parts to choose from, and no punctuation."""
    if request.parts:
        raise UsageError(f"{NAME} has no parts to choose from; it is small. Leave --parts out.")
    with request.stage("Fetching or reading the recordings", "bytes") as show:
        return import_recordings(request.out, request.source, on_progress=show)


def import_recordings(
    out: Path,
    source: Path | None = None,
    *,
    url: str = URL,
    on_progress: Progress = lambda done, total: None,
) -> ImportResult:
    """Write train.jsonl and test.jsonl to `out`.

    `source` is a folder that holds the recordings (they stay there) or the corpus's zip file (unpacked to
    `out`/recordings); without it, the corpus is downloaded. Raises EdgeseqError where recordings are missing
    or broken.
    """
    folder = _recordings_folder(out, source, url, on_progress)
    recordings = [_read(path) for path in _named_recordings(folder)]
    faults = [fault for fault in recordings if isinstance(fault, str)]
    if faults:
        shown = "\n".join(f"  {fault}" for fault in faults[:20])
        raise ManifestError(f"{folder}: {len(faults)} recordings cannot be read:\n{shown}{BY_HAND}")
    return write_splits([r for r in recordings if isinstance(r, Recording)], out, folder)


def write_splits(recordings: Iterable[Recording], out: Path, folder: Path) -> ImportResult:
    """Write the two manifests of the corpus's own split."""
    train: list[Recording] = []
    test: list[Recording] = []
    for recording in recordings:
        (test if _index(recording.path) < N_TEST else train).append(recording)
    write_manifest(out / "train.jsonl", under_licence(train, LICENCE))
    write_manifest(out / "test.jsonl", under_licence(test, LICENCE))
    return ImportResult({out / "train.jsonl": len(train), out / "test.jsonl": len(test)}, folder, LICENCE)


def _recordings_folder(out: Path, source: Path | None, url: str, on_progress: Progress) -> Path:
    if source is None:
        folder = out / "recordings"
        if folder.is_dir() and len(_names(folder)) == N_RECORDINGS:
            return folder
        archive = download(url, out / Path(url).name, on_progress=on_progress, hint=BY_HAND)
        folder = _unpack(archive, folder)
        archive.unlink()
        return folder
    if source.is_dir():
        nested = source / "recordings"
        return nested if nested.is_dir() else source
    if source.is_file():
        return _unpack(source, out / "recordings")
    raise EdgeseqError(f"{source}: no such folder or zip file.{BY_HAND}")


def _unpack(archive: Path, folder: Path) -> Path:
    """Unpack the recordings alone, whatever folders the archive keeps them in; `folder` appears whole."""
    half = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(half, ignore_errors=True)
    try:
        half.mkdir(parents=True)
        with zipfile.ZipFile(archive) as packed:
            for entry in packed.infolist():
                if FILE_NAME.fullmatch(Path(entry.filename).name):
                    (half / Path(entry.filename).name).write_bytes(packed.read(entry))
        _named_recordings(half, shown=archive)
        if folder.exists():
            shutil.rmtree(folder)
        return half.replace(folder)
    except (zipfile.BadZipFile, zlib.error, EOFError) as fault:
        raise EdgeseqError(f"{archive}: not a whole zip file ({fault}). Remove it and import again.") from None
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _names(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if FILE_NAME.fullmatch(path.name))


def _named_recordings(folder: Path, shown: Path | None = None) -> list[Path]:
    names = _names(folder)
    if len(names) != N_RECORDINGS:
        raise EdgeseqError(
            f"{shown or folder}: holds {len(names):,} recordings named DIGIT_SPEAKER_INDEX.wav or .flac; "
            f"the corpus has {N_RECORDINGS:,}.{BY_HAND}"
        )
    return names


def _index(path: Path) -> int:
    named = FILE_NAME.fullmatch(path.name)
    assert named is not None, "only files named so are listed"
    return int(named["index"])


def _read(path: Path) -> Recording | str:
    """Describe one recording, or say what is wrong with it."""
    named = FILE_NAME.fullmatch(path.name)
    assert named is not None, "only files named so are listed"
    try:
        seconds = whole_file(path).seconds
    except AudioError as fault:
        return str(fault).splitlines()[0].replace(str(path), path.name)
    return Recording(path, seconds, WORDS[int(named["digit"])], speaker=named["speaker"])
