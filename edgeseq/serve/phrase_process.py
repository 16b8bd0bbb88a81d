"""Compiles one client's phrases in a process of its own, where neither its time nor its memory is the server's.

    python -m edgeseq.serve.phrase_process < request > graph

The request is JSON (see `client_phrases.py`); what comes out is a line of JSON, followed by a graph's bytes, or, with exit
code 3, a line of JSON with what is wrong.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

FAULTY = 3
"""Exit code: the phrases have faults, which standard output tells."""
MEMORY_BYTES = 512 << 20
"""That the process may take."""


def main() -> None:
    """Compile what standard input asks for."""
    from edgeseq.errors import EdgeseqError
    from edgeseq.lm.guesser import load_guesser
    from edgeseq.phrases.compiling import compile_phrases
    from edgeseq.phrases.faults import PhraseError
    from edgeseq.phrases.file import parse_phrases
    from edgeseq.tokens.table import TokenTable

    request = json.load(sys.stdin)
    os.nice(10)
    signal.setitimer(signal.ITIMER_PROF, request["seconds"])  # of processor time; its signal ends the process
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        phrases = parse_phrases(request["text"], language=request["language"])
        guesser = None if request["guesser"] is None else load_guesser(Path(request["guesser"]))
        tokens = TokenTable.from_details(request["tokens"], request["token_details"], guesser=guesser)
        graph = compile_phrases(phrases, tokens, request["states"])
    except PhraseError as fault:
        _refuse({"faults": [(one.place.line, one.place.column, one.message) for one in fault.faults]})
    except (EdgeseqError, MemoryError, RecursionError):
        _refuse({"limit": "the phrases need too much memory, or are nested too deeply; wanted fewer or simpler ones."})
    if graph.n_nodes > request["nodes"]:
        _refuse({"limit": f"the phrases need {graph.n_nodes:,} states; this server takes {request['nodes']:,} of a client."})
    header = json.dumps({"threshold": phrases.threshold}).encode()
    sys.stdout.buffer.write(header + b"\n" + graph.to_bytes())


def _refuse(why: dict[str, Any]) -> NoReturn:
    json.dump(why, sys.stdout)
    sys.exit(FAULTY)


if __name__ == "__main__":
    main()
