"""What a batch of streams remembers between two chunks: named tensors, batch on axis 0, each a value.

A graph names the same tensors `state_` and the name (`edgeseq.model.signature`).
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

State = dict[str, Tensor]
"""`samples` not yet framed `[batch, n]`, `frames` not yet stacked `[batch, n, n_mels]`, `hidden_0`, `hidden_1` ... and for LSTM
`cell_0` ... `[batch, hidden_size]`. No function here changes one."""

GRAPH_PREFIX = "state_"


def detach(state: State) -> State:
    """Cut the gradient here (truncated backpropagation through time)."""
    return {name: tensor.detach() for name, tensor in state.items()}


def restart(state: State, rows: Tensor) -> State:
    """Set the streams where `rows`, bool `[batch]`, is true back to zero, as when a new stream begins."""
    return {name: tensor.masked_fill(rows.view(-1, *(1,) * (tensor.ndim - 1)), 0.0) for name, tensor in state.items()}


def pick(state: State, rows: Tensor) -> State:
    """Take the streams of numbers `rows`, int64 `[n_rows]`."""
    return {name: tensor[rows] for name, tensor in state.items()}


def put(state: State, rows: Tensor, streams: State) -> State:
    """Put `streams` in the places `rows`, int64 `[n_rows]`, of these; the others stay as they are."""
    return {name: tensor.index_copy(0, rows, streams[name]) for name, tensor in state.items()}


def part(state: Mapping[str, Tensor], names: Mapping[str, Tensor]) -> State:
    """Take the tensors that `names` has, too."""
    return {name: state[name] for name in names}
