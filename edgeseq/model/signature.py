"""What a model's graph takes, gives and remembers, by name. Known without opening the graph."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseq.errors import UsageError
from edgeseq.untrusted import parse_json

Array = npt.NDArray[Any]
"""float32 or int64, with the batch as axis 0"""
Arrays = Mapping[str, Array]

DTYPES: dict[str, np.dtype[Any]] = {"float32": np.dtype(np.float32), "int64": np.dtype(np.int64)}
"""Types of all that goes in, comes out and is remembered. As objects: numpy takes a microsecond to understand a name."""
AUDIO, IDS, VALUES = "audio", "ids", "values"
"""Inputs of models that hear, that read symbols, and that read numbers over time."""
STATE_PREFIX = "state_"
NEXT_SUFFIX = "_next"

MOST_PORTS, MOST_STATES = 64, 1024
MOST_AXES, LARGEST_SIZE, MOST_ELEMENTS = 7, 2**24, 2**27
"""of what one stream hands over, for each name; more does not fit a small computer"""
LONGEST_NAME = 100
MOST_NAMES = 1_000_000
"""of symbols"""


@dataclass(frozen=True)
class Port:
    """One input or output of a graph: an array `[batch, per_chunk, *shape]` a call."""

    name: str
    dtype: str
    """`float32` or `int64`"""
    per_chunk: int
    """units that one call takes or gives: samples, rows, symbols"""
    shape: tuple[int, ...] = ()
    """of one unit; () is a number"""
    rate: float | None = None
    """units a second, where time means something"""
    names: tuple[str, ...] = ()
    """of int64 numbers, what 0, 1, 2 ... stand for; of float32, what the numbers of a unit are; () where nothing says so"""

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Shape of its array without the batch."""
        return (self.per_chunk, *self.shape)


@dataclass(frozen=True)
class StatePort:
    """What a graph remembers under one name: an input of that name, and an output of that name and `_next`."""

    name: str
    """as in the graph: it begins with `state_`"""
    dtype: str
    """`float32` or `int64`"""
    shape: tuple[int, ...]
    """without the batch"""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Shape of its array without the batch."""
        return self.shape


AnyPort = Port | StatePort


@dataclass(frozen=True)
class Signature:
    """Inputs, outputs and states of a graph. What becomes of a model's rows is read from its first output."""

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    states: tuple[StatePort, ...] = ()

    @property
    def audio(self) -> Port:
        """The input `audio`. Raises UsageError for a model that does not hear."""
        for port in self.inputs:
            if port.name == AUDIO:
                return port
        names = ", ".join(port.name for port in self.inputs)
        raise UsageError(f"the model takes {names} and no sound. Give it what it was trained on, or take another model.")

    @property
    def input(self) -> Port:
        """The first input: what streams hand over."""
        return self.inputs[0]

    @property
    def rows(self) -> Port:
        """The first output."""
        return self.outputs[0]

    def init_state(self, batch: int = 1) -> dict[str, Array]:
        """Make the state of `batch` streams that have just opened: zeros."""
        return {port.name: np.zeros((batch, *port.shape), port.dtype) for port in self.states}

    def check_inputs(self, inputs: Arrays) -> int:
        """Compare arrays with the inputs, by name, type and shape; returns the batch. Raises UsageError."""
        if not isinstance(inputs, Mapping):
            raise UsageError(
                f"Network.step was given {_shown(inputs)}; it takes arrays by name: {describe(self.inputs)}.\n"
                f"  Write step({{{self.inputs[0].name!r}: array}}, state)."
            )
        batch = _batch_of(inputs)
        if not _fit(self.inputs, inputs, batch):
            raise UsageError(
                f"Network.step was given {_listed(inputs)}; it takes {describe(self.inputs)}.\n"
                "  Cutting and padding is the caller's job; Recognizer.step takes any length."
            )
        return batch

    def check_state(self, state: Arrays, batch: int) -> None:
        """Compare a state with the states of `batch` streams, by name, type and shape. Raises UsageError."""
        if not _fit(self.states, state, batch):
            raise UsageError(
                f"Network.step was given the states {_listed(state)}; it takes {describe(self.states, batch)}.\n"
                f"  Begin with init_state(batch={batch}) of this very model and hand back what step returned."
            )

    def fits_outputs(self, outputs: Arrays, batch: int) -> bool:
        """Whether outputs are as promised, by name, type and shape."""
        return _fit(self.outputs, outputs, batch)

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON can hold; see `from_dict`."""
        plain = asdict(self)
        for port in (*plain["inputs"], *plain["outputs"]):
            if not port["names"]:
                del port["names"]
        return plain

    def to_json(self) -> str:
        """Write it down as one line.

        >>> print(Signature((Port("ids", "int64", 1),), (Port("scores", "float32", 1, (2,)),)).to_json())
        {"inputs": [{"name": "ids", "dtype": "int64", "per_chunk": 1, "shape": [], "rate": null}], \
"outputs": [{"name": "scores", "dtype": "float32", "per_chunk": 1, "shape": [2], "rate": null}], "states": []}
        """
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> Signature:
        """Read what `to_json` wrote. Raises ValueError, which says what was wanted."""
        return cls.from_dict(parse_json(text))

    @classmethod
    def from_dict(cls, plain: Any) -> Signature:
        """Read what `to_dict` gave; keys of newer versions are left alone. Raises ValueError, which says what was wanted."""
        if not isinstance(plain, Mapping):
            raise ValueError("wanted an object with 'inputs', 'outputs' and 'states'")
        inputs = tuple(_read_port(one, "inputs") for one in _list(plain, "inputs", MOST_PORTS))
        outputs = tuple(_read_port(one, "outputs") for one in _list(plain, "outputs", MOST_PORTS))
        states = tuple(_read_state(one) for one in _list(plain, "states", MOST_STATES))
        _check_names(inputs, outputs, states)
        return cls(inputs, outputs, states)


def describe(ports: Sequence[AnyPort], batch: int | None = None) -> str:
    """Say what arrays ports want.

    >>> describe([Port("audio", "float32", 640)])
    "'audio' float32 [batch, 640]"
    """
    return ", ".join(f"'{port.name}' {shape_of(port, batch)}" for port in ports) or "none"


def shape_of(port: AnyPort, batch: int | None = None) -> str:
    """Say type and shape of a port's array."""
    return f"{port.dtype} [{', '.join(map(str, ('batch' if batch is None else batch, *port.sizes)))}]"


