"""Manifests: JSON lines that list recordings, as NeMo writes them.

One line, one recording: `audio_filepath` (relative to the manifest), `duration` in seconds, `text`, and
optionally `offset` in seconds, `speaker`, and whatever else a corpus knows (`intent`, `slots`, ...), which is
kept. In place of sound a line may hold symbols or values (`units.py`).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from string import whitespace
from typing import Any

from edgeseq.data import segments, units
from edgeseq.data.segments import Segment
from edgeseq.data.units import Units
from edgeseq.errors import ManifestError
from edgeseq.untrusted import MOST_EXACT, is_number, parse_json, printable
from edgeseq.whole_file import written_whole

BYTE_ORDER_MARK = "\ufeff"
"""Some editors put one before a text, and joined files have it in their middle."""

MOST_SECONDS = 1e9
"""of a recording: thirty years; more is a broken manifest"""
MAX_FAULTS = 20
"""Faults of one manifest that a message lists; the rest is counted."""

SHAR_INDEX = "cuts.index"
"""The manifest in a folder of Lhotse Shar archives."""

DATA_VARIABLE = "EDGESEQ_DATA"
"""Environment variable: a folder that holds corpora, one folder each."""

SYNTH = "edgeseq data synth --text recipes"
BRINGERS = {
    **{
        name: f"edgeseq data import {name}"
        for name in (
            "fsdd",
            "librispeech",
            "minilibrispeech",
            "speechcommands",
            "speechocean762",
            "an4",
            "ljspeech",
            "vctk",
            "aishell",
        )
    },
    "synth-digits": f"{SYNTH}/digits.txt --per-text 600 --out data/synth-digits",
    "synth-strings": f"{SYNTH}/digit-strings.txt --per-text 12 --out data/synth-strings",
    "wakeword": f"{SYNTH}/wakeword.txt --per-text 400 --rate 16000 --out data/wakeword",
    "wakeword-others": f"{SYNTH}/wakeword-others.txt --per-text 30 --rate 16000 --out data/wakeword-others",
    "librispeech-digits": "edgeseq data cut LIBRISPEECH_MANIFEST --out data/librispeech-digits "
    "--words zero,one,two,three,four,five,six,seven,eight,nine",
}
"""The command that brings a corpus, by the name of its folder."""

LIBRISPEECH_PART = re.compile(r"(train|dev|test)-(clean|other)(-\d+)?")
LEXICON = "lexicon.txt"


@dataclass(frozen=True)
class Recording:
    """One recording, or a stretch of one, and what is said in it."""

    path: Path
    """the audio file"""
    duration: float
    """seconds"""
    text: str
    offset: float = 0.0
    """seconds from the beginning of the file"""
    speaker: str | None = None
    within: tuple[int, int] | None = None
    """first byte and number of bytes of the sound file in `path`, where that is an archive (Lhotse Shar)"""
    segments: tuple[Segment, ...] | None = None
    """stretches with labels, for tasks that label them; None where the line has none, () where it says that there are none"""
    units: Units | None = None
    """symbols or values; None for sound"""
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """the line's other keys, as they were"""

    @property
    def where(self) -> str:
        """Its file, where in an archive that lies, and the stretch of it, for messages.

        >>> Recording(Path("a.tar"), 2.5, "hello", offset=1.0, within=(512, 9000)).where
        'a.tar at byte 512 (1.00 to 3.50 s)'
        """
        if self.units is not None and self.units.content is not None:
            return f"{self.path}, {self.units.kind} {self.units.content!r:.40}"
        archived = f" at byte {self.within[0]}" if self.within else ""
        stretch = f" ({self.offset:.2f} to {self.offset + self.duration:.2f} s)" if self.offset else ""
        return f"{self.path}{archived}{stretch}"


