"""One take of a prompt: where in it somebody speaks, and whether it will do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeseq.sound.blocks import Floats
from edgeseq.sound.level import level

FRAME_SECONDS = 0.02
FLOOR_PERCENT = 10
"""The quietest frames, which say how loud the room is; a take has pauses before and after speech."""
LOWEST_DB = -75.0
"""of full scale: a room that is quieter counts as this"""
ABOVE_FLOOR_DB = 10.0
"""Frames so much louder than the room are speech."""
SHORTEST_SPEECH_SECONDS = 0.1
"""Less of it, all frames together, is a click."""
MARGIN_SECONDS = 0.25
"""kept before and after speech"""
EDGE_SECONDS = 0.06
"""Speech nearer than this to an end of the take was cut off."""

QUIET_DB = -35.0
"""Speech whose peak stays below is too quiet; `edgeseq devices --test` asks for peaks between -30 and -6 dB."""
MOST_CLIPPED = 3
"""Samples at full scale that may be by chance."""
NOISY_DB = 15.0
"""Speech less above the room than this is hard to learn from."""


@dataclass(frozen=True)
class Take:
    """What was recorded of a prompt, cut to its speech."""

    samples: Floats
    """mono, with MARGIN_SECONDS before and after speech; all of it where no speech was found"""
    seconds: float
    peak_db: float
    """of full scale"""
    above_room_db: float
    """level of speech over that of the room"""
    faults: tuple[str, ...]
    """what is wrong with it, and what to do; none: it is good"""


def frame_levels(samples: Floats, sample_rate: int) -> Floats:
    """Level of each whole frame of 20 ms, dB of full scale (RMS), not below LOWEST_DB, float32 `[n_frames]`."""
    n_frame = round(FRAME_SECONDS * sample_rate)
    frames = samples[: len(samples) // n_frame * n_frame].reshape(-1, n_frame)
    power = np.mean(np.square(frames), axis=1)
    return np.maximum(10 * np.log10(power + np.float32(1e-12)), np.float32(LOWEST_DB))


def find_speech(samples: Floats, sample_rate: int) -> tuple[float, float] | None:
    """Find where what rises above the room begins and ends, in seconds; None where nothing does for long enough."""
    levels = frame_levels(samples, sample_rate)
    if not len(levels):
        return None
    loud = np.flatnonzero(levels > np.percentile(levels, FLOOR_PERCENT) + ABOVE_FLOOR_DB)
    if len(loud) * FRAME_SECONDS < SHORTEST_SPEECH_SECONDS:
        return None
    return float(loud[0] * FRAME_SECONDS), float((loud[-1] + 1) * FRAME_SECONDS)


def judge(samples: Floats, sample_rate: int) -> Take:
    """Cut a recording to its speech and check its level."""
    seconds = len(samples) / sample_rate
    speech = find_speech(samples, sample_rate)
    if speech is None:
        zeros = level(samples).is_zero
        fault = "the microphone gives nothing but zeros; is it muted?" if zeros else "no speech was found; speak after the sign"
        return Take(samples, seconds, level(samples).peak_db, 0.0, (fault,))
    start, end = speech
    spoken = samples[round(start * sample_rate) : round(end * sample_rate)]
    measured = level(spoken)
    levels = frame_levels(samples, sample_rate)
    loud = levels[round(start / FRAME_SECONDS) : round(end / FRAME_SECONDS)]
    above_room_db = float(np.percentile(loud, 75) - np.percentile(levels, FLOOR_PERCENT))
    faults = []
    if measured.clipped > MOST_CLIPPED:
        faults.append(f"clipped: {measured.clipped} samples at full scale; turn the microphone down or move away")
    if measured.peak_db < QUIET_DB:
        faults.append(f"too quiet: its peak is {measured.peak_db:.0f} dB; turn the microphone up or come nearer")
    if above_room_db < NOISY_DB:
        faults.append(f"noisy: speech is {above_room_db:.0f} dB above the room")
    if start < EDGE_SECONDS or end > seconds - EDGE_SECONDS:
        faults.append(f"cut off at its {'beginning' if start < EDGE_SECONDS else 'end'}")
    first, last = max(0.0, start - MARGIN_SECONDS), min(seconds, end + MARGIN_SECONDS)
    cut = samples[round(first * sample_rate) : round(last * sample_rate)]
    return Take(cut, len(cut) / sample_rate, measured.peak_db, above_room_db, tuple(faults))
