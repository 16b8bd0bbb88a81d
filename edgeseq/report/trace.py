"""What happens inside a network while it hears one recording: frames, states, gates, emissions, and what moved each word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeseq.errors import AudioError
from edgeseq.export.exporter import describe
from edgeseq.model.metadata import LOG_PROBS, CtcMetadata, ModelMetadata
from edgeseq.model.network import Network
from edgeseq.model.signature import AUDIO
from edgeseq.tokens.table import TokenTable
from edgeseq.training.sequence_model import SequenceModel
from edgeseq.training.trunk import RecurrentLayer
from edgeseq.training.weights import Trained

Floats = NDArray[np.float32]

DEFAULT_FLUSH_SECONDS = 0.3
"""of silence behind a recording, where a model's own has not been measured yet"""
SATURATED = 0.95
"""A value of a cell beyond plus or minus this hardly moves any more."""
LEAST_SECONDS = 0.05
WINDOW_SECONDS, HOP_SECONDS = 0.025, 0.01
"""of the spectrogram of a model whose own frames are not known"""


@dataclass(frozen=True)
class LayerTrace:
    """One recurrent layer, step by step."""

    outputs: Floats
    """what the cells give on, in [-1, 1], `[n_steps, hidden_size]`"""
    gates: Mapping[str, Floats]
    """gate -> how far it is open, 0 to 1, `[n_steps, hidden_size]`"""

    @property
    def saturation(self) -> Floats:
        """Share of the cells near their limits, `[n_steps]`."""
        return np.asarray((np.abs(self.outputs) > SATURATED).mean(axis=1), dtype=np.float32)


@dataclass(frozen=True)
class TracedWord:
    """A word of the best path."""

    text: str
    rows: tuple[int, ...]
    """at which its tokens begin"""
    tokens: tuple[int, ...]
    saliency: Floats | None = field(default=None, repr=False)
    """gradient times input: what each point of the frames adds to the word's score, `[n_frames, n_mels]`"""


@dataclass(frozen=True)
class Trace:
    """All that is known of one recording's way through a network."""

    samples: Floats
    """`[n_samples]`, the flush's silence included"""
    sample_rate: int
    frames: Floats
    """log-mel as the network reads it (without weights: a plain spectrogram in dB), `[n_frames, n_mels]`"""
    frame_seconds: float
    first_frame_seconds: float
    """centre of the first frame: negative, as zeros came before the sound"""
    log_probs: Floats
    """natural logarithm, `[n_rows, n_tokens]`"""
    row_seconds: float
    tokens: TokenTable
    words: tuple[TracedWord, ...]
    layers: tuple[LayerTrace, ...] = ()
    """none where only an exported file is there"""
    step_seconds: float = 0.0

    @property
    def seconds(self) -> float:
        """How long it is, with the silence behind."""
        return len(self.samples) / self.sample_rate

    def span(self, word: TracedWord) -> tuple[float, float]:
        """Seconds from the row of a word's first token to the end of that of its last."""
        return word.rows[0] * self.row_seconds, (word.rows[-1] + 1) * self.row_seconds


def flush_of(trained: Trained) -> float:
    """Seconds of silence to put behind a recording."""
    return trained.flush_seconds or DEFAULT_FLUSH_SECONDS


def metadata_of(trained: Trained) -> ModelMetadata:
    """What the float file of these weights would say of itself."""
    return describe(trained, "float32", flush_of(trained), {})


def trace(trained: Trained, samples: Floats) -> Trace:
    """Hear `samples` (float32 `[n_samples]`, mono, at the model's rate) in torch and write everything down.

    Raises AudioError for less than 50 ms.
    """
    model, recipe = trained.model.cpu().eval(), trained.recipe
    rate = recipe.frontend.sample_rate
    heard = _with_silence(samples, flush_of(trained), recipe.step_units, rate)
    frames = model.sound.step(torch.from_numpy(heard)[None], model.sound.init_state(1))[0].detach()
    frames.requires_grad_(True)
    log_probs = model.head(model.trunk.step(frames, model.trunk.init_state(1))[0])
    words = tuple(
        TracedWord(word.text, word.rows, word.tokens, saliency(log_probs, frames, word))
        for word in spell(log_probs[0].detach(), trained.tokens)
    )
    return Trace(
        samples=heard,
        sample_rate=rate,
        frames=frames[0].detach().numpy(),
        frame_seconds=recipe.frontend.hop_samples / rate,
        first_frame_seconds=model.sound.first_centre / rate,
        log_probs=log_probs[0].detach().numpy(),
        row_seconds=recipe.row_units / rate,
        tokens=trained.tokens,
        words=words,
        layers=trace_layers(model, frames.detach()),
        step_seconds=recipe.step_units / rate,
    )


