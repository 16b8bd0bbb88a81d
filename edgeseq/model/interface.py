"""Are a graph's inputs, outputs and states those that its metadata promise? Asked when a file is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseq.errors import ModelError
from edgeseq.model.metadata import TASK_FORMAT, ModelMetadata
from edgeseq.model.signature import NEXT_SUFFIX, STATE_PREFIX, AnyPort, Signature, StatePort, shape_of

if TYPE_CHECKING:
    import onnxruntime

DTYPE_NAMES = {"tensor(float)": "float32", "tensor(int64)": "int64"}
"""onnxruntime's name -> ours"""


def check_interface(session: onnxruntime.InferenceSession, metadata: ModelMetadata, path: Path) -> Signature:
    """Compare the graph with the signature, and return that with all states.

    Older formats do not name the states: they are what the graph has. Raises ModelError, which lists all faults.
    """
    inputs = {node.name: node for node in session.get_inputs()}
    outputs = {node.name: node for node in session.get_outputs()}
    signature = metadata.signature
    names = {port.name for port in signature.inputs}
    states = {name: node for name, node in inputs.items() if name not in names}
    faults = [fault for port in signature.inputs for fault in _port_faults("input", port, inputs.get(port.name))]
    if metadata.format >= TASK_FORMAT:
        faults += [fault for port in signature.states for fault in _port_faults("input", port, inputs.get(port.name))]
        faults += [f"input '{name}' is not in the signature" for name in states.keys() - {p.name for p in signature.states}]
    else:
        faults += [fault for node in states.values() for fault in _unnamed_state_faults(node, names)]
        if not faults:
            signature = replace(signature, states=tuple(_state_of(node) for node in states.values()))
    faults += _next_faults(signature.states, states, outputs)
    faults += [fault for port in signature.outputs for fault in _port_faults("output", port, outputs.get(port.name))]
    if faults:
        raise ModelError(
            f"{path}: its inputs and outputs are not those of the model format: {'; '.join(faults)}.\n"
            "  Export the model again with this version of edgeseq."
        )
    return signature


def _port_faults(what: str, port: AnyPort, node: Any) -> list[str]:
    """Compare one input or output; of outputs the graph may leave sizes open, which are looked at after each run."""
    wanted = f"{what} '{port.name}' should be {shape_of(port)}"
    if node is None:
        return [f"{wanted}, and is missing"]
    sizes_fit = len(node.shape) == 1 + len(port.sizes) and all(
        seen == size or (what == "output" and _is_symbolic(seen)) for seen, size in zip(node.shape[1:], port.sizes, strict=True)
    )
    batch_fits = sizes_fit and (_is_symbolic(node.shape[0]) or what == "output")
    fits = batch_fits and DTYPE_NAMES.get(node.type) == port.dtype
    return [] if fits else [f"{wanted}, and is {_shown(node)}"]


def _unnamed_state_faults(node: Any, inputs: set[str]) -> list[str]:
    if not node.name.startswith(STATE_PREFIX):
        return [f"input '{node.name}' is neither {' nor '.join(map(repr, sorted(inputs)))} nor a '{STATE_PREFIX}*'"]
    fixed = len(node.shape) > 0 and all(isinstance(size, int) for size in node.shape[1:])
    if fixed and _is_symbolic(node.shape[0]) and node.type == "tensor(float)":
        return []
    return [f"input '{node.name}' should be float32 [batch, sizes...], and is {_shown(node)}"]


def _state_of(node: Any) -> StatePort:
    return StatePort(node.name, DTYPE_NAMES[node.type], tuple(node.shape[1:]))


def _next_faults(ports: tuple[StatePort, ...], states: Mapping[str, Any], outputs: Mapping[str, Any]) -> list[str]:
    """Look for the next value of each state."""
    faults = []
    for name in [port.name for port in ports] or list(states):
        after = outputs.get(name + NEXT_SUFFIX)
        if after is None:
            faults.append(f"output '{name}{NEXT_SUFFIX}' is missing")
        elif name in states and after.type != states[name].type:
            faults.append(f"output '{name}{NEXT_SUFFIX}' should be of the type of '{name}', and is {_shown(after)}")
    return faults


def _is_symbolic(size: object) -> bool:
    return not isinstance(size, int)


def _shown(node: Any) -> str:
    return f"{node.type.removeprefix('tensor(').removesuffix(')')} {node.shape}"
