"""A client's own phrases: compiled within bounds of size and processor time, in another process, one client's at a time."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from edgeseq.errors import EdgeseqError, UsageError
from edgeseq.phrases.faults import Fault, PhraseError, Place
from edgeseq.phrases.graph import PhraseGraph
from edgeseq.phrases.importers import escaped
from edgeseq.phrases.search import PhraseDecoder, usual_threshold
from edgeseq.serve.biasing import spelled
from edgeseq.serve.children import environment
from edgeseq.serve.limits import BusyError, LimitError, Limits
from edgeseq.serve.phrase_process import FAULTY
from edgeseq.stream.recognizer import Recognizer
from edgeseq.tokens.table import TokenTable

KEPT = 16
"""Compiled phrases that are remembered: a client that comes again with the same is served at once."""
WAITING = 8
"""Clients that may wait for their phrases to be compiled."""
STATES_A_NODE = 10
"""States of automata on the way to a graph, for each node that it may have."""
PATIENCE = 5.0
"""Seconds on the wall for each second of processor time: the machine has other work, too."""
START_SECONDS = 10.0
"""for the process to begin"""
UNKNOWN = "[unk]"
"""How Vosk's lists say that anything else may be said as well."""
MOST_REPEATED = 12
"""Phrases of a list that one utterance may join."""


class PhraseCompiler:
    """Makes recognizers that understand a client's phrases and nothing else."""

    def __init__(self, limits: Limits) -> None:
        """Compile within `limits`."""
        self._limits = limits
        self._turn = asyncio.Semaphore(1)
        self._thread = ThreadPoolExecutor(1, "edgeseq-phrases")
        self._n_waiting = 0
        self._known: OrderedDict[tuple[str, TokenTable], tuple[PhraseGraph, float | None]] = OrderedDict()

    async def understand(self, recognizer: Recognizer, text: str, *, reject: bool = True) -> Recognizer:
        """Give a recognizer that shares the network and understands the phrases of a phrase file's text.

        Raises PhraseError that lists faults, LimitError for phrases that are too large or take too long,
        BusyError when too many clients wait.
        """
        self._check_size(len(text.encode("utf-8", "replace")))
        tokens = recognizer.metadata.token_table
        key = (text, tokens)
        if key not in self._known:
            self._known[key] = await self._compile_in_turn(text, tokens)
        self._known.move_to_end(key)
        if len(self._known) > KEPT:
            self._known.popitem(last=False)
        graph, threshold = self._known[key]
        lowest = (usual_threshold(recognizer.metadata) if threshold is None else threshold) if reject else None
        return recognizer.with_decoder(PhraseDecoder(graph, recognizer.metadata, threshold=lowest))

    async def understand_list(self, recognizer: Recognizer, phrases: Iterable[str]) -> Recognizer:
        """The same for a list of phrases as Vosk's clients send it: they may be said one after another.

        Phrases that the model cannot spell are left out. With `[unk]` among them other speech gives nothing, without it the
        nearest phrase. Raises UsageError if none is left.
        """
        given = list(phrases)
        self._check_size(sum(map(len, given)) + len(given))
        tokens = recognizer.metadata.token_table
        wanted = await asyncio.get_running_loop().run_in_executor(self._thread, _spelled, given, tokens)
        if not wanted:
            raise UsageError("the phrase list holds nothing that this model's letters spell; wanted words to be said.")
        return await self.understand(recognizer, joined_phrases(wanted, self._limits.phrases_nodes), reject=UNKNOWN in given)

    def _check_size(self, n_bytes: int) -> None:
        if n_bytes > self._limits.phrases_bytes:
            raise LimitError(
                f"the phrases have {n_bytes:,} bytes; this server takes {self._limits.phrases_bytes:,} of a client."
            )

    async def _compile_in_turn(self, text: str, tokens: TokenTable) -> tuple[PhraseGraph, float | None]:
        if self._n_waiting >= WAITING:
            raise BusyError("other clients' phrases are being compiled; try again later.")
        self._n_waiting += 1
        try:
            async with self._turn:
                return await self._compile(text, tokens)
        finally:
            self._n_waiting -= 1

    async def _compile(self, text: str, tokens: TokenTable) -> tuple[PhraseGraph, float | None]:
        limits = self._limits
        request = {
            "text": text,
            "tokens": tokens.symbols,
            "token_details": tokens.details,
            "language": tokens.language,
            "guesser": None if tokens.guesser is None else str(tokens.guesser.path),
            "seconds": limits.phrases_seconds,
            "nodes": limits.phrases_nodes,
            "states": STATES_A_NODE * limits.phrases_nodes,
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "edgeseq.serve.phrase_process",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env=environment(),
        )  # fmt: skip
        try:
            async with asyncio.timeout(START_SECONDS + PATIENCE * limits.phrases_seconds):
                out, _ = await process.communicate(json.dumps(request).encode())
        except TimeoutError:
            raise LimitError("the phrases take too long to compile; wanted fewer or simpler ones.") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode == FAULTY:
            raise _fault(json.loads(out))
        if process.returncode in (-signal.SIGPROF, -signal.SIGKILL):
            raise LimitError(
                f"the phrases take more than {limits.phrases_seconds:g} s to compile; wanted fewer or simpler ones."
            )
        if process.returncode != 0:
            raise LimitError("the phrases cannot be compiled here; wanted fewer or simpler ones.")
        header, _, graph = out.partition(b"\n")
        return PhraseGraph.from_bytes(graph), json.loads(header)["threshold"]


def _spelled(phrases: list[str], tokens: TokenTable) -> list[str]:
    """Bring phrases into words that the tokens spell, each once; others are left out."""
    return list(dict.fromkeys(text for phrase in phrases if (text := spelled(phrase, tokens, guessing=True))))


def _fault(why: dict[str, Any]) -> EdgeseqError:
    """Make an error of what the process says."""
    if "faults" in why:
        return PhraseError("phrases", [Fault(Place(line, column), message) for line, column, message in why["faults"]])
    return LimitError(why["limit"])


def joined_phrases(phrases: Iterable[str], most_nodes: int) -> str:
    """Write a phrase file in which the phrases of a list may be said one after another, as often as the bound allows.

    >>> joined_phrases(["yes", "no"], 40)
    '{"rules": {"one": "(yes | no)"}, "intents": {"list": ["{one} [{one} [{one} [{one}]]]"]}}'
    """
    options = [" ".join(escaped(word) for word in phrase.split()) for phrase in phrases]
    n_letters = sum(len(option) + 1 for option in options)
    n_times = max(1, min(MOST_REPEATED, most_nodes // max(1, n_letters)))
    several = "{one}" + " [{one}" * (n_times - 1) + "]" * (n_times - 1)
    return json.dumps({"rules": {"one": f"({' | '.join(options)})"}, "intents": {"list": [several]}}, ensure_ascii=False)
