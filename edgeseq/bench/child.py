"""One runtime in a process of its own: can it run the network here at all, what does it answer, how large does it get?

    python -m edgeseq.bench.child RUNTIME NETWORK FEATURES.npy LOG_PROBS.npy

Prints its largest memory as JSON. A runtime that ends the process, say by an illegal instruction, ends this one only.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from edgeseq.bench.processes import peak_rss_mb
from edgeseq.bench.runtimes import find_runtime, run_chunks


def main(runtime: str, network: str, features: str, log_probs: str) -> None:
    """Load, run all chunks of `features`, save the answers."""
    stepper = find_runtime(runtime).load(Path(network))
    np.save(log_probs, run_chunks(stepper, np.load(features)))
    print(json.dumps({"peak_rss_mb": peak_rss_mb()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
