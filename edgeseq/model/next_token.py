"""What a model of the task `next_token` says of itself: nothing but its ports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeseq.model.signature import IDS, Signature

LOG_PROBS = "log_probs"
"""Output of these models: natural logarithms `[batch, n_rows, n_symbols]`, of the symbol that follows each."""


@dataclass(frozen=True)
class NextTokenDetails:
    """The part of the metadata that the task `next_token` reads, JSON `details` there."""

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> NextTokenDetails:
        """Read `details`; keys of newer versions are left alone."""
        return cls()

    def faults_with(self, signature: Signature) -> list[str]:
        """Say what does not fit the task."""
        port, rows, faults = signature.input, signature.rows, []
        if (port.name, port.dtype, port.shape) != (IDS, "int64", ()) or not port.names:
            faults.append(f"the first input is '{port.name}' with {len(port.names)} names; wanted '{IDS}', int64, with names")
        if (rows.name, rows.dtype, rows.shape) != (LOG_PROBS, "float32", (len(port.names),)):
            faults.append(
                f"the first output is '{rows.name}' {rows.dtype} of shape {list(rows.shape)} a row; "
                f"{len(port.names)} symbols want '{LOG_PROBS}' float32 [{len(port.names)}]"
            )
        if rows.per_chunk != port.per_chunk:
            faults.append(f"{port.per_chunk} symbols give {rows.per_chunk} rows; wanted a row for each")
        return faults
