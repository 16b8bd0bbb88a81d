"""Compiles one client's phrases in a process of its own, where neither its time nor its memory is the server's.

    python -m edgeseq.serve.phrase_process < request > graph

The request is JSON (see `client_phrases.py`); what comes out is a graph's bytes, or a line with what is wrong and exit code 3.
"""

from __future__ import annotations

import json
import os
import resource
import sys

FAULTY = 3
"""Exit code: the phrases have faults, which standard output tells."""
MEMORY_BYTES = 512 << 20
"""That the process may take."""


def main() -> None:
    """Compile what standard input asks for."""
    from edgeseq.errors import EdgeseqError
    from edgeseq.phrases.compiling import compile_phrases
    from edgeseq.phrases.file import parse_phrases
    from edgeseq.tokens import TokenTable

    request = json.load(sys.stdin)
    os.nice(10)
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime + request["seconds"]) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        phrases = parse_phrases(request["text"], "the phrases")
        graph = compile_phrases(phrases, TokenTable(tuple(request["tokens"])), request["states"])
    except EdgeseqError as fault:
        print(fault)
        sys.exit(FAULTY)
    except (MemoryError, RecursionError):
        print("the phrases need too much memory, or are nested too deeply; wanted fewer or simpler ones.")
        sys.exit(FAULTY)
    if graph.n_nodes > request["nodes"]:
        print(f"the phrases need {graph.n_nodes:,} states; this server takes {request['nodes']:,} of a client.")
        sys.exit(FAULTY)
    header = json.dumps({"threshold": phrases.threshold}).encode()
    sys.stdout.buffer.write(header + b"\n" + graph.to_bytes())


if __name__ == "__main__":
    main()
