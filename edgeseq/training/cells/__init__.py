"""Recurrent cells, one module a cell: its arithmetic in training, a step of it by hand, and its nodes in a graph."""

from __future__ import annotations

from edgeseq.training.cells.cell import Cell
from edgeseq.training.cells.gru import GRU
from edgeseq.training.cells.lstm import LSTM
from edgeseq.training.cells.rnn import RNN

CELLS: dict[str, Cell] = {"gru": GRU, "lstm": LSTM, "rnn": RNN}
"""By the name that recipes use (`network.cell`)."""
