"""The head of a network: rows of what a task wants to know, from the last layer's outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Activation:
    """What becomes of the linear layer's outputs, in torch and in a graph."""

    apply: Callable[[Tensor], Tensor]
    """along the last axis"""
    operator: str
    """ONNX's"""
    attributes: Mapping[str, Any]
    """of the operator"""
    port: str
    """name of the graph's output"""


ACTIVATIONS: dict[str, Activation] = {
    "log_softmax": Activation(lambda logits: logits.log_softmax(dim=-1), "LogSoftmax", {"axis": -1}, "log_probs"),
    "softmax": Activation(lambda logits: logits.softmax(dim=-1), "Softmax", {"axis": -1}, "scores"),
    "sigmoid": Activation(Tensor.sigmoid, "Sigmoid", {}, "scores"),
}


class Head(nn.Module):
    """One linear layer and an activation; a step gives `rows_per_step` rows of `n_outputs` values."""

    def __init__(self, width: int, n_outputs: int, rows_per_step: int = 1, activation: str = "log_softmax") -> None:
        """Take plain numbers; `activation` is one of `ACTIVATIONS`."""
        super().__init__()
        self.n_outputs, self.rows_per_step = n_outputs, rows_per_step
        self.activation = ACTIVATIONS[activation]
        self.linear = nn.Linear(width, rows_per_step * n_outputs)

    @property
    def port(self) -> str:
        """Name of what comes out."""
        return self.activation.port

    def logits(self, outputs: Tensor) -> Tensor:
        """Turn the trunk's outputs `[batch, n_steps, width]` into rows `[batch, n_rows, n_outputs]`, before the activation."""
        logits: Tensor = self.linear(outputs)
        return logits.reshape(len(logits), -1, self.n_outputs)

    def forward(self, outputs: Tensor) -> Tensor:
        """Turn the trunk's outputs `[batch, n_steps, width]` into rows `[batch, n_rows, n_outputs]`."""
        return self.activation.apply(self.logits(outputs))