def trace_file(network: Network, samples: Floats) -> Trace:
    """Hear `samples` with an exported file: emissions and words only. Raises AudioError for less than 50 ms."""
    about = CtcMetadata.of(network.metadata)
    heard = _with_silence(samples, about.flush_seconds, about.chunk_samples, about.sample_rate)
    state, rows = network.init_state(), []
    for chunk in heard.reshape(-1, 1, about.chunk_samples):
        outputs, state = network.step({AUDIO: chunk}, state)
        rows.append(torch.from_numpy(outputs[LOG_PROBS][0]))
    together = torch.cat(rows)
    return Trace(
        samples=heard,
        sample_rate=about.sample_rate,
        frames=spectrogram(heard, about.sample_rate),
        frame_seconds=HOP_SECONDS,
        first_frame_seconds=HOP_SECONDS - WINDOW_SECONDS / 2,
        log_probs=together.numpy(),
        row_seconds=about.step_samples / about.sample_rate,
        tokens=about.token_table,
        words=tuple(spell(together, about.token_table)),
    )


def _with_silence(samples: Floats, seconds: float, multiple: int, rate: int) -> Floats:
    if len(samples) < LEAST_SECONDS * rate:
        left = len(samples) / rate
        raise AudioError(f"the recording has {left:.3f} s of sound here; wanted are at least {LEAST_SECONDS:g} s.")
    n_samples = len(samples) + round(seconds * rate)
    return np.pad(samples, (0, n_samples - len(samples) + -n_samples % multiple))


def spectrogram(samples: Floats, rate: int) -> Floats:
    """Level of each frequency in dB of full scale, up to 8 kHz, `[n_frames, n_bins]`."""
    window, hop = round(WINDOW_SECONDS * rate), round(HOP_SECONDS * rate)
    padded = np.pad(samples, (window - hop, 0))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop] * np.hanning(window)
    power = np.square(np.abs(np.fft.rfft(pieces))) / window
    return np.asarray(10 * np.log10(power[:, : round(8000 * WINDOW_SECONDS)] + 1e-10), dtype=np.float32)


def spell(log_probs: Tensor, tokens: TokenTable) -> list[TracedWord]:
    """Read the best path of `[n_rows, n_tokens]`: which tokens begin at which rows, by words (by phones without `▁`)."""
    words: list[tuple[list[int], list[int]]] = []
    previous = tokens.blank_id
    for row, token in enumerate(log_probs.argmax(dim=-1).tolist()):
        if token not in (previous, tokens.blank_id):
            if tokens.opens[token] or not words:
                words.append(([], []))
            words[-1][0].append(row)
            words[-1][1].append(token)
        previous = token
    spelled = [(tokens.decode(ids), rows, ids) for rows, ids in words]
    return [TracedWord(text, tuple(rows), tuple(ids)) for text, rows, ids in spelled if text]


def saliency(log_probs: Tensor, frames: Tensor, word: TracedWord) -> Floats:
    """Gradient times input (Shrikumar et al. 2016) of a word's score, the sum of log-probs of its tokens where they begin.

    log_probs: `[1, n_rows, n_tokens]`, computed from `frames` `[1, n_frames, n_mels]`. Normalized frames are zero at the mean
    of the training set: an input there adds nothing.
    """
    score = log_probs[0, list(word.rows), list(word.tokens)].sum()
    (gradient,) = torch.autograd.grad(score, frames, retain_graph=True)
    return np.asarray((gradient * frames).detach()[0].numpy())


@torch.inference_mode()
def trace_layers(model: SequenceModel, frames: Tensor) -> tuple[LayerTrace, ...]:
    """Run the layers over `frames` `[1, n_frames, n_mels]` step by step, from zero states."""
    trunk = model.trunk
    n_steps = frames.shape[1] // trunk.subsampling
    inputs = frames[:, : n_steps * trunk.subsampling].reshape(n_steps, -1)
    traces = []
    for layer in trunk.recurrent_layers:
        traced = _trace_layer(layer, inputs)
        traces.append(traced)
        inputs = layer.shape(torch.from_numpy(traced.outputs))
    return tuple(traces)


def _trace_layer(layer: RecurrentLayer, inputs: Tensor) -> LayerTrace:
    w_ih, w_hh, b_ih, b_hh = layer.cell_weights()
    from_input = inputs @ w_ih.T + b_ih
    states = tuple(torch.zeros(w_hh.shape[1]) for _ in layer.cell.states)
    outputs, opened = [], []
    for step in from_input:
        states, gates = layer.cell.step(step, w_hh @ states[0] + b_hh, states)
        outputs.append(states[0])
        opened.append(gates)
    by_gate: Sequence[tuple[Tensor, ...]] = list(zip(*opened, strict=True))
    stacked = {name: torch.stack(values).numpy() for name, values in zip(layer.cell.gates, by_gate, strict=True)}
    return LayerTrace(torch.stack(outputs).numpy(), stacked)