def _fit(ports: Sequence[AnyPort], arrays: Arrays, batch: int) -> bool:
    if len(ports) != len(arrays):
        return False
    for port in ports:  # at every step of every stream, so in few operations
        array = arrays.get(port.name)
        if not isinstance(array, np.ndarray) or array.dtype != DTYPES.get(port.dtype) or array.shape != (batch, *port.sizes):
            return False
    return True


def _batch_of(arrays: Arrays) -> int:
    first = next(iter(arrays.values()), None)
    return len(first) if isinstance(first, np.ndarray) and first.ndim else 0


def _listed(arrays: Arrays) -> str:
    return ", ".join(f"'{name}' {_shown(array)}" for name, array in arrays.items()) or "none"


def _shown(array: Any) -> str:
    return f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else type(array).__name__


def _list(plain: Mapping[str, Any], key: str, most: int) -> list[Any]:
    found = plain.get(key)
    least = 0 if key == "states" else 1
    if not isinstance(found, list) or not least <= len(found) <= most:
        raise ValueError(f"'{key}': wanted a list of {least} to {most:,} objects")
    return found


def _read_port(plain: Any, where: str) -> Port:
    name, dtype, shape = _read_common(plain, where)
    per_chunk, rate = plain.get("per_chunk"), plain.get("rate")
    if not _is_size(per_chunk) or math.prod((per_chunk, *shape)) > MOST_ELEMENTS:
        raise ValueError(
            f"'{where}', '{name}': its per_chunk is {per_chunk!r:.60}; wanted a whole number from 1 that memory can hold"
        )
    is_number = isinstance(rate, int | float) and not isinstance(rate, bool)
    if rate is not None and not (is_number and 0 < rate <= LARGEST_SIZE):
        raise ValueError(f"'{where}', '{name}': its rate is {rate!r:.60}; wanted a number above 0, or null")
    names = _read_names(plain.get("names", []), where, name)
    return Port(name, dtype, per_chunk, shape, None if rate is None else float(rate), names)


def _read_names(plain: Any, where: str, port: str) -> tuple[str, ...]:
    if not isinstance(plain, list) or len(plain) > MOST_NAMES or not all(isinstance(name, str) for name in plain):
        raise ValueError(f"'{where}', '{port}': its names are {plain!r:.60}; wanted a list of at most {MOST_NAMES:,} texts")
    return tuple(plain)


def _read_state(plain: Any) -> StatePort:
    return StatePort(*_read_common(plain, "states"))


def _read_common(plain: Any, where: str) -> tuple[str, str, tuple[int, ...]]:
    """Read name, type and shape."""
    if not isinstance(plain, Mapping):
        raise ValueError(f"'{where}': it holds {plain!r:.60}; wanted objects")
    name, dtype, shape = (plain.get(key) for key in ("name", "dtype", "shape"))
    if not (isinstance(name, str) and name.isascii() and name.isidentifier() and len(name) <= LONGEST_NAME):
        raise ValueError(f"'{where}': a name is {name!r:.60}; wanted letters, digits and '_', at most {LONGEST_NAME}")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"'{where}', '{name}': its dtype is {dtype!r:.60}; wanted {' or '.join(DTYPES)}")
    least = 0 if where == "states" else 1  # a frontend whose windows do not overlap keeps no samples
    if not isinstance(shape, list) or len(shape) > MOST_AXES or not all(_is_size(size, least) for size in shape):
        raise ValueError(
            f"'{where}', '{name}': its shape is {shape!r:.60}; wanted a list of at most {MOST_AXES} whole numbers from {least}"
        )
    if math.prod(shape) > MOST_ELEMENTS:
        raise ValueError(f"'{where}', '{name}': its shape is {shape!r:.60}; wanted at most {MOST_ELEMENTS:,} elements")
    return name, dtype, tuple(shape)


def _is_size(value: Any, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= LARGEST_SIZE


def _check_names(inputs: Sequence[Port], outputs: Sequence[Port], states: Sequence[StatePort]) -> None:
    for name in (port.name for port in states):
        if not name.startswith(STATE_PREFIX):
            raise ValueError(f"'states': a name is '{name}'; wanted names that begin with '{STATE_PREFIX}'")
    for name in (port.name for port in (*inputs, *outputs)):
        if name.startswith(STATE_PREFIX):
            raise ValueError(f"'{name}' is an input or output; names that begin with '{STATE_PREFIX}' are for states")
    sides: tuple[tuple[str, Sequence[AnyPort]], ...] = (("inputs", inputs), ("outputs", outputs), ("states", states))
    for where, ports in sides:
        names = [port.name for port in ports]
        if len(set(names)) < len(names):
            raise ValueError(f"'{where}': a name stands there twice: {', '.join(names)[:100]}")
