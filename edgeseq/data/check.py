"""What would stop or hurt a training on a manifest: its files, its texts, and what it shares with the test set."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from edgeseq.data.manifest import Recording, read_manifest
from edgeseq.data.measure import FileFacts, file_digest, measure_all
from edgeseq.decoding.ctc import rows_needed
from edgeseq.errors import ManifestError
from edgeseq.tokens.normalizing import invisible, normalize_text
from edgeseq.tokens.table import TokenTable

Progress = Callable[[int, int], None]

STOPS = ("unreadable", "empty text", "unspellable")
"""Kinds of findings at which a training ends before its first step."""
HURTS = (
    *("invisible character", "capital"),
    *("silent", "clipped", "duration", "too long", "other text", "duplicate", "in the test set", "speaker in the test set"),
)

SILENT_DB = -60.0
"""Quieter than this, root mean square against full scale, is silence: 16 bit leave speech 30 dB above their own noise."""
MOST_FLAT_TOPS = 10
"""A recording with more flat tops is clipped; a few are chance, or a click."""
DURATION_SECONDS = 0.05
"""A duration may differ by this and by `DURATION_SHARE`; a row is 40 ms."""
DURATION_SHARE = 0.01

ROW_SECONDS = 0.04
"""Length of a row of log-probs, where nothing says otherwise."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with one recording or speaker."""

    kind: str
    """one of `STOPS` or `HURTS`"""
    where: str
    """file, with the stretch where there is one, or speaker"""
    what: str


@dataclass(frozen=True)
class DataReport:
    """All that was looked at and found."""

    manifest: Path
    recordings: tuple[Recording, ...]
    measured: tuple[FileFacts, ...]
    """one a recording"""
    findings: tuple[Finding, ...]
    decoded: bool
    language: str = ""
    """of the texts, as far as it was said"""

    @property
    def stops(self) -> bool:
        """Would a training end before its first step?"""
        return any(finding.kind in STOPS for finding in self.findings)

    @property
    def counts(self) -> dict[str, int]:
        """Findings of each kind, the gravest first."""
        found = Counter(finding.kind for finding in self.findings)
        return {kind: found[kind] for kind in (*STOPS, *HURTS) if found[kind]}

    def _characters(self) -> Counter[str]:
        texts = (normalize_text(recording.text, self.language) for recording in self.recordings)
        return Counter(letter for text in texts for letter in text if letter != " ")

    def to_dict(self) -> dict[str, Any]:
        """Write the report as JSON takes it."""
        durations = [r.duration for r in self.recordings]
        levels = [level_db(m.rms) for m in self.measured if m.digest and m.rms > 0]
        return {
            "manifest": str(self.manifest),
            "recordings": len(self.recordings),
            "hours": round(sum(durations) / 3600, 4),
            "duration": {"least": min(durations), "median": median(durations), "most": max(durations)},
            "level_db": {"least": min(levels), "median": median(levels), "most": max(levels)} if levels else None,
            "speakers": len({r.speaker for r in self.recordings if r.speaker is not None}),
            "sample_rates": {str(k): v for k, v in Counter(m.sample_rate for m in self.measured if not m.fault).items()},
            "characters": dict(self._characters().most_common()),
            "decoded": self.decoded,
            "stops": self.stops,
            "counts": self.counts,
            "findings": [vars(finding) for finding in self.findings],
        }


@dataclass(frozen=True)
class Spelling:
    """How texts become tokens, and how much sound a row of log-probs stands for."""

    tokens: TokenTable
    row_seconds: float = ROW_SECONDS


def check(
    manifest: Path,
    against: Sequence[Path] = (),
    spelling: Spelling | None = None,
    *,
    language: str = "",
    decode: bool = True,
    jobs: int = 1,
    on_progress: Progress = lambda done, total: None,
) -> DataReport:
    """Look at a manifest's files, decoded or by their headers alone, at its texts, and at what test manifests share with it.

    Without `spelling` the characters of its own texts, in `language`, are the tokens.
    Raises ManifestError for lines that are no recordings.
    """
    recordings = _read(manifest)
    others = [recording for path in against for recording in _read(path)]
    measured = measure_all([*recordings, *others], decode, jobs, on_progress)
    own, foreign = measured[: len(recordings)], measured[len(recordings) :]
    spelling = spelling or Spelling(TokenTable.of_characters((r.text for r in recordings), language))
    findings = [
        *_sound_findings(recordings, own),
        *_letter_findings(recordings, spelling.tokens.language),
        *_text_findings(recordings, spelling),
        *_repeated(recordings, own, others, foreign, spelling.tokens.normalize),
        *_shared_speakers(recordings, others),
    ]
    order = {kind: place for place, kind in enumerate((*STOPS, *HURTS))}
    findings.sort(key=lambda finding: order[finding.kind])
    return DataReport(manifest, tuple(recordings), tuple(own), tuple(findings), decode, spelling.tokens.language)


def _read(manifest: Path) -> list[Recording]:
    return read_manifest(manifest, allow_empty_text=True, check_files=False)


def level_db(amplitude: float) -> float:
    """Give an amplitude in decibels of full scale; digital silence is -200.

    >>> round(level_db(0.1)), level_db(0.0)
    (-20, -200.0)
    """
    return 20 * math.log10(max(amplitude, 1e-10))


