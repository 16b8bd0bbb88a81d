"""Is the graph the network? Asked of every graph before it is written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeseq.errors import ExportError
from edgeseq.export.forms import GraphForm, Product
from edgeseq.export.simulation import simulate, with_stored_weights
from edgeseq.export.torch_network import as_arrays
from edgeseq.model.metadata import ModelMetadata
from edgeseq.model.session import open_session
from edgeseq.model.signature import Port
from edgeseq.training.input_layer import InputLayer
from edgeseq.training.sequence_model import SequenceModel
from edgeseq.training.state import State
from edgeseq.training.trunk import Trunk

N_CHUNKS = 12
BATCH_SIZES = (1, 2, 5)
SPLITS = ((1, 79, 160, 777), (100_000,), (640,))
"""Lengths, in units and repeated in turn, of the pieces in which torch takes the same input."""

TOLERANCES: dict[Product, tuple[float, float]] = {"float": (1e-3, 1e-3), "integer": (0.3, 1e-2), "blocks": (1.0, 5e-2)}
"""Kind of product -> largest difference allowed, and largest mean of a trial.

Integers: a value on the border between two of the 255 levels may round to either side, and the recurrence carries that on.
Blocks: how activations are rounded is the processor's own choice, and torch does not do it.
"""

Arrays = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Difference:
    """The largest absolute differences found between a graph and torch, over all trials."""

    rows: float
    state: float
    rows_mean: float
    """the largest mean of a trial"""


def verify_graph(graph: onnx.ModelProto, model: SequenceModel, metadata: ModelMetadata, form: GraphForm) -> Difference:
    """Compare log-probs and final state with torch (quantized: with its simulation) from random starts.

    Several batch sizes, several ways of cutting the input. Raises ExportError when they differ by more than the tolerance.
    """
    session = open_session(graph.SerializeToString())
    stored = with_stored_weights(model.trunk, form.bits)
    trials = [
        _compare(session, model, stored, metadata, form, batch, split, seed)
        for seed, (batch, split) in enumerate((b, s) for b in BATCH_SIZES for s in SPLITS)
    ]
    worst = Difference(*(max(values) for values in zip(*((t.rows, t.state, t.rows_mean) for t in trials), strict=True)))
    _refuse_difference(worst, metadata, form)
    return worst


def _refuse_difference(found: Difference, metadata: ModelMetadata, form: GraphForm) -> None:
    largest, mean = TOLERANCES[form.product]
    if not (found.rows <= largest and found.state <= largest and found.rows_mean <= mean):  # also for NaN
        raise ExportError(
            f"The {metadata.quantization} graph of {metadata.name} differs from the network that torch computes: rows by "
            f"{found.rows:.2g} (mean {found.rows_mean:.2g}), final state by {found.state:.2g}; at most {largest:g} "
            f"(mean {mean:g}) is allowed.\n  Nothing was written. This is a fault of edgeseq or onnxruntime "
            f"({onnxruntime.__version__}), or the weights hold NaN; please report it with the recipe."
        )


@torch.inference_mode()
def _compare(
    session: onnxruntime.InferenceSession,
    model: SequenceModel,
    stored: Trunk,
    metadata: ModelMetadata,
    form: GraphForm,
    batch: int,
    split: Sequence[int],
    seed: int,
) -> Difference:
    port = metadata.signature.input
    units = model.frontend.draw(batch, N_CHUNKS * port.per_chunk, torch.Generator().manual_seed(seed))
    state = random_state(model, batch, seed)
    if form.bits == 32:
        wanted, wanted_state = _run_torch(model, units, state, split)
    else:
        wanted, wanted_state = _run_simulation(model, model.frontend.stored(form.bits), stored, units, state, form)
    found, found_state = _run_graph(session, port, model.head.port, units, as_arrays(state))
    differences = np.abs(found - wanted.numpy())
    expected = as_arrays(wanted_state)
    state_difference = max(float(np.abs(found_state[name] - expected[name]).max()) for name in expected)
    return Difference(float(differences.max()), state_difference, float(differences.mean()))


def random_state(model: SequenceModel, batch: int, seed: int) -> State:
    """Draw a state in the range that states have."""
    generator = torch.Generator().manual_seed(seed + 1000)
    hidden = {
        name: 2 * torch.rand(tensor.shape, generator=generator) - 1 for name, tensor in model.trunk.init_state(batch).items()
    }
    zero = model.frontend.init_states(batch)
    return {**{name: 0.1 * torch.randn(tensor.shape, generator=generator) for name, tensor in zero.items()}, **hidden}


def _run_torch(model: SequenceModel, units: Tensor, state: State, split: Sequence[int]) -> tuple[Tensor, State]:
    parts = []
    for piece in cut(units, split):
        log_probs, state = model.step(piece, state)
        parts.append(log_probs)
    return torch.cat(parts, dim=1), state


def _run_simulation(
    model: SequenceModel, stored_input: InputLayer, stored: Trunk, units: Tensor, state: State, form: GraphForm
) -> tuple[Tensor, State]:
    frames, left = stored_input.advance(units, state)
    outputs, after = simulate(stored, frames, state, stored_input.limit, form.product)
    return model.head(outputs), {**after, **left}


def _run_graph(
    session: onnxruntime.InferenceSession, port: Port, rows: str, units: Tensor, state: Arrays
) -> tuple[NDArray[np.float32], Arrays]:
    names = [output.name for output in session.get_outputs()]
    parts = []
    for chunk in units.split(port.per_chunk, dim=1):
        outputs = dict(zip(names, session.run(names, {port.name: chunk.numpy(), **state}), strict=True))
        parts.append(outputs.pop(rows))
        state = {name.removesuffix("_next"): value for name, value in outputs.items()}
    return np.concatenate(parts, axis=1), state


def cut(units: Tensor, lengths: Sequence[int]) -> Iterator[Tensor]:
    """Cut `[batch, n_units, ...]` into pieces of the given lengths, in turn, to its end."""
    first, turn = 0, 0
    while first < units.shape[1]:
        yield units[:, first : first + lengths[turn % len(lengths)]]
        first, turn = first + lengths[turn % len(lengths)], turn + 1
