"""What the search costs beside the network: processor time of each, over the same speech, in one process and thread."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeseq.data.connected import connect
from edgeseq.data.manifest import find_data, read_manifest
from edgeseq.decoding.decoder import Decoder
from edgeseq.decoding.greedy import GreedyDecoder
from edgeseq.evaluation.reference_clips import SingleClip
from edgeseq.model.network import rows_of

if TYPE_CHECKING:
    from edgeseq.evaluation.reference_clips import Clip
    from edgeseq.stream.recognizer import Recognizer

Rows = npt.NDArray[np.float32]
SEED = 0
"""For the pass that joins single words to strings."""


@dataclass(frozen=True)
class SearchCosts:
    """Processor time by row of log-probs, microseconds."""

    utterances: int
    rows: int
    row_ms: float
    """sound that a row stands for"""
    blank_rows: float
    """share of rows that hold nothing but blank above the search's threshold"""
    network_us: float
    greedy_us: float
    beam_us: float
    """rows taken one by one, with a partial each network chunk and the final, as the recognizer asks for them"""
    first_beam_us: float
    """the same in the first pass, before any weight is remembered"""
    beam_step_us: float
    """of `step` alone"""

    def to_json(self) -> str:
        """Give one JSON object."""
        return json.dumps({key: round(value, 4) for key, value in asdict(self).items()})

    def to_table(self) -> str:
        """Give lines for people."""
        real_time = 1000 * self.row_ms
        lines = [
            f"{self.utterances:,} utterances, {self.rows:,} rows of {self.row_ms:g} ms, {100 * self.blank_rows:.0f} % blank"
        ]
        for name, value in (
            ("network", self.network_us),
            ("greedy", self.greedy_us),
            ("beam", self.beam_us),
            ("beam, first time", self.first_beam_us),
            ("beam, step alone", self.beam_step_us),
        ):
            lines.append(f"{name:17} {value:7.1f} microseconds a row  ({real_time / value:,.0f} times real time)")
        return "\n".join(lines)


def read_speech(manifest: Path, sample_rate: int, seconds: float) -> list[Rows]:
    """Read utterances from a manifest, about `seconds` in all; single words are joined to strings first."""
    recordings = read_manifest(find_data(manifest))
    single = all(len(recording.text.split()) == 1 for recording in recordings)
    clips: Sequence[Clip] = connect(recordings, SEED) if single else [SingleClip(recording) for recording in recordings]
    sounds: list[Rows] = []
    for clip in clips:
        if sum(map(len, sounds)) >= seconds * sample_rate:
            break
        sounds.append(clip.read(sample_rate))
    return sounds


def bench_search(recognizer: Recognizer, beam: Decoder[Any], sounds: Sequence[Rows]) -> SearchCosts:
    """Measure processor time (all threads of this process) of the network and of decoders over `sounds`."""
    metadata = recognizer.metadata
    began = time.process_time()
    utterances = [rows_of(recognizer.network, sound[None])[0] for sound in sounds]
    network = time.process_time() - began
    n_rows = sum(map(len, utterances))
    a_chunk = metadata.chunk_samples // metadata.step_samples
    first, later = (_time(beam, utterances, a_chunk) for _ in range(2))
    greedy = _time(GreedyDecoder(metadata), utterances, a_chunk)
    alone = _time(beam, utterances, 0)
    blank = np.concatenate([np.exp(rows[:, metadata.blank_id]) > 1 - 1e-3 for rows in utterances])
    return SearchCosts(
        utterances=len(utterances),
        rows=n_rows,
        row_ms=1000 * metadata.step_samples / metadata.sample_rate,
        blank_rows=float(blank.mean()),
        network_us=1e6 * network / n_rows,
        greedy_us=1e6 * greedy / n_rows,
        beam_us=1e6 * later / n_rows,
        first_beam_us=1e6 * first / n_rows,
        beam_step_us=1e6 * alone / n_rows,
    )


def _time(decoder: Decoder[Any], utterances: Sequence[Rows], rows_a_partial: int) -> float:
    """Give the processor seconds of decoding; 0 rows a partial: no partials and no finals."""
    began = time.process_time()
    for rows in utterances:
        state = decoder.init_state()
        for n in range(len(rows)):
            state = decoder.step(rows[n : n + 1], state)
            if rows_a_partial and (n + 1) % rows_a_partial == 0 and decoder.last_token_step(state) >= 0:
                decoder.partial(state)
                decoder.stable_words(state)
        if rows_a_partial:
            decoder.final(state)
    return time.process_time() - began