def read_manifest(
    path: str | os.PathLike[str], *, allow_empty_text: bool = False, check_files: bool = True, hint: str = ""
) -> list[Recording]:
    """List the recordings of a manifest, paths resolved against its folder; blank lines are skipped.

    Raises ManifestError that names every fault at once: lines that are not JSON objects, keys that
    are missing or of a wrong type, empty texts (unless `allow_empty_text`: nothing is said there, or only
    the `intent` is known), audio files that are
    not there (unless `check_files` is off). `hint` is a command that brings the data; known corpora have their own.
    """
    path = Path(path)
    lines = scan_manifest(path, allow_empty_text=allow_empty_text, check_files=check_files, hint=hint)
    return [recording for _, recording in lines]


def scan_manifest(
    path: Path, *, allow_empty_text: bool = False, check_files: bool = True, hint: str = ""
) -> Iterator[tuple[int, Recording]]:
    """Read a manifest line by line: the byte at which each line begins, and its recording.

    Raises ManifestError as `read_manifest` does, behind the last line.
    """
    faults: list[str] = []
    n_recordings = n_faults = n_missing = begin = 0
    checked: Path | None = None
    for number, (begin, line) in enumerate(_read_lines(path, hint), start=1):
        if not line.strip(BYTE_ORDER_MARK + whitespace):
            continue
        try:
            recording = parse_line(line, path.parent, allow_empty_text)
        except ManifestError as fault:
            of_line = str(fault).split("\n")
            faults += [f"line {number}: {what}" for what in of_line][: MAX_FAULTS - len(faults)]
            n_faults += len(of_line)
            continue
        if check_files and recording.path != checked and not _is_there(recording):
            kind = "audio file" if recording.units is None else "file"
            faults += [f"line {number}: no {kind} {recording.path}"][: MAX_FAULTS - len(faults)]
            n_faults += 1
            n_missing += 1
        else:
            checked = recording.path  # archives are named line after line
        n_recordings += 1
        yield begin, recording
    if n_faults:
        raise ManifestError(_describe_faults(path, faults, n_faults, n_missing, hint))
    if not n_recordings:
        raise ManifestError(f"{path}: lists no recordings. Wanted: one JSON line for each.{_advice(path, hint)}")


def write_manifest(path: str | os.PathLike[str], recordings: Iterable[Recording]) -> None:
    """Write a manifest, audio paths relative to its folder; the file appears whole or not at all.

    Bytes of a name that are not text (another encoding) are escaped as JSON does, and read back as they were.
    """
    path = Path(path)
    folder = os.path.realpath(path.parent)
    lines = (json.dumps(_as_line(recording, folder), ensure_ascii=False) + "\n" for recording in recordings)
    with written_whole(path) as half, half.open("w", encoding="utf-8", errors="backslashreplace") as file:
        file.writelines(lines)


def find_data(name: str | os.PathLike[str]) -> Path:
    """Find a manifest such as `fsdd/train.jsonl`, or a folder of Shar archives: in ./data, in $EDGESEQ_DATA, then as a path.

    Raises ManifestError that lists the places looked at and the command that brings the corpus.
    """
    looked_at = list(places(Path(name)))
    for place in looked_at:
        if place.is_file():
            return place
        if place.is_dir() and (found := _shar_index(place)):
            return found
    looked = "\n".join(f"    {place}" for place in looked_at)
    kind = "manifest" if Path(name).suffix == ".jsonl" else "file"
    unset = "" if os.environ.get(DATA_VARIABLE) else f" (${DATA_VARIABLE}, a folder of corpora, is not set)"
    raise ManifestError(
        f"{name}: no such {kind}{unset}. Looked for:\n{looked}{_advice(Path(name), '')}"
        f"{'' if bringer(Path(name)) else _GENERAL_ADVICE}"
    )


def _shar_index(folder: Path) -> Path | None:
    """Find the manifest of a folder of Lhotse Shar archives; None where the folder is none."""
    if (folder / SHAR_INDEX).is_file():
        return folder / SHAR_INDEX
    if any(folder.glob("cuts.*jsonl*")):
        raise ManifestError(
            f"{folder}: Lhotse Shar archives without an index that says where in them each recording lies.\n"
            f"  Make it: edgeseq data shar --index {folder}"
        )
    return None


