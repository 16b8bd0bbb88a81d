"""Plain folders: recordings with a text file beside each, or with tables that list them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeseq.data.corpora import ImportRequest, ImportResult, choose_parts, given_source, write_splits
from edgeseq.data.manifest import Recording
from edgeseq.data.stored_sound import whole_file
from edgeseq.errors import AudioError, ManifestError

PLAIN = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au")
SOUND = (*PLAIN, ".m4a", ".mp4", ".aac", ".wma", ".webm", ".mka", ".caf", ".amr", ".3gp")
"""How names of sound end; what soundfile does not read (M4A and those after that) needs ffmpeg, also in training."""
TABLES = (".csv", ".tsv")
COMMAS = (",", "\t", ";", "|")
"""What may lie between the columns of a .csv; its first line tells."""
SPLITS = ("train", "valid", "validation", "dev", "test", "eval")
"""Folders of these names are splits; others are only folders."""
WHOLE = "all"

PATH_COLUMNS = ("path", "file", "file_name", "filename", "audio", "audio_filepath", "wav", "wav_filename", "audio_file")
TEXT_COLUMNS = ("text", "sentence", "transcription", "transcript")
SPEAKER_COLUMNS = ("speaker", "speaker_id", "client_id", "speaker_name")
PEOPLE_COLUMNS = {"age": ("age",), "gender": ("gender",), "accent": ("accents", "accent")}
"""What a manifest keeps of those who speak, by its key; error rates can then be given by group."""

MAX_FAULTS = 20


@dataclass(frozen=True)
class FolderItem:
    """A file, and what is said in it."""

    path: Path
    text: str
    speaker: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    """other keys of its line"""


def import_corpus(request: ImportRequest) -> ImportResult:
    """Write manifests of a folder: a split a table (CSV, TSV), or its recordings that have a .txt of the same name."""
    source = given_source(request, "a folder of recordings, or a table of them (CSV or TSV)")
    notes: list[str] = []
    if source.is_file():
        spoken = {source.stem: read_table(source)}
    elif tables := sorted(path for path in source.iterdir() if path.suffix in TABLES):
        spoken = {table.stem: read_table(table) for table in tables}
    else:
        spoken = _with_text_beside(source, notes)
    chosen = {name: spoken[name] for name in choose_parts(request, spoken, source)}
    faults: list[str] = []
    with request.stage("Reading the files' lengths", "files") as show:
        n_files, splits = sum(map(len, chosen.values())), {}
        for name, lines in chosen.items():
            splits[name] = list(measure(lines, faults))
            show(sum(map(len, splits.values())), n_files)
    if faults:
        more = f"\n  ... and {len(faults) - MAX_FAULTS} more" if len(faults) > MAX_FAULTS else ""
        listed = "".join(f"\n  {fault}" for fault in faults[:MAX_FAULTS])
        raise ManifestError(f"{source}: {len(faults)} files are missing or no sound:{listed}{more}\n  Replace or remove them.")
    return write_splits(request, splits, source if source.is_dir() else source.parent, "yours to say", notes)


def _with_text_beside(folder: Path, notes: list[str]) -> dict[str, list[FolderItem]]:
    splits: dict[str, list[FolderItem]] = {}
    n_alone = 0
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SOUND and not p.name.startswith(".")):
        text = path.with_suffix(".txt")
        if not text.is_file():
            n_alone += 1
            continue
        inner = path.relative_to(folder).parts[0]
        split = inner if inner in SPLITS else WHOLE
        splits.setdefault(split, []).append(FolderItem(path, read_text(text)))
    if n_alone:
        notes.append(f"{n_alone:,} sound files have no .txt beside them")
    if not splits:
        raise ManifestError(
            f"{folder}: {n_alone:,} sound files, none with its text. Wanted: a.txt beside a.wav, or a table (CSV, TSV) with "
            f"the columns path, text and maybe speaker.\n  Sound files are those that end in {' '.join(SOUND)}."
        )
    return splits


def read_text(path: Path) -> str:
    """Read a file in UTF-8; raises ManifestError for another encoding."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as fault:
        raise ManifestError(f"{path}: not text in UTF-8 ({fault.reason} at byte {fault.start}). Save it as UTF-8.") from None


def read_table(table: Path, folder: Path | None = None) -> list[FolderItem]:
    """Read a table with a line of column names, its paths counted from `folder`, by default its own.

    Raises ManifestError for a table without a column of paths or of texts.
    """
    folder = folder or table.parent
    columns, rows = _read_rows(table)
    path, text = _column(columns, PATH_COLUMNS), _column(columns, TEXT_COLUMNS)
    if path is None or text is None:
        raise ManifestError(
            f"{table}: its first line names the columns {', '.join(columns) or 'none'}.\n  Wanted: one of "
            f"{', '.join(PATH_COLUMNS)}, one of {', '.join(TEXT_COLUMNS)}, and maybe one of {', '.join(SPEAKER_COLUMNS)}."
        )
    speaker = _column(columns, SPEAKER_COLUMNS)
    people = {key: column for key, names in PEOPLE_COLUMNS.items() if (column := _column(columns, names))}
    return [
        FolderItem(
            folder / (row[path] or ""),
            row[text] or "",
            (row[speaker] or None) if speaker else None,
            {key: known for key, column in people.items() if (known := (row[column] or "").strip())},
        )
        for row in rows
    ]


def _read_rows(table: Path) -> tuple[Sequence[str], list[dict[str, str | None]]]:
    """Give the names of the columns, and the rows by them."""
    content = read_text(table)
    names = content.partition("\n")[0]
    comma = "\t" if table.suffix == ".tsv" else max(COMMAS, key=names.count)
    lines = io.StringIO(content, newline="")
    rows = csv.DictReader(lines, delimiter=comma, quoting=csv.QUOTE_NONE if comma == "\t" else csv.QUOTE_MINIMAL, strict=True)
    try:
        return rows.fieldnames or (), list(rows)
    except csv.Error as fault:
        raise ManifestError(
            f"{table}: not a table beyond line {rows.line_num} ({fault}). Is a quotation mark left open?"
        ) from None


def _column(columns: Sequence[str], names: Sequence[str]) -> str | None:
    """Give the first column that has one of the names, whatever its case."""
    return next((column for name in names for column in columns if column.strip().lower() == name), None)


def measure(lines: Iterable[FolderItem], faults: list[str]) -> Iterator[Recording]:
    """Read the files' lengths; what is not sound goes to `faults`."""
    for spoken in lines:
        if not spoken.path.is_file():
            faults.append(f"{spoken.path}: no such file")
            continue
        try:
            seconds = whole_file(spoken.path).seconds
        except AudioError as fault:
            faults.append(str(fault).splitlines()[0])
            continue
        yield Recording(spoken.path, seconds, spoken.text.strip(), speaker=spoken.speaker, extra=spoken.extra)


def measure_found(split: str, spoken: Sequence[FolderItem], where: str, notes: list[str]) -> list[Recording]:
    """Measure the files of a split that are there; `notes` counts those not in `where`, and names what is not sound."""
    there = [one for one in spoken if one.path.is_file()]
    if len(there) < len(spoken):
        notes.append(f"{split}: {len(spoken) - len(there):,} of {len(spoken):,} lines, whose files are not in {where}")
    return list(measure(there, notes))
