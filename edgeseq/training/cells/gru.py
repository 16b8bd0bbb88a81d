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
    """Time first inside; `gates` hold reset, update, what the state says to the new gate, and the new gate."""

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
        flat = inputs.transpose(0, 1).to(dtype).reshape(-1, inputs.shape[2])
        weight_ih, weight_hh = weight_ih.to(dtype), weight_hh.to(dtype)
        bias = torch.cat([bias_ih[: 2 * size] + bias_hh[: 2 * size], bias_ih[2 * size :]])
        from_inputs = torch.addmm(bias.to(dtype), flat, weight_ih.t())
        gates = hidden.new_empty(len(flat), 4 * size)
        gates[:, : 2 * size] = from_inputs[:, : 2 * size]
        gates[:, 2 * size : 3 * size] = bias_hh[2 * size :]
        gates[:, 3 * size :] = from_inputs[:, 2 * size :]
        gates = gates.view(n_steps, -1, 4 * size)
        states = hidden.new_empty(n_steps + 1, *hidden.shape)
        states[0] = hidden
        _go_through(gates, states, weight_hh.t())
        ctx.save_for_backward(flat, weight_ih, weight_hh, gates, states)
        return states[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Go back from the gradient of the outputs `[n_steps, batch, hidden_size]`."""
        flat, weight_ih, weight_hh, gates, states = ctx.saved_tensors
        n_steps, size = len(gates), states.shape[2]
        dtype, full = flat.dtype, states.dtype
        across, of_hidden = _go_back(gradients[0], weight_hh, gates, states)
        across = across.view(-1, 4 * size)
        of_bias_hh = across[:, : 3 * size].sum(0) if ctx.needs_input_grad[6] else None
        of_weight_hh = None
        if ctx.needs_input_grad[4]:
            of_weight_hh = (across[:, : 3 * size].to(dtype).t() @ states[:-1].to(dtype).view(-1, size)).to(full)
        across[:, 2 * size : 3 * size] = across[:, 3 * size :]  # from here on what goes to the inputs' side
        across = across[:, : 3 * size]
        of_bias_ih = across.sum(0) if ctx.needs_input_grad[5] else None
        across = across.to(dtype)
        of_weight_ih = (across.t() @ flat).to(full) if ctx.needs_input_grad[3] else None
        of_inputs = None
        if ctx.needs_input_grad[1]:
            of_inputs = (across @ weight_ih).to(full).view(n_steps, -1, flat.shape[1]).transpose(0, 1)
        return None, of_inputs, of_hidden, of_weight_ih, of_weight_hh, of_bias_ih, of_bias_hh


def _go_through(gates: Tensor, states: Tensor, recurrent: Tensor) -> None:
    """Advance step by step: fill in `states` after the first, and in `gates`, which hold all that is not the state's, the rest.

    `gates` `[n_steps, batch, 4 * hidden_size]`, `states` `[n_steps + 1, batch, hidden_size]`, `recurrent`
    `[hidden_size, 3 * hidden_size]` in the precision of the products.
    """
    size = states.shape[2]
    parts = (gates.unbind(), gates[..., : 3 * size].unbind(), gates[..., : 2 * size].unbind())
    for gate, summed, both, before, after in zip(*parts, states[:-1].unbind(), states[1:].unbind(), strict=True):
        _add_product(summed, before, recurrent)
        both.sigmoid_()
        reset, update, kept, new = gate.split(size, dim=1)
        torch.addcmul(new, reset, kept, out=new).tanh_()
        torch.lerp(new, before, update, out=after)


def _go_back(of_outputs: Tensor, weight_hh: Tensor, gates: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
    """Go back through all steps, all `[n_steps, batch, ...]`.

    Returns the gradients of what goes into reset, update, what the state says to the new gate, and the new gate's tanh,
    `[n_steps, batch, 4 * hidden_size]`, and of the first state `[batch, hidden_size]`.
    """
    n_steps, batch, size = of_outputs.shape
    across = torch.empty_like(gates)
    of_state = torch.zeros_like(states[0])
    for first in reversed(range(0, n_steps, BLOCK)):
        steps = slice(first, min(first + BLOCK, n_steps))
        factors = across[steps].view(-1, batch, 4, size)  # each is used up where its gradient is put
        _fill_factors(factors, gates[steps], states[steps])
        of_block, updates = of_outputs[steps].unbind(), gates[steps, :, size : 2 * size].unbind()
        for of_step, of_output, update in zip(*map(reversed, (factors.unbind(), of_block, updates)), strict=True):
            of_state += of_output
            of_step.mul_(of_state[:, None])
            of_state.mul_(update)
            _add_product(of_state, of_step.view(batch, -1)[:, : 3 * size], weight_hh)
    return across, of_state


def _fill_factors(factors: Tensor, gates: Tensor, before: Tensor) -> None:
    """Fill in how much of the gradient of a state goes where `_go_back` says: `factors` `[n_steps, batch, 4, hidden_size]`."""
    reset, update, kept, new = gates.split(before.shape[2], dim=2)
    to_reset, to_update, to_kept, to_new = factors.unbind(2)
    rest = 1 - update
    torch.mul(rest, 1 - new.square(), out=to_new)
    torch.mul(to_new, reset, out=to_kept)
    torch.mul((1 - reset).mul_(kept), to_kept, out=to_reset)
    torch.mul((before - new).mul_(update), rest, out=to_update)


def _add_product(to: Tensor, left: Tensor, right: Tensor) -> None:
    """Add `left @ right` to `to`, multiplied in the precision of `right`."""
    if to.dtype == right.dtype:
        to.addmm_(left, right)
    else:
        to.add_(left.to(right.dtype) @ right)


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
