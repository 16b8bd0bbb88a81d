"""Collects an ONNX graph node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 9
DTYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
MICROSOFT = "com.microsoft"
"""onnxruntime's own operators."""


class GraphBuilder:
    """Collects nodes, constants, inputs and outputs; every method returns the name of what it made."""

    def __init__(self) -> None:
        """Begin an empty graph."""
        self._nodes: list[onnx.NodeProto] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []
        self._renamed: dict[str, str] = {}

    def input(self, name: str, shape: Sequence[int | str], dtype: str = "float32") -> str:
        """Declare an input, float32 or int64."""
        self._inputs.append(helper.make_tensor_value_info(name, DTYPES[dtype], shape))
        return name

    def output(self, name: str, value: str, shape: Sequence[int | str]) -> None:
        """Declare the float32 output `name`, holding what the node `value` gives; of a node once at most."""
        self._renamed[value] = name
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))

    def constant(self, value: NDArray[Any]) -> str:
        """Store a constant, each distinct one once."""
        content = (value.dtype.str, value.shape, value.tobytes())
        if content not in self._constants:
            self._constants[content] = numpy_helper.from_array(value, f"constant{len(self._constants)}")
        return self._constants[content].name

    def floats(self, *values: float) -> str:
        """Store a scalar (one value) or a vector of float32."""
        return self.constant(np.array(values[0] if len(values) == 1 else values, dtype=np.float32))

    def integers(self, *values: int) -> str:
        """Store a vector of int64."""
        return self.constant(np.array(values, dtype=np.int64))

    def node(self, operator: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output."""
        return self.nodes(operator, *inputs, n_outputs=1, domain=domain, **attributes)[0]

    def nodes(self, operator: str, *inputs: str, n_outputs: int, domain: str = "", **attributes: Any) -> list[str]:
        """Add a node with several outputs."""
        outputs = [f"{operator.lower()}{len(self._nodes)}_{i}" for i in range(n_outputs)]
        self._nodes.append(helper.make_node(operator, list(inputs), outputs, domain=domain, **attributes))
        return outputs

    def finish(self, name: str, properties: Mapping[str, str]) -> onnx.ModelProto:
        """Close the graph, check it, and attach the metadata `properties`."""
        for node in self._nodes:
            node.input[:] = [self._renamed.get(value, value) for value in node.input]
            node.output[:] = [self._renamed.get(value, value) for value in node.output]
        graph = helper.make_graph(self._nodes, name, self._inputs, self._outputs, list(self._constants.values()))
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="edgeseq")
        helper.set_model_props(model, dict(properties))
        onnx.checker.check_model(model)
        return model


def to_numpy(tensor: torch.Tensor) -> NDArray[Any]:
    """Detach and convert."""
    return tensor.detach().cpu().contiguous().numpy()
