"""A whole network, by chunk or at once: frontend, trunk, head."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

from edgeseq.model.signature import AUDIO, Port, Signature, StatePort
from edgeseq.training.frontend import Frontend, build_frontend
from edgeseq.training.head import Head
from edgeseq.training.recipe import FrontendRecipe, NetworkRecipe
from edgeseq.training.state import GRAPH_PREFIX, State
from edgeseq.training.trunk import FRAMES, Trunk, build_trunk

T = TypeVar("T")
Shape = tuple[int, ...]

SAMPLES = "samples"
"""The state that holds sound not yet framed, `[batch, n_left]`."""


class SequenceModel(nn.Module):
    """Frontend, trunk and head behind one `step`."""

    def __init__(self, frontend: Frontend, trunk: Trunk, head: Head) -> None:
        """Put the three together; see `build_model`."""
        super().__init__()
        self.frontend, self.trunk, self.head = frontend, trunk, head

    def init_state(self, batch: int = 1) -> State:
        """Begin `batch` new streams."""
        return {SAMPLES: self.frontend.init_state(batch), **self.trunk.init_state(batch)}

    def step(self, samples: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance by `samples` `[batch, n_samples]`, any length, also zero; `state` is not modified.

        Returns rows `[batch, n_rows, n_outputs]`, as `Head` gives them, and the next state.
        """
        frames, left = self.frontend.step(samples, state[SAMPLES])
        outputs, after = self.trunk.step(frames, state)
        return self.head(outputs), {**after, SAMPLES: left}


def build_model(
    frontend: FrontendRecipe, network: NetworkRecipe, n_outputs: int, activation: str = "log_softmax"
) -> SequenceModel:
    """Make the model of a recipe, with fresh weights from torch's global generator."""
    trunk = build_trunk(network, frontend.n_mels)
    head = Head(trunk.width, n_outputs, network.rows_per_step, activation)
    return SequenceModel(build_frontend(frontend), trunk, head)


def signature_of(model: SequenceModel, chunk_samples: int, sample_rate: int) -> Signature:
    """Say what the graph of a model takes, gives and remembers, for chunks of whole steps."""
    row_samples = model.frontend.hop_samples * model.trunk.subsampling // model.head.rows_per_step
    audio = Port(AUDIO, "float32", chunk_samples, (), float(sample_rate))
    rows = Port(model.head.port, "float32", chunk_samples // row_samples, (model.head.n_outputs,), sample_rate / row_samples)
    states = [(name, tensor.shape[1:]) for name, tensor in model.init_state(1).items() if name != FRAMES]
    return Signature((audio,), (rows,), tuple(StatePort(GRAPH_PREFIX + name, "float32", tuple(s)) for name, s in states))


def weight_shapes(frontend: FrontendRecipe, network: NetworkRecipe, n_outputs: int) -> dict[str, Shape]:
    """Give name -> shape of the weights that a recipe's model learns, and of its statistics, without memory for any of them."""
    with torch.device("meta"):
        trunk = build_trunk(network, frontend.n_mels)
        parts = nn.ModuleDict({"trunk": trunk, "head": Head(trunk.width, n_outputs, network.rows_per_step)})
    statistics = {f"frontend.{name}": (frontend.n_mels,) for name in ("mean", "std")}
    return {**statistics, **{name: tuple(tensor.shape) for name, tensor in parts.state_dict().items()}}


def renamed_weights(weights: dict[str, T]) -> dict[str, T]:
    """Give weights, or their shapes, that were saved before there were trunk and head their names of today."""
    old = {"encoder.layers.": "trunk.layers.", "encoder.output.": "head.linear."}
    return {
        next((new + name.removeprefix(was) for was, new in old.items() if name.startswith(was)), name): value
        for name, value in weights.items()
    }
