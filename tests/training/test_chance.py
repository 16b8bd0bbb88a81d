"""Random numbers of rows: whatever a row draws, its neighbours change nothing."""

import pytest
import torch

from edgeseq.training.chance import RowChance


def test_dropout_of_a_row_hangs_on_its_own_number_alone():
    values = torch.randn(3, 7, 5)
    together = RowChance(1, 2, [4, 5, 6]).dropout(values, 0.4)
    alone = RowChance(1, 2, [5]).dropout(values[1:2], 0.4)
    assert torch.equal(together[1:2], alone)
    assert not torch.equal(RowChance(1, 3, [5]).dropout(values[1:2], 0.4), alone)


@pytest.mark.parametrize("probability", [0.1, 0.5, 0.9])
def test_dropout_drops_its_share_and_keeps_the_mean(probability):
    dropped = RowChance(1, 2, range(4)).dropout(torch.ones(4, 100_003), probability)
    assert (dropped == 0).float().mean().item() == pytest.approx(probability, abs=0.01)
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)
    assert dropped.unique().tolist() == [0.0, pytest.approx(1 / (1 - probability))]


def test_no_dropout_changes_nothing_and_draws_nothing():
    chance = RowChance(1, 2, [0])
    values = torch.randn(1, 6)
    assert chance.dropout(values, 0.0) is values
    assert torch.equal(chance.uniform(3), RowChance(1, 2, [0]).uniform(3))
