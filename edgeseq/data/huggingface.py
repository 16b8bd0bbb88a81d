"""Data sets of Hugging Face `datasets` that were saved to disk (`save_to_disk`)."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgeseq.data.corpora import ImportRequest, ImportResult, Progress, choose_parts, given_source, missing, write_splits
from edgeseq.data.folder import SPEAKER_COLUMNS, TEXT_COLUMNS
from edgeseq.data.manifest import Recording
from edgeseq.errors import AudioError, ManifestError
from edgeseq.sound.opening import open_sound
from edgeseq.whole_file import write_whole

LABEL_COLUMNS = (*TEXT_COLUMNS, "normalized_text", "label")
"""The first of these that there is gives the text; a class label its name."""


def import_corpus(request: ImportRequest) -> ImportResult:
    """Write a manifest of each split; sound that the data set holds in itself is written to files, as it is."""
    try:
        import datasets
    except ModuleNotFoundError as fault:
        raise missing(fault.name or "datasets") from fault
    source = given_source(request, "a folder that save_to_disk wrote")
    try:
        found = datasets.load_from_disk(str(source))
    except (OSError, ValueError) as fault:
        raise ManifestError(f"{source}: no data set on disk ({fault}).\n  Wanted: a folder that save_to_disk wrote.") from fault
    splits = dict(found) if isinstance(found, datasets.DatasetDict) else {str(found.split or "all"): found}
    recordings = {}
    for name in choose_parts(request, splits, source):
        audio, text, speaker = _columns(datasets, source, splits[name].features)
        kept = splits[name].select_columns([one for one in (audio, text, speaker) if one])
        rows = kept.cast_column(audio, datasets.Audio(decode=False))
        with request.stage(f"Reading {name}", "recordings") as show:
            folder = request.out / "recordings" / name
            recordings[name] = list(_read(rows, audio, text, speaker, folder, show))
    licence = next((str(one.info.license) for one in splits.values() if one.info.license), "that of its recordings")
    return write_splits(request, recordings, request.out / "recordings", licence)


def _columns(datasets: Any, source: Path, features: Any) -> tuple[str, str, str | None]:
    """Name the columns of sound, text and speaker; raises ManifestError where one of the first two is not there."""
    audio = next((name for name, kind in features.items() if isinstance(kind, datasets.Audio)), None)
    text = next((name for name in LABEL_COLUMNS if name in features), None)
    if audio is None or text is None:
        raise ManifestError(
            f"{source}: its columns are {', '.join(features)}.\n  Wanted: one of type Audio, and one named "
            f"{', '.join(LABEL_COLUMNS)}; rename_column, cast_column and save_to_disk make it so."
        )
    return audio, text, next((name for name in SPEAKER_COLUMNS if name in features), None)


def _read(rows: Any, audio: str, text: str, speaker: str | None, folder: Path, show: Progress) -> Iterator[Recording]:
    label = rows.features[text]
    for number, row in enumerate(rows):
        show(number, len(rows))
        path, seconds = _file(row[audio], folder / f"{number:08d}")
        said = label.int2str(row[text]) if hasattr(label, "int2str") else str(row[text] or "")
        yield Recording(path, seconds, said.strip(), speaker=str(row[speaker]) if speaker else None)


def _file(sound: dict[str, Any], stem: Path) -> tuple[Path, float]:
    """Give the file of a row's sound, written if it lies in the data set alone, and its length in seconds."""
    content: bytes | None = sound["bytes"]
    try:
        with open_sound(io.BytesIO(content) if content else sound["path"] or "", sound["path"] or stem.name) as file:
            seconds, ending = file.frames / file.samplerate, file.format.lower()
    except AudioError as fault:
        raise ManifestError(f"{str(fault).splitlines()[0]} Leave the row out.") from fault
    path = Path(sound["path"] or "")
    if content:
        path = stem.with_suffix(f".{ending if ending != 'raw' else 'wav'}")
        if not path.is_file():
            write_whole(path, content)
    return path, seconds
