"""Waveform to log-probs of tokens, whole or by chunk: frontend, frame stacking, recurrent layers, output layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from edgeseq.recipe import FrontendRecipe, NetworkRecipe
from edgeseq.training.frontend import LogMel

CELLS: dict[str, Callable[..., nn.RNNBase]] = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}


@dataclass(frozen=True)
class EncoderState:
    """What the recurrent layers of a batch of streams remember between two chunks."""

    frames: Tensor
    """not yet stacked to a step, `[batch, fewer than subsampling, n_mels]`"""
    hidden: tuple[Tensor, ...]
    """one tensor `[num_layers, batch, hidden_size]`; for LSTM two, hidden and cell"""

    def detach(self) -> EncoderState:
        """Cut the gradient here (truncated backpropagation through time)."""
        return EncoderState(self.frames.detach(), tuple(h.detach() for h in self.hidden))


@dataclass(frozen=True)
class StreamState:
    """All that a batch of live streams must remember between two chunks."""

    samples: Tensor
    """heard but not yet framed, `[batch, n_left]`"""
    encoder: EncoderState

    def detach(self) -> StreamState:
        """Cut the gradient here."""
        return StreamState(self.samples.detach(), self.encoder.detach())

    def restart(self, rows: Tensor) -> StreamState:
        """Set the streams where `rows` `[batch]` is true back to zero, as when a new stream begins."""
        keep = (~rows).to(self.samples.dtype)
        encoder = replace(self.encoder, hidden=tuple(h * keep[:, None] for h in self.encoder.hidden))
        return StreamState(self.samples * keep[:, None], encoder)


class Encoder(nn.Module):
    """Causal recurrent layers over stacked frames, and the output layer."""

    def __init__(
        self,
        n_mels: int,
        cell: str,
        hidden_size: int,
        num_layers: int,
        subsampling: int,
        rows_per_step: int,
        dropout: float,
        n_tokens: int,
    ) -> None:
        """Take plain numbers; `cell` is one of `CELLS`. A step takes `subsampling` frames and gives `rows_per_step` rows."""
        super().__init__()
        self.subsampling, self.rows_per_step, self.n_tokens = subsampling, rows_per_step, n_tokens
        self.layers = CELLS[cell](
            n_mels * subsampling,
            hidden_size,
            num_layers,
            batch_first=True,
            dropout=dropout if num_layers > 1 else 0.0,
        )
        self.output = nn.Linear(hidden_size, rows_per_step * n_tokens)

    def init_state(self, batch: int) -> EncoderState:
        """Zeros, for `batch` new streams."""
        zeros = self.output.weight.new_zeros
        n_states = 2 if isinstance(self.layers, nn.LSTM) else 1
        hidden = tuple(zeros(self.layers.num_layers, batch, self.layers.hidden_size) for _ in range(n_states))
        return EncoderState(zeros(batch, 0, self.layers.input_size // self.subsampling), hidden)

    def step(self, frames: Tensor, state: EncoderState) -> tuple[Tensor, EncoderState]:
        """Advance by `frames` `[batch, n_frames, n_mels]`, any number; returns log-probs `[batch, n_rows, n_tokens]`."""
        frames = torch.cat([state.frames, frames], dim=1)
        n_steps = frames.shape[1] // self.subsampling
        left = frames[:, n_steps * self.subsampling :]
        if n_steps == 0:  # torch's recurrent layers refuse an empty sequence
            return frames.new_zeros(len(frames), 0, self.n_tokens), replace(state, frames=left)
        stacked = frames[:, : n_steps * self.subsampling].reshape(len(frames), n_steps, -1)
        outputs, hidden = self.layers(stacked, state.hidden if len(state.hidden) > 1 else state.hidden[0])
        return self.log_probs(outputs), EncoderState(left, hidden if isinstance(hidden, tuple) else (hidden,))

    def log_probs(self, outputs: Tensor) -> Tensor:
        """Turn the last layer's outputs `[batch, n_steps, hidden_size]` into rows `[batch, n_rows, n_tokens]`."""
        logits = self.output(outputs)
        return logits.reshape(len(logits), -1, self.n_tokens).log_softmax(dim=-1)


class AcousticModel(nn.Module):
    """Frontend and encoder behind one `step`."""

    def __init__(self, frontend: LogMel, encoder: Encoder) -> None:
        """Put the two together; see `build_model`."""
        super().__init__()
        self.frontend, self.encoder = frontend, encoder

    def init_state(self, batch: int = 1) -> StreamState:
        """Begin `batch` new streams."""
        return StreamState(self.frontend.init_state(batch), self.encoder.init_state(batch))

    def step(self, samples: Tensor, state: StreamState) -> tuple[Tensor, StreamState]:
        """Advance by `samples` `[batch, n_samples]`, any length, also zero; `state` is not modified.

        Returns natural-log probabilities `[batch, n_rows, n_tokens]` and the next state.
        """
        frames, samples_left = self.frontend.step(samples, state.samples)
        log_probs, encoder = self.encoder.step(frames, state.encoder)
        return log_probs, StreamState(samples_left, encoder)


def build_model(frontend: FrontendRecipe, network: NetworkRecipe, n_tokens: int) -> AcousticModel:
    """Make the model of a recipe, with fresh weights from torch's global generator."""
    log_mel = LogMel(**frontend.model_dump())
    encoder = Encoder(frontend.n_mels, n_tokens=n_tokens, **network.model_dump())
    return AcousticModel(log_mel, encoder)
