"""One recurrent network on different runtimes, behind one `step`: one thread, state in, state out.

Every runtime loads from files (see `edgeseq.bench.synthetic`), so that a process can be made which loads that one alone.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from edgeseq.bench.shape import CELLS

Floats = npt.NDArray[np.float32]

FLOAT_TOLERANCE = 1e-3
"""Largest difference in log-probs from torch of a runtime that computes in float32."""
QUANTIZED_TOLERANCE = {8: 0.6, 4: 1.2}
"""The same of quantized weights, divided by how much torch's log-probs vary from row to row (their standard deviation). Among
the drawn networks 8 bit stays under 0.3, while exchanged gates make more than 1.4."""


class Stepper(Protocol):
    """A network that has been loaded; holds weights only."""

    def init_state(self, batch: int) -> Any:
        """Begin `batch` streams."""

    def step(self, features: Floats, state: Any) -> tuple[Floats, Any]:
        """Advance by one chunk, `[batch, n_steps, n_in]`; returns log-probs `[batch, n_rows, n_tokens]` and the next state."""


@dataclass(frozen=True)
class Runtime:
    """Something that can run the network."""

    name: str
    load: Callable[[Path], Stepper]
    bits: int = 32
    package: str = "onnxruntime"
    """module that it needs"""
    install: str = ""
    """how to get it"""
    cells: tuple[str, ...] = CELLS
    """that it knows"""

    def is_installed(self) -> bool:
        """Look for the module without loading it."""
        return importlib.util.find_spec(self.package) is not None


class OnnxruntimeStepper:
    """A graph on onnxruntime, with the session settings that edgeseq gives to its own."""

    def __init__(self, path: Path) -> None:
        """Open an .onnx of `edgeseq.bench.synthetic`."""
        from edgeseq.model.session import open_session

        self._session = open_session(path.read_bytes())
        self._states = {node.name: node.shape[1:] for node in self._session.get_inputs() if node.name != "features"}
        self._outputs = ["log_probs", *(f"{name}_next" for name in self._states)]

    def init_state(self, batch: int) -> dict[str, Floats]:
        """Zeros."""
        return {name: np.zeros((batch, *shape), dtype=np.float32) for name, shape in self._states.items()}

    def step(self, features: Floats, state: dict[str, Floats]) -> tuple[Floats, dict[str, Floats]]:
        """Advance by one chunk."""
        log_probs, *states = self._session.run(self._outputs, {"features": features, **state})
        return log_probs, dict(zip(self._states, states, strict=True))


class OpenvinoStepper:
    """The float32 graph on OpenVINO: shapes fixed to one stream, in float32 also where the processor has bfloat16."""

    CONFIG: ClassVar[dict[str, Any]] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
    }

    def __init__(self, path: Path) -> None:
        """Compile an .onnx of `edgeseq.bench.synthetic`."""
        import openvino

        core = openvino.Core()
        model = core.read_model(path)
        shapes = {node.any_name: [1, *(size.get_length() for size in list(node.partial_shape)[1:])] for node in model.inputs}
        model.reshape(shapes)
        self._request = core.compile_model(model, "CPU", self.CONFIG).create_infer_request()
        self._states = {name: shape for name, shape in shapes.items() if name != "features"}

    def init_state(self, batch: int) -> dict[str, Floats]:
        """Zeros, of one stream."""
        return {name: np.zeros((batch, *shape[1:]), dtype=np.float32) for name, shape in self._states.items()}

    def step(self, features: Floats, state: dict[str, Floats]) -> tuple[Floats, dict[str, Floats]]:
        """Advance by one chunk; outputs are copied, for the next call writes over them."""
        self._request.infer({"features": features, **state}, share_inputs=True)
        states = {name: np.array(self._request.get_tensor(f"{name}_next").data) for name in self._states}
        return np.array(self._request.get_tensor("log_probs").data), states


class TorchStepper:
    """torch's own layers, eager, in inference mode; plain layers of one size are stacked by torch itself."""

    def __init__(self, path: Path) -> None:
        """Read what `edgeseq.bench.synthetic` saved: the sizes as JSON, the weights by layer."""
        import torch

        torch.set_num_threads(1)
        saved = np.load(path)
        self._sizes = json.loads(str(saved["sizes"]))
        layers = [{name: torch.from_numpy(saved[f"{i}.{name}"]) for name in RNN_WEIGHTS} for i in range(self._sizes["layers"])]
        self._is_plain = not self._sizes["layer_norm"] and self._sizes["projection_size"] is None
        self.modules: Any = torch.nn.ModuleDict({"output": _linear(saved, "output")})
        for index, group in enumerate([layers] if self._is_plain else [[layer] for layer in layers]):
            self.modules[f"rnn{index}"] = _stack(self._sizes["cell"], group)
            if self._sizes["projection_size"] is not None:
                self.modules[f"projection{index}"] = _linear(saved, f"{index}.projection")
        self._n_groups = 1 if self._is_plain else len(layers)

    def init_state(self, batch: int) -> Any:
        """Zeros, one entry a group of stacked layers; pairs for LSTM."""
        import torch

        def zeros() -> Any:
            return torch.zeros(self._sizes["layers"] // self._n_groups, batch, self._sizes["hidden_size"])

        return [(zeros(), zeros()) if self._sizes["cell"] == "lstm" else zeros() for _ in range(self._n_groups)]

    def step(self, features: Floats, state: Any) -> tuple[Floats, Any]:
        """Advance by one chunk."""
        import torch

        with torch.inference_mode():
            outputs, after = torch.from_numpy(features), []
            for index, before in enumerate(state):
                outputs, final = self.modules[f"rnn{index}"](outputs, before)
                outputs = outputs if self._is_plain else self._shape(outputs, index)
                after.append(final)
            logits = self.modules["output"](outputs).reshape(len(features), -1, self._sizes["n_tokens"])
            return logits.log_softmax(dim=-1).numpy(), after

    def _shape(self, outputs: Any, index: int) -> Any:
        """Normalize and project, as the layer was trained."""
        import torch

        if self._sizes["layer_norm"]:
            limit = self._sizes["norm_limit"]
            outputs = torch.nn.functional.layer_norm(outputs, outputs.shape[-1:], eps=self._sizes["norm_epsilon"])
            outputs = outputs.clamp(-limit, limit)
        if self._sizes["projection_size"] is not None:
            limit = self._sizes["projection_limit"]
            outputs = self.modules[f"projection{index}"](outputs).clamp(-limit, limit)
        return outputs


RNN_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def _stack(cell: str, layers: list[dict[str, Any]]) -> Any:
    """Make torch's stacked layers of weights, layer by layer."""
    import torch

    n_inputs, hidden_size = layers[0]["weight_ih"].shape[1], layers[0]["weight_hh"].shape[1]
    kinds: dict[str, Any] = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM, "rnn": torch.nn.RNN}
    stacked = kinds[cell](n_inputs, hidden_size, len(layers), batch_first=True)
    stacked.load_state_dict({f"{name}_l{i}": layer[name] for i, layer in enumerate(layers) for name in RNN_WEIGHTS})
    return stacked


