"""Labels of rows for recordings with texts: where a model that knows the language hears each token."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeseq.data.clips import read_clip
from edgeseq.data.manifest import Recording, Segment, write_manifest
from edgeseq.decoding.alignment import Ways, align, spelling_graph
from edgeseq.errors import AudioError
from edgeseq.model.metadata import CtcMetadata
from edgeseq.model.network import Network, rows_of
from edgeseq.tokens.table import TokenTable

MAX_ERRORS = 0.85
"""Share of a text's tokens that the model may miss; a text that it misses altogether is hardly what is said."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class AlignReport:
    """What came of aligning."""

    aligned: tuple[Recording, ...]
    left_out: Counter[str]
    """reason -> recordings"""
    failed: tuple[str, ...]
    """recordings that could not be read, and why"""
    stopped: bool

    @property
    def hours(self) -> float:
        """Length of what was aligned."""
        return sum(recording.duration for recording in self.aligned) / 3600


def align_recordings(
    recordings: Sequence[Recording],
    network: Network,
    out: Path,
    *,
    max_errors: float = MAX_ERRORS,
    stop: Callable[[], bool] = lambda: False,
    on_progress: Progress = lambda done, total: None,
) -> AlignReport:
    """Write a manifest of `recordings` with `segments`: the tokens of their texts, where the network hears them.

    Recordings are left out where the text has words without a spelling, where it is too long for the sound, and where more
    than `max_errors` (a fraction) of its tokens are not heard. Segments are as long as the rows in which a token peaks.
    """
    metadata = CtcMetadata.of(network.metadata)
    tokens = metadata.token_table.with_guesses(recording.text for recording in recordings)
    aligned, left_out, failed = list[Recording](), Counter[str](), list[str]()
    for number, recording in enumerate(recordings):
        if stop():
            break
        try:
            found = _align(recording, network, metadata, tokens, max_errors)
        except AudioError as fault:
            failed.append(str(fault))
        else:
            if isinstance(found, str):
                left_out[found] += 1
            else:
                aligned.append(replace(recording, segments=found))
        on_progress(number + 1, len(recordings))
    if aligned:
        write_manifest(out, aligned)
    return AlignReport(tuple(aligned), left_out, tuple(failed), stop())


def _align(
    recording: Recording, network: Network, metadata: CtcMetadata, tokens: TokenTable, max_errors: float
) -> tuple[Segment, ...] | str:
    """Find the segments of one recording, or say why it is left out. Raises AudioError."""
    words = spellings_of(recording.text, tokens)
    if words is None:
        return "words that the lexicon lacks and nobody guesses"
    samples = read_clip(recording, metadata.sample_rate)
    rows = rows_of(network, samples[None])[0][: len(samples) // metadata.step_samples]
    path = align(rows, spelling_graph(words, tokens.blank_id))
    if path is None:
        return "a text too long for its sound"
    if share_missed(path, rows, tokens.blank_id) > max_errors:
        return "a text of which the model hears too little"
    return segments_of(path, tokens, metadata.step_samples / metadata.sample_rate)


def spellings_of(text: str, tokens: TokenTable) -> list[Ways] | None:
    """List the ways in which each word of a text is spelled, as token ids; None where a word has none.

    Phones: the lexicon's pronunciations. Other tokens: the one spelling that training uses.
    """
    if tokens.unknown(text):
        return None
    words = tokens.normalize(text).split()
    if tokens.kind != "phones":
        return [[tokens.encode(word)] for word in words]
    opening = [tokens.word_start_id] if tokens.word_start else []
    return [[[*opening, *(tokens.ids[phone] for phone in way)] for way in tokens.pronunciations[word]] for word in words]


def share_missed(path: NDArray[np.int64], rows: NDArray[np.float32], blank_id: int) -> float:
    """Give the share of the path's tokens of which no row says the same by itself; 0 of a path of blanks."""
    heard = rows.argmax(axis=1) == path
    runs = [any(heard[row] for row, _ in run) for token, run in _runs(path) if token != blank_id]
    return 1 - sum(runs) / len(runs) if runs else 0.0


def segments_of(path: NDArray[np.int64], tokens: TokenTable, row_seconds: float) -> tuple[Segment, ...]:
    """Turn the token of each row `[n_rows]` into segments, blanks left out."""
    found = []
    for token, run in _runs(path):
        if token != tokens.blank_id:
            rows = [row for row, _ in run]
            start, end = (round(row * row_seconds, 4) for row in (rows[0], rows[-1] + 1))
            found.append(Segment(start, end, tokens.symbols[token]))
    return tuple(found)


def _runs(path: NDArray[np.int64]) -> Iterable[tuple[int, list[tuple[int, int]]]]:
    """Give stretches of one token: it, and (row, token) for each of its rows."""
    for token, run in groupby(enumerate(path.tolist()), key=lambda pair: pair[1]):
        yield token, list(run)
