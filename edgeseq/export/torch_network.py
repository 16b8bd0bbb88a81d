"""The network as torch computes it, behind the same `step` as an exported file, so that a recognizer can hear with it."""

from __future__ import annotations

from pathlib import Path

import torch

from edgeseq.model.metadata import ModelMetadata
from edgeseq.model.network import Network, NetworkState
from edgeseq.model.signature import Array, Arrays
from edgeseq.training.sequence_model import SequenceModel, signature_of
from edgeseq.training.state import GRAPH_PREFIX, State
from edgeseq.training.trunk import FRAMES


class TorchNetwork(Network):
    """Weights in torch, stepped chunk by chunk; their state goes in and out as arrays, named as a graph names them."""

    def __init__(self, model: SequenceModel, metadata: ModelMetadata) -> None:
        """Step `model`, on the CPU, by the chunks of `metadata`."""
        # There is no file to open: what `Network` learns from one is known here.
        self.model, self.metadata = model.eval(), metadata
        self.path, self.fingerprint = Path(metadata.name), "torch"
        self.signature = signature_of(model, metadata.signature.input)
        self.n_steps = self.signature.rows.per_chunk

    @torch.inference_mode()
    def step(self, inputs: Arrays, state: NetworkState) -> tuple[dict[str, Array], NetworkState]:
        """Advance `batch` streams by one network chunk; shapes as `Network.step`."""
        rows, after = self.model.step(torch.from_numpy(inputs[self.signature.input.name]), as_state(self.model, state))
        return {self.signature.rows.name: rows.numpy()}, as_arrays(after)


def as_arrays(state: State) -> NetworkState:
    """Name a torch state as the graph does; chunks are whole steps, so that no frame is left over between two."""
    return {GRAPH_PREFIX + name: tensor.numpy() for name, tensor in state.items() if name != FRAMES}


def as_state(model: SequenceModel, arrays: NetworkState) -> State:
    """Make a torch state of a graph's."""
    state = {name.removeprefix(GRAPH_PREFIX): torch.from_numpy(array) for name, array in arrays.items()}
    return {**state, FRAMES: model.trunk.init_state(len(next(iter(state.values()))))[FRAMES]}
