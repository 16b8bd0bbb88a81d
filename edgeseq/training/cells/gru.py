"""The gated recurrent unit, reset gate after the product (Cho et al. 2014, version 1), as torch.nn.GRU computes it.

Training on processors has a backward pass of its own, a tenth quicker than torch's: torch records every step of its GRU for the
backward pass and there adds a product a step to each weight's gradient. Here what does not depend on the step before is one
product over all steps: the gates' inputs, and the gradients of weights and inputs.
Products are taken in the precision of torch's autocast, all else in that of the weights.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from edgeseq.training.cells.cell import Cell, Graph, States, Values, run_layer, split

BLOCK = 4
"""Steps whose factors are computed together in the backward pass: as many as a processor's cache holds."""


def step(from_input: Tensor, from_hidden: Tensor, states: States) -> tuple[States, tuple[Tensor, ...]]:
    """Advance by one step; gates in torch's order: reset, update, new."""
    input_r, input_z, input_n = from_input.chunk(3, dim=-1)
    hidden_r, hidden_z, hidden_n = from_hidden.chunk(3, dim=-1)
    reset, update = (input_r + hidden_r).sigmoid(), (input_z + hidden_z).sigmoid()
    new = (input_n + reset * hidden_n).tanh()
    return (new + update * (states[0] - new),), (reset, update)


def add_step(graph: Graph, size: int, from_input: Values, from_hidden: str, states: Values) -> Values:
    """Add one step as nodes; the two sigmoids stand together."""
    input_rz, input_n = from_input
    hidden_rz, hidden_n = split(graph, from_hidden, 2 * size, size)
    gates = graph.node("Sigmoid", graph.node("Add", input_rz, hidden_rz))
    reset, update = split(graph, gates, size, size)
    new = graph.node("Tanh", graph.node("Add", input_n, graph.node("Mul", reset, hidden_n)))
    return [graph.node("Add", new, graph.node("Mul", update, graph.node("Sub", states[0], new)))]


def run(rnn: nn.RNNBase, inputs: Tensor, states: States) -> tuple[Tensor, States]:
    """Advance a layer in training, by whichever way is quicker here."""
    if not is_faster(rnn, inputs):
        return run_layer(rnn, inputs, states)
    outputs, last = run_gru(rnn, inputs, states[0])
    return outputs, (last,)


def is_faster(rnn: nn.RNNBase, inputs: Tensor) -> bool:
    """Whether `run_gru` takes the place of `rnn`: a GRU in training on a processor; other devices have quick ones."""
    return isinstance(rnn, nn.GRU) and inputs.device.type == "cpu" and torch.is_grad_enabled()


