"""What one live stream remembers between two chunks, as a value, and how streams are laid side by side and taken apart."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from edgeseq.errors import AudioError, UsageError
from edgeseq.model.network import NetworkState
from edgeseq.model.signature import AUDIO, Array, Port
from edgeseq.sound.blocks import Floats, first_unusable
from edgeseq.stream.gate import GateState


@dataclass(frozen=True)
class UtteranceState:
    """What is known of the utterance that is being said, besides its words."""

    first_step: int = 0
    """network step after the one that ended the utterance before"""
    speech_step: int = -1
    """network step at which its first token was first seen; -1 before"""
    voice_step: int = -1
    """network step at which voice was last heard, by the voice activity if there is one; -1 before"""
    told: str = ""
    """text of the last partial, so that only changes are reported"""
    told_stable: int = 0
    """stable words of the last partial"""


@dataclass(frozen=True, kw_only=True)
class UtterancesState:
    """What is remembered of what is being said; see `Utterances`."""

    decoder: Any
    """of the recognizer's decoder"""
    voice: Any = None
    """of the recognizer's voice activity, if it has one"""
    utterance: UtteranceState = field(default_factory=UtteranceState)


@dataclass(frozen=True, kw_only=True)
class SoundState:
    """What is remembered of a stream of sound, or of another input, whatever its rows become."""

    leftover: Array
    """handed over but too little for a network chunk, `[n < per_chunk, ...]`"""
    network: NetworkState
    n_samples: int = 0
    """units (samples of sound, symbols ...) since the stream opened: handed over, and lost in gaps"""
    n_taken: int = 0
    """since the stream opened: put through the network, left out by a gate, and lost in gaps"""
    first_sample: int = 0
    """of the stream, at which network and reader started afresh: after a gap, or when a gate opened"""
    gate: GateState | None = None
    """of the gate, if there is one"""


@dataclass(frozen=True, kw_only=True)
class State(SoundState, UtterancesState):
    """All that a recognizer must remember of a stream between two chunks. Any old one may be continued."""


St = TypeVar("St", bound=SoundState)


def check_samples(samples: Floats, n_before: int = 0) -> None:
    """Raise UsageError or AudioError for what is not sound; `n_before` samples of its stream came before, for the message."""
    if not isinstance(samples, np.ndarray) or samples.dtype != np.float32 or samples.ndim != 1:
        seen = f"{samples.dtype} of shape {list(samples.shape)}" if isinstance(samples, np.ndarray) else type(samples).__name__
        raise UsageError(
            f"the samples are {seen}; wanted a numpy array of float32, one dimension, in [-1, 1].\n"
            "  Mix channels by `.mean(axis=1)`; make float32 of int16 by `.astype(np.float32) / 32768`."
        )
    bad = first_unusable(samples)
    if bad is not None:
        raise AudioError(
            f"sample {n_before + bad:,} of the sound is {samples[bad]}; wanted numbers in [-1, 1].\n"
            "  Whatever wrote it divided by zero or is broken: repair it there."
        )


def check_units(units: Array, port: Port, n_before: int = 0) -> None:
    """Raise UsageError or AudioError for what is not what a network takes at `port`; see `check_samples`."""
    if port.name == AUDIO:
        return check_samples(units, n_before)
    wanted = f"a numpy array of {port.dtype} {['n', *port.shape]}".replace("'", "")
    if not isinstance(units, np.ndarray) or units.dtype != port.dtype or units.shape[1:] != port.shape or not units.ndim:
        seen = f"{units.dtype} of shape {list(units.shape)}" if isinstance(units, np.ndarray) else type(units).__name__
        raise UsageError(f"the {port.name} are {seen}; wanted {wanted}.")
    if units.dtype == np.int64 and port.names and units.size:
        least, most = int(units.min()), int(units.max())
        if not 0 <= least <= most < len(port.names):
            raise UsageError(f"the {port.name} go from {least} to {most}; wanted 0 to {len(port.names) - 1}.")
    if units.dtype == np.float32 and not np.isfinite(units).all():
        bad = n_before + int(np.argmin(np.isfinite(units.reshape(len(units), -1)).all(axis=1)))
        raise UsageError(f"unit {bad:,} of the {port.name} is NaN or infinite; fill it in, or leave it out.")
    return None


def take_in(units: Array, state: St, port: Port) -> St:
    """Append new units to what has not been through the network yet."""
    check_units(units, port, state.n_samples)
    return replace(
        state,
        leftover=np.concatenate([state.leftover, units]),
        n_samples=state.n_samples + len(units),
    )


def is_resting(state: SoundState) -> bool:
    """Whether a gate lets the network rest."""
    return state.gate is not None and not state.gate.is_open


def advance(state: St, n_samples: int, **changes: Any) -> St:
    """Take so much from what waits."""
    return replace(state, leftover=state.leftover[n_samples:], n_taken=state.n_taken + n_samples, **changes)


def let_go(state: St, n_samples: int) -> St:
    """Copy what waits if it is a view that keeps an array of more numbers than this in memory."""
    whole = state.leftover.base
    if not isinstance(whole, np.ndarray) or whole.size <= n_samples:
        return state
    return replace(state, leftover=state.leftover.copy())


def stack(states: list[NetworkState]) -> NetworkState:
    """Put streams side by side along the batch axis."""
    if len(states) == 1:
        return states[0]
    return {name: np.concatenate([state[name] for state in states]) for name in states[0]}


def pick(state: NetworkState, row: int, batch: int) -> NetworkState:
    """Take one stream out of a batch."""
    if batch == 1:
        return state
    return {name: array[row : row + 1].copy() for name, array in state.items()}
