"""Lhotse Shar archives: many recordings in a few large files, written by Lhotse, and an index that finds each by its bytes.

The index is a manifest of its own, `cuts.index`, whose lines name the archive and the bytes `within` it; what begins otherwise
Lhotse takes for a part of the archives. So whatever takes a manifest takes a folder of archives, reading a recording is one
seek, and nothing is unpacked.
"""

from __future__ import annotations

import gzip
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edgeseq.data.corpora import Progress
from edgeseq.data.lhotse_sets import import_lhotse
from edgeseq.data.manifest import SHAR_INDEX, Recording, write_manifest
from edgeseq.data.stored_sound import open_sound
from edgeseq.errors import ManifestError, UsageError
from edgeseq.untrusted import parse_json

CUTS = re.compile(r"cuts(?P<shard>\.\d+)?\.jsonl(\.gz)?")
FORMATS = ("flac", "wav")


def write_shar(
    recordings: Sequence[Recording],
    folder: Path,
    *,
    shard_size: int = 1000,
    audio_format: str = "flac",
    on_progress: Progress = lambda done, total: None,
) -> int:
    """Write recordings, each stretch by itself, to archives of `shard_size`, and their index; `folder` appears whole.

    Returns the number written. Raises UsageError where `folder` exists, ManifestError for a recording that cannot be read.
    """
    lhotse = import_lhotse()
    from lhotse.shar import SharWriter

    if folder.exists():
        raise UsageError(f"{folder}: exists already. Name a new folder, or remove it.")
    if audio_format not in FORMATS:
        raise UsageError(f"{audio_format!r} is not a format of these archives. Choose from: {', '.join(FORMATS)}.")
    half = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(half, ignore_errors=True)
    try:
        half.mkdir(parents=True)
        with SharWriter(half, {"recording": audio_format}, shard_size=shard_size) as writer:
            for number, recording in enumerate(recordings):
                on_progress(number, len(recordings))
                _write(lhotse, writer, recording, number)
        index_shar(half)
        half.replace(folder)
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return len(recordings)


def _write(lhotse: Any, writer: Any, recording: Recording, number: int) -> None:
    if recording.within is not None:
        raise ManifestError(f"{recording.path}: is an archive already. Wanted: a manifest of sound files.")
    try:
        with open_sound(recording):  # Lhotse tries many readers, and tells what the last one lacked
            pass
        name = f"{number:09d}"
        whole = lhotse.Recording.from_file(recording.path, recording_id=name)
        cut = whole.to_cut()
        if recording.offset or recording.duration < whole.duration:
            cut = cut.truncate(offset=recording.offset, duration=min(recording.duration, whole.duration - recording.offset))
        said = lhotse.SupervisionSegment(
            name,
            name,
            0,
            cut.duration,
            whole.channel_ids,
            recording.text,
            speaker=recording.speaker,
            custom=dict(recording.extra),
        )
        cut.id, cut.supervisions = name, [said]
        writer.write(cut)
    except OSError as fault:
        if fault.errno is not None and recording.path.is_file():
            raise  # the disk's
        raise _unreadable(recording, fault) from fault
    except Exception as fault:  # Lhotse's backends fail each in its own way
        raise _unreadable(recording, fault) from fault


def _unreadable(recording: Recording, fault: Exception) -> ManifestError:
    said = str(getattr(fault, "error_string", fault))  # soundfile's own words, without the file's name
    reason = next(iter(said.strip().splitlines()), type(fault).__name__).rstrip(".")
    return ManifestError(f"{recording.path}: cannot be read as sound ({reason}).\n  `edgeseq data check` lists all such files.")


def index_shar(folder: Path, on_progress: Progress = lambda done, total: None) -> int:
    """Write the index of a folder of Shar archives, from any program; returns the number of recordings in it.

    Each supervision of a cut is a recording. Raises ManifestError for archives that do not belong together or are cut short.
    """
    shards = sorted(path for path in folder.iterdir() if CUTS.fullmatch(path.name)) if folder.is_dir() else []
    if not shards:
        raise ManifestError(f"{folder}: no Shar archives. Wanted: cuts.000000.jsonl.gz, recording.000000.tar ...")
    recordings: list[Recording] = []
    for number, shard in enumerate(shards):
        on_progress(number, len(shards))
        recordings += _of_shard(shard)
    write_manifest(folder / SHAR_INDEX, recordings)
    return len(recordings)


def _of_shard(cuts: Path) -> Iterator[Recording]:
    named = CUTS.fullmatch(cuts.name)
    archive = cuts.with_name(f"recording{(named and named['shard']) or ''}.tar")
    if not archive.is_file():
        raise ManifestError(f"{archive}: is missing beside {cuts.name}. Copy it there (compressed archives cannot be used).")
    places = _places(archive)
    try:
        with gzip.open(cuts, "rb") if cuts.suffix == ".gz" else cuts.open("rb") as lines:
            for line in lines:
                cut = parse_json(line)
                if cut["id"] not in places:
                    raise ManifestError(
                        f"{archive}: holds no sound of {cut['id']!r}, which {cuts.name} lists. Write both again."
                    )
                yield from _of_cut(cut, archive, places[cut["id"]])
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError) as fault:
        raise ManifestError(
            f"{cuts}: cannot be read as Lhotse's cuts ({type(fault).__name__}: {fault}). Copy it again."
        ) from fault


def _of_cut(cut: dict[str, Any], archive: Path, within: tuple[int, int]) -> Iterator[Recording]:
    for spoken in cut.get("supervisions") or ():
        text = (spoken.get("text") or "").strip()
        if text:
            start = max(0.0, spoken["start"])
            duration = min(spoken["start"] + spoken["duration"], cut["duration"]) - start
            speaker = spoken.get("speaker")
            extra = spoken.get("custom") or {}
            named = None if speaker is None else str(speaker)
            yield Recording(archive, duration, text, start, named, within, extra=extra)


def _places(archive: Path) -> dict[str, tuple[int, int]]:
    """Find where in an archive each sound lies: id -> first byte, number of bytes."""
    places = {}
    try:
        with tarfile.open(archive, "r:") as members:
            for member in members:
                name, _, suffix = member.name.rpartition(".")
                if suffix not in ("json", "nodata", "nometa"):
                    places[name] = (member.offset_data, member.size)
                members.members = []  # type: ignore[attr-defined]  # which tarfile would keep
    except (tarfile.TarError, OSError) as fault:
        raise ManifestError(f"{archive}: damaged or cut short ({fault}). Copy it again.") from fault
    return places
