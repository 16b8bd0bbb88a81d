"""What processes that work on strangers' bytes are given of this one's environment: no secrets, and one thread each."""

from __future__ import annotations

import os

SECRETS = ("EDGESEQ_TOKEN", "NOTIFY_SOCKET")
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Others would take addresses for their stacks."""


def environment() -> dict[str, str]:
    """Give the variables for a process that a client's bytes go to."""
    return {name: value for name, value in os.environ.items() if name not in SECRETS} | ONE_THREAD
