"""False acceptances (how often a phrase is reported for speech that holds none), and what the search costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseq.data.clips import Samples, read_clip
from edgeseq.data.manifest import Recording
from edgeseq.events import Final
from edgeseq.phrases.checking import examples, text_of
from edgeseq.phrases.search import PhraseDecoder
from edgeseq.stream.recognizer import Recognizer
from edgeseq.tokens.table import TokenTable

CHUNK_SECONDS = 0.08
"""What a microphone hands over at a time."""
ROW_SECONDS = 0.04
"""That a simulated row stands for."""
PAUSE_ROWS = 12
"""Silence before and after a simulated sentence."""
SHOWN = 30
"""Best-scoring utterances that are listed."""


@dataclass(frozen=True)
class OtherSpeech:
    """What a phrase list made of speech that holds none of its phrases."""

    seconds: float
    threshold: float
    n_given_out: int
    accepted: tuple[tuple[float, str], ...]
    """score and text of the utterances nearest to a phrase, the best first; those below the threshold are rejected"""

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as `--json` prints them."""
        return {
            "seconds": round(self.seconds, 2),
            "threshold": self.threshold,
            "given_out": self.n_given_out,
            "per_hour": round(3600 * self.n_given_out / self.seconds, 3),
            "nearest": [{"phrase_score": round(score, 4), "text": text} for score, text in self.accepted],
        }


def hear_other_speech(
    recognizer: Recognizer,
    decoder: PhraseDecoder,
    recordings: Sequence[Recording],
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> OtherSpeech:
    """Hear recordings, each as a stream of its own, and collect the score of every utterance, rejected or not.

    An utterance that is reported ends sooner than one that is rejected, so phrases are counted with rejection as it is,
    and the list of scores is made without rejection beside it.
    """
    nearest = PhraseDecoder(decoder.graph, recognizer.metadata, threshold=None, beam=decoder.beam, filler=decoder.filler)
    given_out: list[Final] = []
    every: list[Final] = []
    seconds = 0.0
    for n_done, recording in enumerate(recordings, start=1):
        samples = read_clip(recording, recognizer.sample_rate)
        seconds += len(samples) / recognizer.sample_rate
        given_out += finals_of(recognizer.with_decoder(decoder), samples)
        every += finals_of(recognizer.with_decoder(nearest), samples)
        on_progress(n_done, len(recordings))
    scored = sorted(((final.phrase_score or 0.0, final.text) for final in every), reverse=True)
    assert decoder.threshold is not None
    return OtherSpeech(seconds, decoder.threshold, len(given_out), tuple(scored[:SHOWN]))


def finals_of(recognizer: Recognizer, samples: Samples) -> list[Final]:
    """Push a recording through the streaming path, its pauses ending utterances."""
    n_chunk = round(CHUNK_SECONDS * recognizer.sample_rate)
    blocks = (samples[first : first + n_chunk] for first in range(0, len(samples), n_chunk))
    return [event for event in recognizer.follow(blocks) if isinstance(event, Final)]


@dataclass(frozen=True)
class SearchCost:
    """Processor time of the search over simulated speech."""

    sentences: int
    right: int
    """sentences that were understood as they were said"""
    rows: int
    row_us: float
    """microseconds a row, rows taken one by one as the recognizer gives them"""
    open_ways: float
    """nodes with open ways, on average over the rows"""

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as `--json` prints them."""
        return {key: round(value, 3) for key, value in asdict(self).items()}


def bench_search(decoder: PhraseDecoder, n_sentences: int, seed: int = 0) -> SearchCost:
    """Time the search of drawn sentences, said by `simulated_rows`; needs no model."""
    tokens = TokenTable(decoder.graph.tokens)
    random = np.random.default_rng(seed)
    said = examples(decoder.graph, n_sentences, seed)
    spoken = [simulated_rows(tokens, text_of(reading), random) for reading in said]
    seconds, right, n_open = 0.0, 0, 0
    state = decoder.init_state()
    for reading, rows in zip(said, spoken, strict=True):
        began = time.process_time()
        for i in range(len(rows)):
            state = decoder.step(rows[i : i + 1], state)
            n_open += len(state.front.ways)
        final = decoder.final(state)
        seconds += time.process_time() - began
        right += final is not None and [word.word for word in final.words] == [word.text for word in reading.words]
        state = decoder.follow(state)
    n_rows = sum(map(len, spoken))
    return SearchCost(len(said), right, n_rows, 1e6 * seconds / n_rows, n_open / n_rows)


def simulated_rows(tokens: TokenTable, text: str, random: np.random.Generator) -> npt.NDArray[np.float32]:
    """Make rows as a network gives them that hears `text` at 40 ms a row: `[n_steps, n_tokens]`.

    A token is said in one row, or two (one in five), its probability between 0.4 and 1, the rest spread unevenly over the
    others; half of the tokens are followed by blank; half a second of silence stands at either end.
    """
    path: list[int] = [tokens.blank_id] * PAUSE_ROWS
    for id_ in tokens.encode(text):
        path += [id_] * (1 + (random.random() < 0.2)) + [tokens.blank_id] * int(random.random() < 0.5 or id_ == path[-1])
    path += [tokens.blank_id] * PAUSE_ROWS
    ids = np.array(path)
    others = random.gamma(0.1, size=(len(ids), len(tokens))) + 1e-9
    sure = np.where(ids == tokens.blank_id, random.uniform(0.95, 0.9999, len(ids)), random.uniform(0.4, 1.0, len(ids)))
    probs = others / others.sum(axis=1, keepdims=True) * (1 - sure)[:, None]
    probs[np.arange(len(ids)), ids] += sure
    return np.log(probs / probs.sum(axis=1, keepdims=True)).astype(np.float32)
