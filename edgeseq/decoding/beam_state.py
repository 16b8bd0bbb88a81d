"""What the beam search remembers: prefixes, and how they are ordered and scaled."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from edgeseq.decoding.beam_words import BeamToken
from edgeseq.decoding.fusion import FusionState
from edgeseq.events import Word

Beam = tuple[int, float, float, int, int, float, tuple[BeamToken, ...], FusionState, float]
"""One prefix: (key, probability of alignments that end in blank, of those that end in the last token; last token, -1 if none;
its row, -1 if it is of the utterance before; its highest posterior; the tokens before it, since the last report; the state of
language; its weight since then, natural log)"""

TINY = 2.0**-200
RESCALE = 2.0**200


@dataclass(frozen=True)
class BeamState:
    """All that the beam search remembers of one stream."""

    beams: tuple[Beam, ...]
    """the likeliest first; probabilities include weights and are relative to `log_scale`"""
    language: str
    """identity of the fusion that weighed them"""
    n_steps: int = 0
    """rows since the stream opened"""
    log_scale: float = 0.0
    """natural log of what all probabilities must still be multiplied by"""
    settled: bool = False
    """no prefix has alignments that end in a token"""
    told: tuple[tuple[Word, ...], ...] = ()
    """words that all prefixes share, in blocks"""
    tail: tuple[int, ...] = ()
    """the last of the tokens of those words"""


def tokens_of(beam: Beam) -> tuple[BeamToken, ...]:
    """List the tokens of a prefix that are not reported yet."""
    last, step, peak, past = beam[3:7]
    return (*past, (last, step, peak)) if step >= 0 else past


def rank(entry: list[Any]) -> tuple[float, float]:
    """The likeliest first; of equals, always the same one."""
    return -entry[0], entry[1]


def settle(beams: tuple[Beam, ...]) -> tuple[Beam, ...]:
    """Take blank for certain: every alignment now ends in it. The factor all share is left to the scale."""
    return tuple(
        (key, blank + token, 0.0, last, step, peak, past, language, weight)
        for key, blank, token, last, step, peak, past, language, weight in beams
    )


def scale(grown: list[list[Any]], log_scale: float) -> tuple[tuple[Beam, ...], float]:
    """Make prefixes of `_advance`'s lists; multiply all by a power of two, which rounds nothing, when they become tiny."""
    if grown[0][0] < TINY:
        for entry in grown:
            entry[2] *= RESCALE
            entry[3] *= RESCALE
        log_scale -= math.log(RESCALE)
    return tuple(tuple(entry[1:]) for entry in grown), log_scale
