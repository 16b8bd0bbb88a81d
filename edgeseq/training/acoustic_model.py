"""Waveform to log-probs of tokens, whole or by chunk: frontend, frame stacking, recurrent layers, output layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from edgeseq.training.chance import RowChance
from edgeseq.training.frontend import Frontend, build_frontend
from edgeseq.training.gru import is_faster, run_gru
from edgeseq.training.recipe import FrontendRecipe, NetworkRecipe

CELLS: dict[str, Callable[..., nn.RNNBase]] = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}

CELL_LIMIT = 1.0
"""Outputs of the recurrent cells never leave plus or minus this."""
NORM_LIMIT = 5.0
"""Standard deviations to which normalized outputs are clamped."""
NORM_EPSILON = 1e-5
PROJECTION_LIMIT = 2.0
"""Projected outputs are clamped to plus or minus this."""


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
        zero = self.samples.new_zeros(())
        encoder = replace(self.encoder, hidden=tuple(torch.where(rows[:, None], zero, h) for h in self.encoder.hidden))
        return StreamState(torch.where(rows[:, None], zero, self.samples), encoder)

    def pick(self, rows: Tensor) -> StreamState:
        """Take the streams of numbers `rows`, int64 `[n_rows]`."""
        encoder = EncoderState(self.encoder.frames[rows], tuple(h[:, rows] for h in self.encoder.hidden))
        return StreamState(self.samples[rows], encoder)

    def put(self, rows: Tensor, streams: StreamState) -> StreamState:
        """Put `streams` in the places `rows` of these; the others stay as they are."""
        pairs = zip(self.encoder.hidden, streams.encoder.hidden, strict=True)
        encoder = EncoderState(
            self.encoder.frames.index_copy(0, rows, streams.encoder.frames),
            tuple(mine.index_copy(1, rows, theirs) for mine, theirs in pairs),
        )
        return StreamState(self.samples.index_copy(0, rows, streams.samples), encoder)


class RecurrentLayer(nn.Module):
    """One cell over a sequence, then, if asked for, normalization and projection of its outputs.

    Whatever leaves a layer lies within plus or minus its `limit`, so that 8 bit can have a fixed scale. The normalization
    (Ba et al. 2016) has no gain and bias of its own: a linear map always follows and holds them. The clipped projection narrows
    what the next layer reads (Sak et al. 2014), not what the cell carries on.
    """

    def __init__(self, cell: str, input_size: int, hidden_size: int, layer_norm: bool, projection_size: int | None) -> None:
        """Take plain numbers; `cell` is one of `CELLS`."""
        super().__init__()
        self.rnn = CELLS[cell](input_size, hidden_size, batch_first=True)
        self.layer_norm = layer_norm
        self.projection = None if projection_size is None else nn.Linear(hidden_size, projection_size)

    def forward(self, inputs: Tensor, hidden: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Advance by `inputs` `[batch, n_steps, n_in]`; `hidden` holds one or two tensors `[batch, hidden_size]`."""
        if is_faster(self.rnn, inputs):
            outputs, last = run_gru(self.rnn, inputs, hidden[0])
            return self.shape(outputs), (last,)
        before = tuple(h[None].contiguous() for h in hidden)
        outputs, after = self.rnn(inputs, before if len(before) > 1 else before[0])
        return self.shape(outputs), tuple(h[0] for h in (after if isinstance(after, tuple) else (after,)))

    def shape(self, outputs: Tensor) -> Tensor:
        """Turn the cell's outputs `[..., hidden_size]` into the layer's `[..., output_size]`."""
        outputs = self.normalize(outputs)
        return outputs if self.projection is None else self.clip(self.projection(outputs))

    def normalize(self, outputs: Tensor) -> Tensor:
        """Normalize the cell's outputs `[..., hidden_size]` if this layer does so."""
        if not self.layer_norm:
            return outputs
        return nn.functional.layer_norm(outputs, outputs.shape[-1:], eps=NORM_EPSILON).clamp(-NORM_LIMIT, NORM_LIMIT)

    def clip(self, projected: Tensor) -> Tensor:
        """Clamp what the projection gives."""
        return projected.clamp(-PROJECTION_LIMIT, PROJECTION_LIMIT)

    def cell_weights(self) -> list[Tensor]:
        """Input weights, recurrent weights, input bias, recurrent bias, gates in torch's order along axis 0."""
        return [getattr(self.rnn, f"{kind}_l0").detach() for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]

    @property
    def norm_limit(self) -> float:
        """Range of what `normalize` gives."""
        return NORM_LIMIT if self.layer_norm else CELL_LIMIT

    @property
    def limit(self) -> float:
        """Range of what the layer gives."""
        return self.norm_limit if self.projection is None else PROJECTION_LIMIT


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
        layer_norm: bool = False,
        projection_size: int | None = None,
    ) -> None:
        """Take plain numbers; `cell` is one of `CELLS`. A step takes `subsampling` frames and gives `rows_per_step` rows."""
        super().__init__()
        self.subsampling, self.rows_per_step, self.n_tokens = subsampling, rows_per_step, n_tokens
        self.cell, self.hidden_size, self.input_size = cell, hidden_size, n_mels * subsampling
        width = projection_size or hidden_size
        sizes = [self.input_size, *[width] * (num_layers - 1)]
        self.layers = nn.ModuleList(RecurrentLayer(cell, size, hidden_size, layer_norm, projection_size) for size in sizes)
        self.dropout = dropout
        self.output = nn.Linear(width, rows_per_step * n_tokens)

    @property
    def recurrent_layers(self) -> list[RecurrentLayer]:
        """The layers, from input to output."""
        return [cast(RecurrentLayer, layer) for layer in self.layers]

    def init_state(self, batch: int) -> EncoderState:
        """Zeros, for `batch` new streams."""
        zeros = self.output.weight.new_zeros
        n_states = 2 if self.cell == "lstm" else 1
        hidden = tuple(zeros(len(self.layers), batch, self.hidden_size) for _ in range(n_states))
        return EncoderState(zeros(batch, 0, self.input_size // self.subsampling), hidden)

    def step(self, frames: Tensor, state: EncoderState, chance: RowChance | None = None) -> tuple[Tensor, EncoderState]:
        """Advance by `frames` `[batch, n_frames, n_mels]`, any number; returns log-probs `[batch, n_rows, n_tokens]`.

        With `chance`, in training, a share of what the layers read is dropped.
        """
        frames = torch.cat([state.frames, frames], dim=1)
        n_steps = frames.shape[1] // self.subsampling
        left = frames[:, n_steps * self.subsampling :]
        if n_steps == 0:  # torch's recurrent layers refuse an empty sequence
            return frames.new_zeros(len(frames), 0, self.n_tokens), replace(state, frames=left)
        outputs = frames[:, : n_steps * self.subsampling].reshape(len(frames), n_steps, -1)
        finals = []
        for layer, hidden in zip(self.recurrent_layers, zip(*state.hidden, strict=True), strict=True):
            if chance is not None and layer is not self.layers[0]:
                outputs = chance.dropout(outputs, self.dropout)
            outputs, final = layer(outputs, hidden)
            finals.append(final)
        return self.log_probs(outputs), EncoderState(left, tuple(torch.stack(h) for h in zip(*finals, strict=True)))

    def log_probs(self, outputs: Tensor) -> Tensor:
        """Turn the last layer's outputs `[batch, n_steps, hidden_size]` into rows `[batch, n_rows, n_tokens]`."""
        logits = self.output(outputs)
        return logits.reshape(len(logits), -1, self.n_tokens).log_softmax(dim=-1)


class AcousticModel(nn.Module):
    """Frontend and encoder behind one `step`."""

    def __init__(self, frontend: Frontend, encoder: Encoder) -> None:
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
    encoder = Encoder(frontend.n_mels, n_tokens=n_tokens, **network.model_dump())
    return AcousticModel(build_frontend(frontend), encoder)