def _linear(saved: Any, name: str) -> Any:
    import torch

    weight, bias = torch.from_numpy(saved[f"{name}.weight"]), torch.from_numpy(saved[f"{name}.bias"])
    linear = torch.nn.Linear(weight.shape[1], weight.shape[0])
    linear.load_state_dict({"weight": weight, "bias": bias})
    return linear


class TorchDynamicStepper(TorchStepper):
    """torch's dynamic quantization: 8-bit weights, one scale of activations a tensor."""

    def __init__(self, path: Path) -> None:
        """Read the weights and quantize them."""
        import warnings

        import torch

        super().__init__(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is to be removed from torch some day
            self.modules = torch.ao.quantization.quantize_dynamic(self.modules, dtype=torch.qint8)


TRAIN = "pip install 'edgeseq[train]'"
EDGESEQ = Runtime("edgeseq", OnnxruntimeStepper)
TORCH = Runtime("torch", TorchStepper, package="torch", install=TRAIN)
PEERS = (
    TORCH,
    Runtime("torch-dynamic", TorchDynamicStepper, bits=8, package="torch", install=TRAIN, cells=("gru", "lstm")),
    Runtime("onnxruntime-float", OnnxruntimeStepper),
    Runtime("onnxruntime-dynamic-lstm", OnnxruntimeStepper, bits=8, cells=("lstm",)),
    Runtime("openvino", OpenvinoStepper, package="openvino", install="pip install openvino"),
)
"""In the order of the table."""


def find_runtime(name: str) -> Runtime:
    """Give the runtime of a name."""
    return {runtime.name: runtime for runtime in (EDGESEQ, *PEERS)}[name]


def run_chunks(stepper: Stepper, features: Floats) -> Floats:
    """Step through `[n_chunks, batch, n_steps, n_in]` from zero; returns log-probs `[n_chunks, batch, n_rows, n_tokens]`."""
    state = stepper.init_state(features.shape[1])
    outputs = []
    for chunk in features:
        log_probs, state = stepper.step(chunk, state)
        outputs.append(log_probs)
    return np.stack(outputs)
