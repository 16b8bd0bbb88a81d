"""What an .onnx file holds, read from its bytes before any runtime opens it.

An .onnx is a protobuf message (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto). Few of its fields
matter here: the metadata, the domains of the operators, and whether a tensor keeps its values in another
file. So this module walks the wire format (https://protobuf.dev/programming-guides/encoding/) along those
fields alone and needs no `onnx` package.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_DEPTH = 64
"""Messages inside messages; graphs in graphs go 4 levels deeper each. protobuf itself gives up at 100."""

MAX_FIELDS = 5_000_000
"""More than any model has; a file of rubbish is given up after some seconds instead of minutes."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

# Message -> field number -> what that field holds: another message, or a value by its own name.
FIELDS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 14: "property", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse_tensor"},
    "function": {7: "node", 10: "domain", 11: "attribute"},
    "node": {5: "attribute", 7: "domain"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse_tensor",
        23: "sparse_tensor",
    },
    "sparse_tensor": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external", 14: "location"},
    "property": {1: "key", 2: "value"},
}


class NotOnnxError(ValueError):
    """The bytes are not an ONNX model, or not all of one."""


@dataclass
class OnnxSummary:
    """What the walk found."""

    metadata: dict[str, str] = field(default_factory=dict)
    domains: set[str] = field(default_factory=set)
    """of operators, in graphs and functions at any depth; the standard one is ''"""
    external_data: bool = False
    """a tensor keeps, or may keep, its values outside the file"""


def summarize(data: bytes) -> OnnxSummary:
    """Walk the bytes of an .onnx file, in time linear in their number.

    Raises NotOnnxError when they are not an ONNX model or break off.
    """
    summary = OnnxSummary()
    pending: list[tuple[str, memoryview, int]] = [("model", memoryview(data), 0)]
    has_graph, n_fields = False, 0
    while pending:
        message, content, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise NotOnnxError(f"messages are nested more than {MAX_DEPTH} deep")
        pair: dict[str, str] = {}
        for number, value in _fields(content):
            n_fields += 1
            if n_fields > MAX_FIELDS:
                raise NotOnnxError(f"it has more than {MAX_FIELDS:,} fields")
            kind = FIELDS[message].get(number)
            if message == "property" and kind:
                pair[kind] = _text(value)
            elif kind == "domain":
                summary.domains.add(_text(value))
            elif kind == "external" or (kind == "location" and value != 0):
                summary.external_data = True
            elif kind in FIELDS and isinstance(value, memoryview):
                pending.append((kind, value, depth + 1))
                has_graph |= message == "model" and kind == "graph"
        if message == "property":
            summary.metadata[pair.get("key", "")] = pair.get("value", "")
    if not has_graph:
        raise NotOnnxError("there is no graph in it")
    return summary


def hash_graph(data: bytes) -> str:
    """Digest what an .onnx file computes: its graph and functions, weights included, without the metadata (SHA-256)."""
    digest = hashlib.sha256()
    for number, value in _fields(memoryview(data)):
        if FIELDS["model"].get(number) in ("graph", "function") and isinstance(value, memoryview):
            digest.update(value)
    return digest.hexdigest()


def _fields(content: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Split one message into (field number, bytes or number)."""
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        number, wire_type = tag >> 3, tag & 7
        value: memoryview | int
        if number == 0:
            raise NotOnnxError("a field has the number 0")
        if wire_type == VARINT:
            value, at = _varint(content, at)
        else:
            if wire_type == BYTES:
                size, at = _varint(content, at)
            elif wire_type in (FIXED32, FIXED64):
                size = 4 if wire_type == FIXED32 else 8
            else:
                raise NotOnnxError(f"a field has the wire type {wire_type}, which ONNX never uses")
            if size > len(content) - at:
                raise NotOnnxError(f"a field of {size:,} bytes has only {len(content) - at:,} left")
            value, at = content[at : at + size], at + size
        yield number, value


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    """Read a number of up to 64 bits, 7 bits a byte, and where the next byte lies."""
    number = 0
    for index in range(10):
        if at + index >= len(content):
            raise NotOnnxError("it breaks off in the middle of a number")
        byte = content[at + index]
        number |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return number & 0xFFFF_FFFF_FFFF_FFFF, at + index + 1
    raise NotOnnxError("a number has more than 64 bits")


def _text(value: memoryview | int) -> str:
    if isinstance(value, int):
        raise NotOnnxError("a number stands where text belongs")
    try:
        return bytes(value).decode()
    except UnicodeDecodeError as fault:
        raise NotOnnxError("a text is not UTF-8") from fault


# The graph itself: what its nodes take, and how large its constants are

BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 16: 16, 21: 4, 22: 4, 25: 2, 26: 2}
"""Size of an element, by TensorProto.DataType."""


@dataclass(frozen=True)
class OnnxNode:
    """One operator of a graph."""

    operator: str
    inputs: tuple[str, ...]


@dataclass(frozen=True)
class OnnxGraph:
    """The main graph of a file."""

    nodes: tuple[OnnxNode, ...]
    constants: dict[str, int]
    """name -> size in bytes"""


def read_graph(data: bytes) -> OnnxGraph:
    """Read nodes and constants of the main graph. Raises NotOnnxError when the bytes are not an ONNX model or break off."""
    graphs = [value for number, value in _fields(memoryview(data)) if number == 7 and isinstance(value, memoryview)]
    if not graphs:
        raise NotOnnxError("there is no graph in it")
    nodes: list[OnnxNode] = []
    constants: dict[str, int] = {}
    for number, value in _fields(graphs[-1]):
        if number == 1 and isinstance(value, memoryview):
            nodes.append(_read_node(value))
        elif number == 5 and isinstance(value, memoryview):
            name, size = _measure_tensor(value)
            constants[name] = size
    return OnnxGraph(tuple(nodes), constants)


def _read_node(content: memoryview) -> OnnxNode:
    operator, inputs = "", []
    for number, value in _fields(content):
        if number == 1:
            inputs.append(_text(value))
        elif number == 4:
            operator = _text(value)
    return OnnxNode(operator, tuple(inputs))


def _measure_tensor(content: memoryview) -> tuple[str, int]:
    """Give a tensor's name and bytes; its dimensions come one by one or packed."""
    name, n_elements, bits = "", 1, 0
    for number, value in _fields(content):
        if number == 1:
            for size in [value] if isinstance(value, int) else _varints(value):
                n_elements *= size
        elif number == 2 and isinstance(value, int):
            bits = BITS.get(value, 0)
        elif number == 8:
            name = _text(value)
    return name, (n_elements * bits + 7) // 8


def _varints(content: memoryview) -> Iterator[int]:
    at = 0
    while at < len(content):
        number, at = _varint(content, at)
        yield number