def _sound_findings(recordings: Sequence[Recording], measured: Sequence[FileFacts]) -> Iterator[Finding]:
    n_stretches = Counter((recording.path, recording.within) for recording in recordings)
    for recording, found in zip(recordings, measured, strict=True):
        if found.fault:
            yield Finding("unreadable", recording.where, found.fault)
            continue
        if found.digest and level_db(found.rms) < SILENT_DB:
            yield Finding("silent", recording.where, f"{level_db(found.rms):.0f} dB of full scale")
        if found.n_clipped > MOST_FLAT_TOPS:
            yield Finding("clipped", recording.where, f"{found.n_clipped:,} flat tops at {level_db(found.peak):.1f} dB")
        end = recording.offset + recording.duration
        allowed = DURATION_SECONDS + DURATION_SHARE * recording.duration
        whole = not recording.offset and n_stretches[recording.path, recording.within] == 1
        if end > found.file_seconds + allowed or (whole and end < found.file_seconds - allowed):
            yield Finding("duration", recording.where, f"ends at {end:.2f} s; the file ends at {found.file_seconds:.2f} s")


def _letter_findings(recordings: Iterable[Recording], language: str) -> Iterator[Finding]:
    """Find what nobody sees in a text, and capitals whose small letter depends on the language."""
    for recording in recordings:
        for letter in invisible(recording.text):
            yield Finding("invisible character", recording.where, f"invisible character {letter} in {recording.text!r}")
        if not language and "İ" in recording.text:
            what = f"İ in {recording.text!r}: for Turkish and Azeri say --language tr or az, since small I is ı there"
            yield Finding("capital", recording.where, what)


def _text_findings(recordings: Iterable[Recording], spelling: Spelling) -> Iterator[Finding]:
    for recording in recordings:
        if not recording.text.strip():
            yield Finding("empty text", recording.where, "nothing is said: good to measure on, not to train on")
            continue
        try:
            ids = spelling.tokens.encode(recording.text)
        except ManifestError as fault:
            yield Finding("unspellable", recording.where, str(fault).split("\n")[0])
            continue
        rows, wanted = int(recording.duration / spelling.row_seconds + 1e-6), rows_needed(ids)
        if rows < wanted:
            yield Finding(
                "too long",
                recording.where,
                f"{recording.text!r} needs {wanted} rows of CTC; {recording.duration:.2f} s are {rows} rows of "
                f"{1000 * spelling.row_seconds:g} ms",
            )


def _repeated(
    recordings: Sequence[Recording],
    own: Sequence[FileFacts],
    others: Sequence[Recording],
    foreign: Sequence[FileFacts],
    normalize: Callable[[str], str],
) -> Iterator[Finding]:
    """Find recordings that are there twice, under one name or several, and those that are in a test manifest, too."""
    keys = _sound_keys([*recordings, *others], [*own, *foreign])
    tests: dict[Any, Recording] = {}
    for key, recording in zip(keys[len(recordings) :], others, strict=True):
        if key is not None:
            tests.setdefault(key, recording)
    seen: dict[Any, Recording] = {}
    for key, recording in zip(keys, recordings, strict=False):
        if key is None:
            continue
        if key in tests:
            yield Finding("in the test set", recording.where, f"the same sound as {tests[key].where}")
        first = seen.setdefault(key, recording)
        if first is recording:
            continue
        if normalize(first.text) == normalize(recording.text):
            yield Finding("duplicate", recording.where, f"the same sound and text as {first.where}")
        else:
            yield Finding(
                "other text", recording.where, f"{recording.text!r}, but {first.where}, the same sound, is {first.text!r}"
            )


def _sound_keys(recordings: Sequence[Recording], measured: Sequence[FileFacts]) -> list[Any]:
    """Give a key for each recording, equal where the sound is; None where it cannot be read or is all zeros.

    Decoded, it is the samples' digest. With headers alone, files of one size and length are digested.
    """
    if any(found.digest for found in measured):
        return [found.digest if found.digest and found.peak else None for found in measured]
    stored = [(recording.path, recording.within) for recording in recordings]
    alike: dict[tuple[int, int], set[Any]] = defaultdict(set)
    for place, found in zip(stored, measured, strict=True):
        if not found.fault:
            alike[found.n_bytes, found.n_frames].add(place)
    digests = {place: file_digest(*place) for places in alike.values() if len(places) > 1 for place in places}
    return [
        None if found.fault else (digests.get(place, place), recording.offset, recording.duration)
        for place, recording, found in zip(stored, recordings, measured, strict=True)
    ]


def _shared_speakers(recordings: Iterable[Recording], others: Iterable[Recording]) -> Iterator[Finding]:
    trained: Mapping[str | None, int] = Counter(recording.speaker for recording in recordings)
    tested: Mapping[str | None, int] = Counter(recording.speaker for recording in others)
    for speaker in sorted(set(trained) & set(tested) - {None}, key=str):
        what = f"{trained[speaker]:,} recordings here, {tested[speaker]:,} in the test set"
        yield Finding("speaker in the test set", str(speaker), what)
