"""False acceptances: how often a phrase is given out for speech that holds none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edgeseq.data.clips import Samples, read_clip
from edgeseq.events import Final
from edgeseq.manifest import Recording
from edgeseq.phrases.search import PhraseDecoder
from edgeseq.recognizer import Recognizer

CHUNK_SECONDS = 0.08
"""What a microphone hands over at a time."""
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

    An utterance that is given out ends sooner than one that is rejected, so phrases are counted with rejection as it is,
    and the list of scores is made without rejection beside it.
    """
    nearest = PhraseDecoder(decoder.graph, recognizer.metadata, threshold=None, beam=decoder.beam, filler=decoder.filler)
    given_out: list[Final] = []
    every: list[Final] = []
    seconds = 0.0
    for n_done, recording in enumerate(recordings, start=1):
        samples = read_clip(recording, recognizer.sample_rate)
        seconds += len(samples) / recognizer.sample_rate
        given_out += _finals(recognizer.with_decoder(decoder), samples)
        every += _finals(recognizer.with_decoder(nearest), samples)
        on_progress(n_done, len(recordings))
    scored = sorted(((final.phrase_score or 0.0, final.text) for final in every), reverse=True)
    assert decoder.threshold is not None
    return OtherSpeech(seconds, decoder.threshold, len(given_out), tuple(scored[:SHOWN]))


def _finals(recognizer: Recognizer, samples: Samples) -> list[Final]:
    """Push a recording through the streaming path, its pauses ending utterances."""
    n_chunk = round(CHUNK_SECONDS * recognizer.sample_rate)
    blocks = (samples[first : first + n_chunk] for first in range(0, len(samples), n_chunk))
    return [event for event in recognizer.follow(blocks) if isinstance(event, Final)]
