"""One .onnx file on onnxruntime: arrays by name in, arrays by name out, what it remembers in between as a value."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeseq.errors import ModelError
from edgeseq.model.interface import check_interface
from edgeseq.model.metadata import ModelMetadata
from edgeseq.model.onnx_file import NotOnnxError, OnnxSummary, hash_graph, summarize
from edgeseq.model.session import open_session
from edgeseq.model.signature import NEXT_SUFFIX, Array, Arrays, Signature, describe
from edgeseq.sound.blocks import Floats

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["Array", "Arrays", "Floats", "Network", "NetworkState", "check_content", "read_model_bytes", "rows_of"]

NetworkState = dict[str, Array]
"""Graph input `state_*` -> array with batch as axis 0. Handed in, handed back, never changed in place."""

DOMAINS = {"", "ai.onnx", "com.microsoft"}
"""Where operators may come from: the standard, and what every onnxruntime includes."""

MAX_BYTES = 2**31
"""A protobuf cannot be larger."""


class Network:
    """A model's graph. Holds weights only, so any number of streams may share it.

    >>> network = Network("models/digits-en/model.int8.onnx")                           # doctest: +SKIP
    >>> outputs, state = network.step({"audio": chunk}, network.init_state())           # doctest: +SKIP
    >>> outputs["log_probs"]                                                            # doctest: +SKIP
    """

    metadata: ModelMetadata
    signature: Signature
    """inputs, outputs and all states"""
    path: Path

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open the file `path`. Raises ModelError when it cannot be used, or lacks a companion."""
        self.path = Path(path)
        content = read_model_bytes(self.path)
        self.metadata = check_content(content, self.path).with_companions(self.path)
        self._session = _open_checked(content, self.path)
        self.signature = check_interface(self._session, self.metadata, self.path)
        self._output_names = [port.name for port in self.signature.outputs]
        self._state_names = [port.name for port in self.signature.states]
        self._wanted = self._output_names + [name + NEXT_SUFFIX for name in self._state_names]
        self.fingerprint = hash_graph(content)
        """of the graph and its weights, whatever the metadata says of them; 64 hexadecimal digits"""

    def init_state(self, batch: int = 1) -> NetworkState:
        """Make the state of `batch` streams that have just opened: zeros."""
        return self.signature.init_state(batch)

    def step(self, inputs: Arrays, state: NetworkState) -> tuple[dict[str, Array], NetworkState]:
        """Advance `batch` streams by one network chunk; neither argument is modified.

        inputs: by name, an array `[batch, per_chunk, *shape]` for each input of the signature; of models that hear
        `audio` float32 `[batch, chunk_samples]`, in [-1, 1].
        Returns the outputs by name, such as `log_probs` `[batch, n_rows, n_tokens]` (natural logarithm), and the next state.
        Raises UsageError when a name, shape or type does not fit.
        """
        batch = self.signature.check_inputs(inputs)
        self.signature.check_state(state, batch)
        arrays = self._session.run(self._wanted, {**inputs, **state})
        n_outputs = len(self._output_names)
        outputs = dict(zip(self._output_names, arrays[:n_outputs], strict=True))
        if not self.signature.fits_outputs(outputs, batch):
            seen = ", ".join(f"'{name}' {array.dtype} {list(array.shape)}" for name, array in outputs.items())
            raise ModelError(
                f"{self.path}: gave {seen}; its metadata promises {describe(self.signature.outputs, batch)}.\n"
                "  Export the model again."
            )
        return outputs, dict(zip(self._state_names, arrays[n_outputs:], strict=True))


def rows_of(network: Network, streams: Array) -> Floats:
    """Run equally long streams, `[batch, n_units, ...]`, alone through a network; the last chunk is filled with zeros.

    Returns its first output `[batch, n_rows, n_columns]`: the rows of whole chunks.
    """
    port, name = network.metadata.signature.input, network.metadata.signature.rows.name
    n_chunk = port.per_chunk
    padded = np.pad(streams, ((0, 0), (0, -streams.shape[1] % n_chunk), *[(0, 0)] * (streams.ndim - 2)))
    state, rows = network.init_state(len(streams)), []
    for start in range(0, padded.shape[1], n_chunk):
        outputs, state = network.step({port.name: padded[:, start : start + n_chunk]}, state)
        rows.append(outputs[name])
    return np.concatenate(rows, axis=1)


def read_model_bytes(path: Path) -> bytes:
    """Read a model file whole. Raises ModelError when it is missing, a folder, empty or unreadable."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"{path}: {path.stat().st_size:,} bytes; wanted at most {MAX_BYTES:,}.")
        content = path.read_bytes()
    except FileNotFoundError as fault:
        raise ModelError(f"{path}: no such file. `edgeseq models list` shows those there are.") from fault
    except IsADirectoryError as fault:
        raise ModelError(f"{path}: a folder; wanted the .onnx file in it.") from fault
    except OSError as fault:
        raise ModelError(f"{path}: cannot be read ({fault.strerror}).") from fault
    if not content:
        raise ModelError(f"{path}: an empty file; wanted an .onnx. Copy or export it again.")
    return content


def check_content(content: bytes, path: Path) -> ModelMetadata:
    """Judge a file by its bytes, before a runtime opens them.

    Raises ModelError when it is not ONNX, keeps data elsewhere, uses foreign operators or lacks the metadata.
    """
    try:
        summary = summarize(content)
    except NotOnnxError as fault:
        raise ModelError(f"{path}: not an ONNX file, or cut short ({fault}). Copy or export the model again.") from fault
    _refuse_foreign(summary, path)
    return ModelMetadata.from_strings(summary.metadata, path)


def _refuse_foreign(summary: OnnxSummary, path: Path) -> None:
    if summary.external_data:
        raise ModelError(
            f"{path}: keeps weights in other files (external data), which edgeseq does not open: "
            "one file is one model.\n  Save it with its weights inside."
        )
    foreign = sorted(summary.domains - DOMAINS)
    if foreign:
        raise ModelError(
            f"{path}: uses operators from {', '.join(map(repr, foreign))}; edgeseq runs only those of "
            "the ONNX standard and of com.microsoft.\n  Use a file written by `edgeseq export`."
        )


def _open_checked(content: bytes, path: Path) -> onnxruntime.InferenceSession:
    import onnxruntime

    try:
        return open_session(content)
    except Exception as fault:  # onnxruntime's own exceptions share no better base
        reason = str(fault).strip().splitlines()[0] if str(fault).strip() else type(fault).__name__
        raise ModelError(
            f"{path}: onnxruntime {onnxruntime.__version__} cannot run it: {reason}\n"
            "  Use a file written by `edgeseq export`, or a newer onnxruntime."
        ) from fault