_GENERAL_ADVICE = "\n  Put it there, or make it: `edgeseq data --help` lists the ways."


def bringer(path: Path) -> str:
    """Give the command that brings the corpus a manifest, or a lexicon, belongs to, or "" when none is known.

    >>> bringer(Path("librispeech/test-other.jsonl")), bringer(Path("mine/train.jsonl"))
    ('edgeseq data import librispeech --parts test-other', '')
    """
    folder = path.parent
    if path.name == LEXICON:
        return f"edgeseq lexicon make data/{folder.name}/*.jsonl --out data/{folder.name}/{LEXICON}"
    if folder.name == "librispeech" and LIBRISPEECH_PART.fullmatch(path.stem):
        return f"{BRINGERS['librispeech']} --parts {path.stem}"
    if folder.parent.name == "commonvoice":
        return "edgeseq data import commonvoice --from ARCHIVE (of commonvoice.mozilla.org)"
    return BRINGERS.get(folder.name, "")


def places(name: Path) -> Iterator[Path]:
    """List where a corpus, or what is in it, is searched for."""
    if not name.is_absolute():
        yield Path("data") / name
        if folder := os.environ.get(DATA_VARIABLE):
            yield Path(folder) / name
    yield name


def _read_lines(path: Path, hint: str) -> Iterator[tuple[int, str]]:
    """Give each line, with the byte at which it begins."""
    begin = 0
    try:
        with path.open("rb") as file:
            for line in file:
                yield begin, line.decode()
                begin += len(line)
    except FileNotFoundError:
        raise ManifestError(f"{path}: no such manifest.{_advice(path, hint)}") from None
    except UnicodeDecodeError as fault:
        mark = " It begins as UTF-16 does." if not begin and line[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        raise ManifestError(
            f"{path}: not text in UTF-8 ({fault.reason} at byte {begin + fault.start}).{mark}\n  Save it as UTF-8."
        ) from None
    except OSError as fault:
        raise ManifestError(f"{path}: cannot be read ({fault.strerror}).") from None


def parse_line(line: str, folder: Path, allow_empty_text: bool = False) -> Recording:
    """Read one line of a manifest in `folder`; raises ManifestError with one line of message a fault."""
    try:
        entry = parse_json(line.lstrip(BYTE_ORDER_MARK), any_names=True)
    except ValueError as fault:
        raise ManifestError(str(fault)) from None
    if not isinstance(entry, dict):
        raise ManifestError(f"a JSON object {{...}} is wanted, not {printable(line.strip()[:60])}")
    faults = list(_entry_faults(entry, allow_empty_text))
    if faults:
        raise ManifestError("\n".join(faults))
    key = units.key_of(entry)
    path = folder / entry["audio_filepath" if key is None else key] if key is None or key in units.IN_FILES else folder
    sequence = None if key is None else units.take(entry, key)
    inline = () if sequence is None or sequence.content is None else sequence.content
    entry.pop("audio_filepath", None)
    duration = float(entry.pop("duration", 0.0))
    return Recording(
        path=path,
        duration=len(inline) / sequence.rate if sequence is not None and inline else duration,
        text=entry.pop("text", ""),
        offset=float(entry.pop("offset", None) or 0.0),
        speaker=_speaker(entry.pop("speaker", None)),
        within=_within(entry.pop("within", None)),
        segments=segments.segments_of(entry.pop("segments", None)),
        units=sequence,
        extra=entry,
    )


def _entry_faults(entry: dict[str, Any], allow_empty_text: bool) -> Iterator[str]:
    sequence = units.key_of(entry)
    if sequence is not None:
        yield from units.faults_of(entry, sequence)
    for key in _needed(entry, sequence, allow_empty_text):
        if key not in entry:
            yield f"'{key}' is missing"
    for key in ("audio_filepath", "text"):
        if key in entry and not isinstance(entry[key], str):
            yield f"'{key}' is {json.dumps(entry[key])[:60]}; a string is wanted"
    for key, least in (("duration", "above 0"), ("offset", "0 or more")):
        if entry.get(key) is None and (key == "offset" or key not in entry):
            continue
        value = entry[key]
        if not is_number(value) or not 0 <= value <= MOST_SECONDS or (key == "duration" and value == 0):
            yield f"'{key}' is {json.dumps(value)[:60]}; seconds, a number {least}, are wanted"
    if not isinstance(entry.get("speaker"), str | int | None):
        yield f"'speaker' is {json.dumps(entry['speaker'])[:60]}; a string is wanted"
    within = entry.get("within")
    if within is not None and not (
        isinstance(within, list)
        and [type(one) for one in within] == [int, int]
        and min(within) >= 0
        and max(within) <= MOST_EXACT
    ):
        yield f"'within' is {json.dumps(within)[:60]}; [first byte, number of bytes] is wanted"
    if entry.get("audio_filepath") == "":
        yield "'audio_filepath' is empty"
    if isinstance(entry.get("audio_filepath"), str) and "\0" in entry["audio_filepath"]:
        yield "'audio_filepath' holds a zero character; a file's name is wanted"
    yield from segments.faults_of(entry)
    has_words = isinstance(entry.get("text"), str) and entry["text"].strip()
    may_be_empty = allow_empty_text or "segments" in entry or sequence is not None
    if isinstance(entry.get("text"), str) and not has_words and not may_be_empty:
        yield "'text' is empty: good to measure on, not here; write what is said, or leave the line out"


def _needed(entry: dict[str, Any], sequence: str | None, allow_empty_text: bool) -> tuple[str, ...]:
    """Name the keys that a line must have."""
    if sequence is not None:
        return ("duration",) if sequence in units.IN_FILES else ()
    is_meant = "segments" in entry or (allow_empty_text and "intent" in entry)
    return ("audio_filepath", "duration") if is_meant else ("audio_filepath", "duration", "text")


def _is_there(recording: Recording) -> bool:
    """Whether a recording's file is there; an inline sequence needs none."""
    return recording.path.is_file() or (recording.units is not None and recording.units.content is not None)


def _speaker(value: str | int | None) -> str | None:
    return None if value is None else str(value)


def _within(value: list[int] | None) -> tuple[int, int] | None:
    return None if value is None else (value[0], value[1])


def _as_line(recording: Recording, folder: str) -> dict[str, Any]:
    # The folder is resolved, so that `..` means what it says; the file may be a link and keeps its name.
    audio = Path(os.path.realpath(recording.path.parent)) / recording.path.name
    of_sound = {"duration": round(recording.duration, 4), "text": recording.text}
    if recording.units is None:
        line: dict[str, Any] = {"audio_filepath": os.path.relpath(audio, folder)} | of_sound
    else:
        line = units.as_entry(recording.units) | ({"text": recording.text} if recording.text else {})
        if recording.units.content is None:
            line |= {f"{recording.units.kind}_filepath": os.path.relpath(audio, folder), "duration": recording.duration}
    if recording.offset:
        line["offset"] = round(recording.offset, 4)
    if recording.speaker is not None:
        line["speaker"] = recording.speaker
    if recording.within is not None:
        line["within"] = list(recording.within)
    if recording.segments is not None:
        line["segments"] = [asdict(segment) for segment in recording.segments]
    return line | dict(recording.extra)


def _describe_faults(path: Path, faults: list[str], n_faults: int, n_missing: int, hint: str) -> str:
    shown = "\n".join(f"  {fault}" for fault in faults)
    more = f"\n  ... and {n_faults - len(faults)} more" if n_faults > len(faults) else ""
    advice = _advice(path, hint) if n_missing else "\n  Correct these lines or leave them out."
    count = f"{n_faults} fault{'s' if n_faults > 1 else ''}"
    return f"{path}: {count}.\n{shown}{more}{advice}"


def _advice(path: Path, hint: str) -> str:
    command = hint or bringer(path)
    return f"\n  This brings the data: {command}" if command else ""
