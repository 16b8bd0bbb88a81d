"""One .onnx file on onnxruntime: sound in, log-probabilities out, what it remembers in between as a value."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgeseq.errors import ModelError, UsageError
from edgeseq.model.metadata import ModelMetadata
from edgeseq.model.onnx_file import NotOnnxError, OnnxSummary, hash_graph, summarize
from edgeseq.model.session import open_session
from edgeseq.tokens.table import BLANK

if TYPE_CHECKING:
    import onnxruntime

Floats = npt.NDArray[np.float32]
NetworkState = dict[str, Floats]
"""Graph input `state_*` -> array with batch as axis 0. Handed in, handed back, never changed in place."""

AUDIO = "audio"
LOG_PROBS = "log_probs"
STATE_PREFIX = "state_"
NEXT_SUFFIX = "_next"
DOMAINS = {"", "ai.onnx", "com.microsoft"}
"""Where operators may come from: the standard, and what every onnxruntime brings along."""

MAX_BYTES = 2**31
"""A protobuf cannot be larger."""


class Network:
    """A model's graph. Holds weights only, so any number of streams may share it.

    >>> network = Network("models/digits-en/model.int8.onnx")                           # doctest: +SKIP
    >>> log_probs, state = network.step(chunk, network.init_state())                    # doctest: +SKIP
    """

    metadata: ModelMetadata
    path: Path

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Open the file `path`. Raises ModelError when it cannot be used, or lacks a companion."""
        self.path = Path(path)
        content = read_model_bytes(self.path)
        self.metadata = check_content(content, self.path).with_companions(self.path)
        self._session = _open_checked(content, self.path)
        self._state_shapes = _check_interface(self._session, self.metadata, self.path)
        self._outputs = [LOG_PROBS, *(name + NEXT_SUFFIX for name in self._state_shapes)]
        self.n_steps = self.metadata.chunk_samples // self.metadata.step_samples
        """rows of `log_probs` a chunk"""
        self.fingerprint = hash_graph(content)
        """of the graph and its weights, whatever the metadata says of them; 64 hexadecimal digits"""

    def init_state(self, batch: int = 1) -> NetworkState:
        """Make the state of `batch` streams that have just opened: zeros."""
        return {name: np.zeros((batch, *shape), dtype=np.float32) for name, shape in self._state_shapes.items()}

    def step(self, chunk: Floats, state: NetworkState) -> tuple[Floats, NetworkState]:
        """Advance `batch` streams by one network chunk; neither argument is modified.

        chunk: float32 `[batch, chunk_samples]`, in [-1, 1].
        Returns log_probs `[batch, n_steps, n_tokens]` (natural logarithm) and the next state.
        Raises UsageError when a shape or type does not fit.
        """
        self._check_step(chunk, state)
        log_probs, *states = self._session.run(self._outputs, {AUDIO: chunk, **state})
        wanted = (len(chunk), self.n_steps, len(self.metadata.tokens))
        if log_probs.shape != wanted:
            raise ModelError(
                f"{self.path}: gave log_probs of shape {list(log_probs.shape)}; its metadata promises "
                f"{list(wanted)} ([batch, n_steps, n_tokens]).\n  Export the model again."
            )
        return log_probs, dict(zip(self._state_shapes, states, strict=True))

    def _check_step(self, chunk: Floats, state: NetworkState) -> None:
        n_samples = self.metadata.chunk_samples
        if chunk.ndim != 2 or chunk.shape[1] != n_samples or chunk.dtype != np.float32:
            raise UsageError(
                f"Network.step was given {chunk.dtype} of shape {list(chunk.shape)}; it takes float32 "
                f"[batch, {n_samples}].\n"
                "  Cutting and padding is the caller's job; Recognizer.step takes any length."
            )
        if state.keys() != self._state_shapes.keys() or any(len(s) != len(chunk) for s in state.values()):
            seen = {name: list(array.shape) for name, array in state.items()}
            wanted = {name: [len(chunk), *shape] for name, shape in self._state_shapes.items()}
            raise UsageError(
                f"Network.step was given the states {seen}; it takes {wanted}.\n"
                f"  Begin with init_state(batch={len(chunk)}) and hand back what step returned."
            )


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

    Raises ModelError when it is no ONNX, keeps data elsewhere, uses foreign operators or lacks the metadata.
    """
    try:
        summary = summarize(content)
    except NotOnnxError as fault:
        raise ModelError(f"{path}: not an ONNX file, or cut short ({fault}). Copy or export the model again.") from fault
    _refuse_foreign(summary, path)
    metadata = ModelMetadata.from_strings(summary.metadata, path)
    _check_metadata(metadata, path)
    return metadata


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


def _check_metadata(metadata: ModelMetadata, path: Path) -> None:
    blank_id, tokens = metadata.blank_id, metadata.tokens
    if not 0 <= blank_id < len(tokens) or tokens[blank_id] != BLANK:
        raise ModelError(f"{path}: its metadata says that blank is token {blank_id}, which is not '{BLANK}'.")
    if metadata.chunk_samples % metadata.step_samples:
        raise ModelError(
            f"{path}: its metadata gives chunks of {metadata.chunk_samples} samples, which is no multiple "
            f"of a step ({metadata.hop_samples} x {metadata.subsampling})."
        )
    if not 0 <= metadata.flush_seconds <= 60:
        raise ModelError(f"{path}: its metadata asks to flush {metadata.flush_seconds} s; wanted 0 to 60.")


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


def _check_interface(session: onnxruntime.InferenceSession, metadata: ModelMetadata, path: Path) -> dict[str, tuple[int, ...]]:
    """Compare the graph's inputs and outputs with the model format; return the states' shapes."""
    inputs = {node.name: node for node in session.get_inputs()}
    outputs = {node.name: node for node in session.get_outputs()}
    states = [name for name in inputs if name != AUDIO]
    faults = [
        *_audio_faults(inputs.get(AUDIO), metadata),
        *(fault for name in states for fault in _state_faults(inputs[name], outputs)),
        *_log_probs_faults(outputs.get(LOG_PROBS), metadata),
    ]
    if faults:
        raise ModelError(
            f"{path}: its inputs and outputs are not those of the model format: {'; '.join(faults)}.\n"
            "  Export the model again with this version of edgeseq."
        )
    return {name: tuple(inputs[name].shape[1:]) for name in states}


def _audio_faults(node: Any, metadata: ModelMetadata) -> list[str]:
    wanted = f"input '{AUDIO}' should be float32 [batch, {metadata.chunk_samples}]"
    if node is None:
        return [f"{wanted}, and is missing"]
    fits = len(node.shape) == 2 and _is_symbolic(node.shape[0]) and node.shape[1] == metadata.chunk_samples
    return [] if fits and node.type == "tensor(float)" else [f"{wanted}, and is {_shown(node)}"]


def _state_faults(node: Any, outputs: dict[str, Any]) -> list[str]:
    if not node.name.startswith(STATE_PREFIX):
        return [f"input '{node.name}' is neither '{AUDIO}' nor a '{STATE_PREFIX}*'"]
    faults = []
    fixed = len(node.shape) > 0 and all(isinstance(size, int) for size in node.shape[1:])
    if not (fixed and _is_symbolic(node.shape[0]) and node.type == "tensor(float)"):
        faults.append(f"input '{node.name}' should be float32 [batch, sizes...], and is {_shown(node)}")
    if node.name + NEXT_SUFFIX not in outputs:
        faults.append(f"output '{node.name}{NEXT_SUFFIX}' is missing")
    return faults


def _log_probs_faults(node: Any, metadata: ModelMetadata) -> list[str]:
    n_tokens = len(metadata.tokens)
    wanted = f"output '{LOG_PROBS}' should be float32 [batch, n_steps, {n_tokens}]"
    if node is None:
        return [f"{wanted}, and is missing"]
    n_steps = metadata.chunk_samples // metadata.step_samples
    sizes_fit = len(node.shape) == 3 and all(
        _is_symbolic(seen) or seen == size for seen, size in zip(node.shape[1:], (n_steps, n_tokens), strict=True)
    )
    return [] if sizes_fit and node.type == "tensor(float)" else [f"{wanted}, and is {_shown(node)}"]


def _is_symbolic(size: object) -> bool:
    return not isinstance(size, int)


def _shown(node: Any) -> str:
    return f"{node.type.removeprefix('tensor(').removesuffix(')')} {node.shape}"
