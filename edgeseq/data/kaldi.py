"""Kaldi's data directories (wav.scp, text, utt2spk, segments), as Lhotse reads them."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

from edgeseq.data.corpora import ImportRequest, ImportResult, choose_parts, given_source, write_splits
from edgeseq.data.lhotse_sets import find_file, import_lhotse, of_supervision, warnings_noted
from edgeseq.data.manifest import Recording
from edgeseq.data.stored_sound import whole_file
from edgeseq.errors import AudioError, ManifestError

NEEDED = ("wav.scp", "text", "utt2spk")


def import_corpus(request: ImportRequest) -> ImportResult:
    """Write a manifest of each data directory: the folder given, or those in it, by their names."""
    import_lhotse()
    source = given_source(request, "a data directory (one with a wav.scp), or a folder of some")
    if (source / "wav.scp").is_file():
        folders = {source.resolve().name: source}
    else:
        folders = {path.parent.name: path.parent for path in sorted(source.glob("*/wav.scp"))}
    if not folders:
        raise ManifestError(f"{source}: no wav.scp in it or in the folders in it. Wanted: Kaldi's data directories.")
    notes: list[str] = []
    splits = {}
    chosen = choose_parts(request, folders, source)
    with request.stage("Reading with Lhotse", "directories") as show:
        for done, name in enumerate(chosen):
            show(done, len(chosen))
            splits[name] = _read(folders[name], notes)
    return write_splits(request, splits, source, "that of its recordings", notes)


def _read(folder: Path, notes: list[str]) -> list[Recording]:
    folder = folder.absolute()  # for Lhotse reads relative paths from where it runs
    for name in NEEDED:
        if not (folder / name).is_file():
            raise ManifestError(f"{folder}: {name} is missing. Wanted: {', '.join(NEEDED)}, and segments if there are some.")
    first = _first_file(folder / "wav.scp")
    found = find_file(first, folder)
    base = Path.cwd() if first.is_absolute() or first.exists() else Path(*found.parts[: -len(first.parts)])
    try:
        rate = _sample_rate(found)
        with contextlib.chdir(base), warnings_noted(notes):
            recordings, spoken = _load(folder, rate)
        by_id = {recording.id: recording for recording in recordings}
        return [of_supervision(by_id[one.recording_id], one, folder) for one in spoken]
    except (OSError, RuntimeError, ValueError, KeyError, AssertionError) as fault:
        reason = f"{type(fault).__name__}: {fault}".splitlines()[0]
        raise ManifestError(f"{folder}: Lhotse cannot read it ({reason}).\n  utils/validate_data_dir.sh says more.") from fault


def _load(folder: Path, rate: int) -> Any:
    from lhotse.kaldi import load_kaldi_data_dir

    recordings, spoken, _ = load_kaldi_data_dir(folder, rate)
    return recordings, spoken


def _first_file(wav_scp: Path) -> Path:
    """Give the first file that a wav.scp lists; raises ManifestError where a line is empty or a command."""
    lines = wav_scp.read_text(encoding="utf-8-sig").splitlines()
    for number, line in enumerate(lines, start=1):
        if len(line.split(maxsplit=1)) < 2 or line.rstrip().endswith("|"):
            raise ManifestError(
                f"{wav_scp}: line {number} is {line[:60]!r}. Wanted: an id and a file; commands ('... |') are not run.\n"
                "  Write their sound to files first (wav-copy scp:wav.scp ...)."
            )
    if not lines:
        raise ManifestError(f"{wav_scp}: lists no recordings. Wanted: a line for each, an id and a file.")
    return Path(lines[0].split(maxsplit=1)[1])


def _sample_rate(path: Path) -> int:
    try:
        return whole_file(path).rate
    except AudioError as fault:
        raise ManifestError(f"{fault}\n  Take it out of wav.scp or replace it.") from fault
