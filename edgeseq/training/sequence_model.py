"""A whole network, by chunk or at once: what makes frames of its input (of sound, the frontend), trunk, head."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

from edgeseq.errors import UsageError
from edgeseq.model.signature import Port, Signature, StatePort
from edgeseq.training.frontend import Frontend, build_frontend
from edgeseq.training.head import Head
from edgeseq.training.input_layer import InputLayer, build_sequence_layer
from edgeseq.training.input_recipe import AnyInput, FrontendRecipe
from edgeseq.training.recipe import NetworkRecipe
from edgeseq.training.state import GRAPH_PREFIX, State
from edgeseq.training.trunk import FRAMES, Trunk, build_trunk

T = TypeVar("T")
Shape = tuple[int, ...]


class SequenceModel(nn.Module):
    """Frontend, trunk and head behind one `step`. The frontend is an `InputLayer` of whatever kind the input is."""

    def __init__(self, frontend: InputLayer, trunk: Trunk, head: Head) -> None:
        """Put the three together; see `build_model`."""
        super().__init__()
        self.frontend, self.trunk, self.head = frontend, trunk, head

    @property
    def sound(self) -> Frontend:
        """The frontend of a model that hears. Raises UsageError for another."""
        if isinstance(self.frontend, Frontend):
            return self.frontend
        raise UsageError("the model takes no sound, and sound is wanted here.\n  Name a model that hears.")

    def init_state(self, batch: int = 1) -> State:
        """Begin `batch` new streams."""
        return {**self.frontend.init_states(batch), **self.trunk.init_state(batch)}

    def step(self, units: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance by `units` of the input, any number, also none; `state` is not modified.

        units: samples float32 `[batch, n]`, ids int64 `[batch, n]`, or values float32 `[batch, n, n_channels]`.

        Returns rows `[batch, n_rows, n_outputs]`, as `Head` gives them, and the next state.
        """
        frames, left = self.frontend.advance(units, state)
        outputs, after = self.trunk.step(frames, state)
        return self.head(outputs), {**after, **left}


def build_model(inputs: AnyInput, network: NetworkRecipe, n_outputs: int, activation: str = "log_softmax") -> SequenceModel:
    """Make the model of a recipe, with fresh weights from torch's global generator."""
    trunk = build_trunk(network, inputs.n_features)
    head = Head(trunk.width, n_outputs, network.rows_per_step, activation)
    return SequenceModel(build_input(inputs), trunk, head)


def build_input(recipe: AnyInput) -> InputLayer:
    """Make what turns a recipe's input into frames."""
    return build_frontend(recipe) if isinstance(recipe, FrontendRecipe) else build_sequence_layer(recipe)


def signature_of(model: SequenceModel, port: Port) -> Signature:
    """Say what the graph of a model takes (at `port`, chunks of whole steps), gives and remembers."""
    row_units = model.frontend.units_per_frame * model.trunk.subsampling // model.head.rows_per_step
    rate = None if port.rate is None else port.rate / row_units
    rows = Port(model.head.port, "float32", port.per_chunk // row_units, (model.head.n_outputs,), rate)
    states = [(name, tensor.shape[1:]) for name, tensor in model.init_state(1).items() if name != FRAMES]
    return Signature((port,), (rows,), tuple(StatePort(GRAPH_PREFIX + name, "float32", tuple(s)) for name, s in states))


def weight_shapes(inputs: AnyInput, network: NetworkRecipe, n_outputs: int) -> dict[str, Shape]:
    """Give name -> shape of the weights that a recipe's model learns, and of its statistics, without memory for any of them."""
    with torch.device("meta"):
        trunk = build_trunk(network, inputs.n_features)
        parts = nn.ModuleDict({"trunk": trunk, "head": Head(trunk.width, n_outputs, network.rows_per_step)})
    of_input = {f"frontend.{name}": shape for name, shape in inputs.weight_shapes.items()}
    return {**of_input, **{name: tuple(tensor.shape) for name, tensor in parts.state_dict().items()}}


def renamed_weights(weights: dict[str, T]) -> dict[str, T]:
    """Give weights, or their shapes, that were saved before there were trunk and head their names of today."""
    old = {"encoder.layers.": "trunk.layers.", "encoder.output.": "head.linear."}
    return {
        next((new + name.removeprefix(was) for was, new in old.items() if name.startswith(was)), name): value
        for name, value in weights.items()
    }