def run_gru(rnn: nn.RNNBase, inputs: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Do what a GRU of one layer does with `inputs` `[batch, n_steps, n_in]` from `hidden` `[batch, hidden_size]`.

    Returns outputs `[batch, n_steps, hidden_size]` and the last of them, within rounding those of torch.
    """
    weights = (getattr(rnn, f"{kind}_l0") for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else hidden.dtype
    with torch.autocast("cpu", enabled=False):
        outputs: Tensor = _Gru.apply(dtype, inputs.to(hidden.dtype), hidden, *weights)
    return outputs.transpose(0, 1), outputs[-1]


class _Gru(torch.autograd.Function):
    """Time first inside; gates in torch's order: reset, update, new."""

    @staticmethod
    def forward(
        ctx: Any,
        dtype: torch.dtype,
        inputs: Tensor,
        hidden: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor,
        bias_hh: Tensor,
    ) -> Tensor:
        """Return outputs `[n_steps, batch, hidden_size]`, by products in `dtype`."""
        n_steps, size = inputs.shape[1], hidden.shape[1]
        flat = inputs.transpose(0, 1).reshape(-1, inputs.shape[2]).to(dtype)
        weight_ih, weight_hh = weight_ih.to(dtype), weight_hh.to(dtype)
        gates = torch.addmm(bias_ih.to(dtype), flat, weight_ih.t()).to(hidden.dtype).view(n_steps, -1, 3 * size)
        states = hidden.new_empty(n_steps + 1, *hidden.shape)
        states[0] = hidden
        kept = hidden.new_empty(n_steps, *hidden.shape)  # what the state says to the new gate
        resets, updates, news = gates.split(size, dim=2)
        bias, recurrent = bias_hh.to(dtype), weight_hh.t()
        for step in range(n_steps):
            before, both, new = states[step], gates[step, :, : 2 * size], news[step]
            across = torch.addmm(bias, before.to(dtype), recurrent)
            both.add_(across[:, : 2 * size]).sigmoid_()
            kept[step] = across[:, 2 * size :]
            torch.addcmul(new, resets[step], kept[step], out=new).tanh_()
            torch.lerp(new, before, updates[step], out=states[step + 1])
        ctx.save_for_backward(flat, weight_ih, weight_hh, gates, states, kept)
        return states[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Go back from the gradient of the outputs `[n_steps, batch, hidden_size]`."""
        flat, weight_ih, weight_hh, gates, states, kept = ctx.saved_tensors
        n_steps, batch, size = kept.shape
        dtype, full = flat.dtype, states.dtype
        across, into_new, of_hidden = _go_back(gradients[0], weight_hh, gates, states, kept)
        across = across.view(-1, 3 * size)
        of_bias_hh = across.sum(0) if ctx.needs_input_grad[6] else None
        of_weight_hh = None
        if ctx.needs_input_grad[4]:
            of_weight_hh = (across.t().to(dtype) @ states[:-1].reshape(-1, size).to(dtype)).to(full)
        across[:, 2 * size :] = into_new.view(-1, size)  # from here on what goes to the inputs' side
        of_bias_ih = across.sum(0) if ctx.needs_input_grad[5] else None
        across = across.to(dtype)
        of_weight_ih = (across.t() @ flat).to(full) if ctx.needs_input_grad[3] else None
        of_inputs = None
        if ctx.needs_input_grad[1]:
            of_inputs = (across @ weight_ih).to(full).view(n_steps, batch, -1).transpose(0, 1)
        return None, of_inputs, of_hidden, of_weight_ih, of_weight_hh, of_bias_ih, of_bias_hh


def _go_back(
    of_outputs: Tensor, weight_hh: Tensor, gates: Tensor, states: Tensor, kept: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Go back through all steps, all `[n_steps, batch, ...]`.

    Returns the gradients of what the state says to the three gates, of what goes into the new gate's tanh, and of the first
    state `[batch, hidden_size]`.
    """
    n_steps, batch, size = kept.shape
    across, into_new = torch.empty_like(gates), torch.empty_like(kept)
    of_state = torch.zeros_like(states[0])
    for first in reversed(range(0, n_steps, BLOCK)):
        steps = slice(first, min(first + BLOCK, n_steps))
        reset, update, new = gates[steps].split(size, dim=2)
        to_new = (1 - update) * (1 - new * new)
        to_reset = to_new * kept[steps] * reset * (1 - reset)
        to_update = (states[steps] - new) * update * (1 - update)
        factors = torch.stack([to_reset, to_update, to_new * reset], dim=2)
        for step in reversed(range(len(factors))):
            of_state += of_outputs[first + step]
            of_step = across[first + step]
            torch.mul(factors[step], of_state[:, None], out=of_step.view(batch, 3, size))
            torch.mul(to_new[step], of_state, out=into_new[first + step])
            of_state.mul_(update[step]).add_(of_step.to(weight_hh.dtype) @ weight_hh)
    return across, into_new, of_state


GRU = Cell(
    layer=nn.GRU,
    states=("hidden",),
    gates=("reset", "update"),
    step=step,
    operator="GRU",
    operator_gates=(1, 0, 2),  # zrh
    graph_gates=(0, 1, 2),
    parts=(2, 1),
    add_step=add_step,
    run=run,
    attributes={"linear_before_reset": 1},  # torch applies the reset gate after the product
)
