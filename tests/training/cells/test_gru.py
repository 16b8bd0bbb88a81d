"""The GRU of training on processors: torch's own, within rounding, forward and backward."""

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from edgeseq.training.cells.gru import BLOCK, is_faster, run_gru
from edgeseq.training.trunk import RecurrentLayer


def gradients(outputs, last, wanted):
    """Give outputs and gradients of a function in which every output counts otherwise."""
    weights = torch.linspace(-1, 1, outputs.numel(), dtype=outputs.dtype).view(outputs.shape)
    loss = (outputs * weights).sum() + (last * last).sum()
    return [outputs, last, *torch.autograd.grad(loss, wanted)]


@pytest.mark.parametrize("n_steps", [1, BLOCK, 3 * BLOCK + 1])
def test_it_is_the_gru_of_torch(n_steps):
    torch.manual_seed(0)
    rnn = nn.GRU(5, 7, batch_first=True).double()
    inputs = torch.randn(3, n_steps, 5, dtype=torch.float64, requires_grad=True)
    hidden = torch.randn(3, 7, dtype=torch.float64, requires_grad=True)
    outputs, last = rnn(inputs, hidden[None])
    wanted = [inputs, hidden, *rnn.parameters()]
    for one, other in zip(gradients(outputs, last[0], wanted), gradients(*run_gru(rnn, inputs, hidden), wanted), strict=True):
        torch.testing.assert_close(other, one, atol=1e-12, rtol=1e-10)


def test_frozen_weights_have_no_gradient():
    rnn = nn.GRU(5, 7, batch_first=True)
    rnn.weight_hh_l0.requires_grad_(False)
    outputs, _ = run_gru(rnn, torch.randn(2, 9, 5), torch.zeros(2, 7))
    outputs.sum().backward()
    assert rnn.weight_hh_l0.grad is None and rnn.weight_ih_l0.grad is not None


def test_products_take_the_precision_of_autocast():
    torch.manual_seed(0)
    rnn, inputs, hidden = nn.GRU(64, 64, batch_first=True), torch.randn(4, 30, 64), torch.zeros(4, 64)
    exact, last = run_gru(rnn, inputs, hidden)
    full = gradients(exact, last, list(rnn.parameters()))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded, last = run_gru(rnn, inputs, hidden)
    half = gradients(rounded, last, list(rnn.parameters()))
    assert rounded.dtype == torch.float32 and not torch.equal(rounded, exact)
    for one, other in zip(full, half, strict=True):
        assert (one - other).norm() < 0.02 * one.norm()


@pytest.mark.parametrize(("cell", "faster"), [("gru", True), ("lstm", False), ("rnn", False)])
def test_where_it_is_used(cell, faster):
    layer = RecurrentLayer(cell, 5, 7, False, None)
    inputs, hidden = torch.randn(2, 9, 5), (torch.zeros(2, 7),) * (2 if cell == "lstm" else 1)
    assert is_faster(layer.rnn, inputs) == faster
    trained, after = layer(inputs, hidden)
    with torch.inference_mode():
        assert not is_faster(layer.rnn, inputs)
        heard, last = layer(inputs, hidden)
    torch.testing.assert_close(trained, heard)
    torch.testing.assert_close(after, last)
