"""The network as torch computes it, behind the same `step` as an exported file, so that a recognizer can hear with it."""

from __future__ import annotations

from pathlib import Path

import torch

from edgeseq.export.states import state_names
from edgeseq.model.metadata import ModelMetadata
from edgeseq.model.network import Floats, Network, NetworkState
from edgeseq.training.acoustic_model import AcousticModel, EncoderState, StreamState


class TorchNetwork(Network):
    """Weights in torch, stepped chunk by chunk; their state goes in and out as arrays, named as a graph names them."""

    def __init__(self, model: AcousticModel, metadata: ModelMetadata) -> None:
        """Step `model`, on the CPU, by the chunks of `metadata`."""
        # There is no file to open: what `Network` learns from one is known here.
        self.model, self.metadata = model.eval(), metadata
        self.path, self.fingerprint = Path(metadata.name), "torch"
        self.n_steps = metadata.chunk_samples // metadata.step_samples

    def init_state(self, batch: int = 1) -> NetworkState:
        """Make the state of `batch` streams that have just opened: zeros."""
        return as_arrays(self.model, self.model.init_state(batch))

    @torch.inference_mode()
    def step(self, chunk: Floats, state: NetworkState) -> tuple[Floats, NetworkState]:
        """Advance `batch` streams by one network chunk; shapes as `Network.step`."""
        log_probs, after = self.model.step(torch.from_numpy(chunk), as_state(self.model, state))
        return log_probs.numpy(), as_arrays(self.model, after)


def as_arrays(model: AcousticModel, state: StreamState) -> NetworkState:
    """Name the parts of a torch state as the graph does."""
    arrays = {"state_samples": state.samples.numpy()}
    for layer in range(len(model.encoder.layers)):
        for name, hidden in zip(state_names(model.encoder, layer), state.encoder.hidden, strict=True):
            arrays[name] = hidden[layer].numpy()
    return arrays


def as_state(model: AcousticModel, arrays: NetworkState) -> StreamState:
    """Put a torch state together from arrays; chunks are whole steps, so that no frame is left over between two."""
    by_layer = [[arrays[name] for name in state_names(model.encoder, n)] for n in range(len(model.encoder.layers))]
    hidden = tuple(torch.stack([torch.from_numpy(array) for array in kind]) for kind in zip(*by_layer, strict=True))
    samples = torch.from_numpy(arrays["state_samples"])
    return StreamState(samples, EncoderState(model.encoder.init_state(len(samples)).frames, hidden))
