"""Is the training still sound? Gradients that vanish or explode, losses that are no number."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from statistics import median

import torch
from torch import nn

from edgeseq.errors import EdgeseqError

EXPLODED = 100.0
"""A gradient this many times its usual norm is reported."""
VANISHED = 1e-6
"""A layer whose gradient is so small beside the largest layer's learns nothing."""
VANISHED_STEPS = 100
"""... if it stays so for this long."""
USUAL_STEPS = 200
"""The usual norm is the median of this many steps."""
QUIET_STEPS = 500
"""The same is reported at most this often."""
HARDER = 0.05
"""More difficulty from one step to the next is another kind of batch."""
NAMED_CLIPS = 12


def layer_norms(model: nn.Module) -> dict[str, float]:
    """Norm of the gradient of each layer, by its name; those without a gradient are left out."""
    norms: dict[str, list[torch.Tensor]] = {}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            norms.setdefault(_layer_of(name), []).append(torch.linalg.vector_norm(parameter.grad))
    return {layer: float(torch.linalg.vector_norm(torch.stack(parts))) for layer, parts in norms.items()}


def _layer_of(name: str) -> str:
    """The name of a parameter's layer.

    >>> _layer_of("trunk.layers.2.rnn.weight_hh_l0"), _layer_of("head.linear.bias")
    ('layer 3', 'output')
    """
    parts = name.split(".")
    return f"layer {int(parts[2]) + 1}" if parts[1] == "layers" else "output"


class GradientWatch:
    """Remembers what gradients are usual, and says what is not."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._norms: deque[float] = deque(maxlen=USUAL_STEPS)
        self._vanished: dict[str, int] = {}
        self._hardness = 0.0
        self._told = -QUIET_STEPS

    def look(self, step: int, by_layer: Mapping[str, float], clip: float, hardness: float = 0.0) -> str | None:
        """Say what is wrong with the gradient of `step`, or nothing.

        Where the recipe makes the batches harder (`hardness`: its difficulty, 0 to 1), larger gradients are meant, and what
        is usual is learnt again.
        """
        if (hardness > 0) != (self._hardness > 0) or hardness - self._hardness > HARDER:
            self._norms.clear()
        self._hardness = hardness
        norm = math.sqrt(sum(n * n for n in by_layer.values()))
        usual = median(self._norms) if len(self._norms) >= USUAL_STEPS // 4 else math.inf
        self._norms.append(norm)
        largest = max(by_layer.values(), default=0.0)
        for layer, one in by_layer.items():
            self._vanished[layer] = self._vanished.get(layer, 0) + 1 if one < VANISHED * largest else 0
        if step - self._told < QUIET_STEPS:
            return None
        dead = [layer for layer, steps in self._vanished.items() if steps >= VANISHED_STEPS]
        if norm > EXPLODED * usual:
            self._told = step
            return (
                f"the gradient exploded: its norm is {norm:.3g}, usually {usual:.3g}; it is cut to {clip:g}. "
                "If this appears again, lower train.lr."
            )
        if dead:
            self._told = step
            return (
                f"the gradient vanished: {', '.join(dead)} got less than a millionth of the largest layer's for "
                f"{VANISHED_STEPS} steps and learns nothing. Fewer layers, layer_norm or another seed may help."
            )
        return None


class BadSteps:
    """Counts steps whose loss or gradient is not a number; more than the recipe's bound end the training."""

    def __init__(self, most: int, count: int = 0) -> None:
        """Continue from `count`, with `most` as the bound."""
        self.most, self.count = most, count
        self._clips: deque[str] = deque(maxlen=NAMED_CLIPS)

    def add(self, step: int, loss: float, clips: list[str]) -> str:
        """Count one more, made by `clips`; returns what to tell. Raises EdgeseqError beyond the bound."""
        self.count += 1
        self._clips.extend(dict.fromkeys(clips))
        if self.count > self.most:
            named = "\n".join(f"    {clip}" for clip in dict.fromkeys(self._clips))
            raise EdgeseqError(
                f"Step {step}: the loss or its gradient is not a number for the {self.count}th time (at most {self.most}, "
                f"train.most_bad_steps). The last of these steps heard:\n{named}\n"
                "  Look at these recordings (edgeseq data check), or lower train.lr; the checkpoint before is kept."
            )
        return f"loss {loss:g}: no number in the loss or its gradient; this step changes nothing ({self.count} so far)."
