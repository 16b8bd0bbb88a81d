"""Phrases: only what an application allows, with intent and typed slots, or nothing.

    notation.py   one phrase: words, (a | b), [optional], {slot}           -> tree
    file.py       a YAML file of intents, rules, slots, spellings          -> Phrases, or every fault with line and column
    spelling.py   what a model's tokens have to spell, words that are guessed, and what they cannot
    compiling.py  Phrases and a model's tokens                             -> PhraseGraph, shared and minimal
    search.py     rows of log-probs through the graph                      -> hypotheses; the Decoder of phrases
    checking.py   what a file allows: how many sentences, examples, what is ambiguous
    measuring.py  false acceptances, and the cost of the search; thresholds.py: which threshold
    examples.py   a phrase file to begin with, for each model
    changing.py   other phrases while a stream runs
    importers/    other notations to phrase files

See docs/phrases.md.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from edgeseq.phrases.faults import PhraseError

if TYPE_CHECKING:
    from edgeseq.model.metadata import CtcMetadata
    from edgeseq.phrases.search import PhraseDecoder

__all__ = ["PhraseError", "load_phrases"]


def load_phrases(
    path: str | os.PathLike[str], metadata: CtcMetadata, *, threshold: float | None = None, reject: bool = True
) -> PhraseDecoder:
    """Read a phrase file and compile it for a model, ready for `Recognizer.with_decoder`.

    threshold: lowest score that is reported, nats per token; None takes the file's, else the model's.
    reject: off, the nearest phrase is reported, whatever was said.
    Raises PhraseError that lists all faults; OSError if the file cannot be opened.
    """
    from edgeseq.phrases.compiling import compile_phrases
    from edgeseq.phrases.file import read_phrases
    from edgeseq.phrases.search import PhraseDecoder, usual_threshold

    phrases = read_phrases(path, metadata.language)
    wanted = next(value for value in (threshold, phrases.threshold, usual_threshold(metadata)) if value is not None)
    graph = compile_phrases(phrases, metadata.token_table)
    return PhraseDecoder(graph, metadata, threshold=wanted if reject else None)
