"""Names and terms that a client gives along with its sound: recognized more easily, within bounds.

They become hotwords of the beam search, besides those that the server was started with. A model of phrases hears its phrases
alone: there they change nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import islice

from edgeseq.decoding.greedy import GreedyDecoder
from edgeseq.decoding.hotwords import DEFAULT_BOOST, Hotword, Hotwords
from edgeseq.decoding.loading import AnyBeam, load_beam
from edgeseq.serve.limits import Limits
from edgeseq.stream.recognizer import Recognizer
from edgeseq.tokens.table import TokenTable

NAME_BOOST, TERM_BOOST = DEFAULT_BOOST, 1.0
"""nats a letter: names come before terms"""
LONGEST = 64
"""letters of a name or term; longer ones are left out"""
MOST_TEXTS = 5000
"""of each kind that are looked at"""
PROMPT_WORDS = 4
"""A stretch of a prompt between two marks that has more words is prose, not a term."""
KEPT = 8
"""Sets of names and terms that are remembered with their search: clients that send the same share it."""


def biased(
    recognizer: Recognizer, names: Sequence[str] = (), terms: Sequence[str] = (), limits: Limits | None = None
) -> Recognizer:
    """Return a recognizer that hears names, and a little less terms, more easily; itself if there is nothing to do.

    What the model's tokens do not spell is left out, and so is what comes after `limits.phrases_nodes` letters. Takes
    some ten milliseconds for the most that is taken: not for an event loop.
    """
    if not isinstance(recognizer.decoder, GreedyDecoder | AnyBeam) or not (names or terms):
        return recognizer
    wanted = hotwords(names, terms, recognizer.metadata.token_table, (limits or Limits()).phrases_nodes)
    return _with_hotwords(recognizer, wanted) if wanted else recognizer


def hotwords(names: Iterable[str], terms: Iterable[str], tokens: TokenTable, most_letters: int) -> tuple[Hotword, ...]:
    """Make hotwords of names and terms, the names first, each once, as many as `most_letters` allow.

    >>> hotwords(["Anna-Lena", "R2D2"], ["anna lena", "no"], TokenTable.of_characters(["anna lena no"]), 20)
    (Hotword(phrase='anna lena', boost=1.5), Hotword(phrase='no', boost=1.0))
    """
    found: dict[str, Hotword] = {}
    n_letters = 0
    for texts, boost in ((names, NAME_BOOST), (terms, TERM_BOOST)):
        for text in islice(texts, MOST_TEXTS):
            phrase = spelled(text, tokens)
            if phrase is None or phrase in found:
                continue
            n_letters += len(phrase) + 1
            if n_letters > most_letters:
                return tuple(found.values())
            found[phrase] = Hotword(phrase, boost)
    return tuple(found.values())


def spelled(text: str, tokens: TokenTable, *, guessing: bool = False) -> str | None:
    """Bring a text that people wrote into words that the tokens spell; None where that is not possible.

    guessing: words count, too, that phrases may hold since a guesser reads them.

    >>> spelled("Anna-Lena!", TokenTable.of_characters(["anna lena"])), spelled("42", TokenTable.of_characters(["a"]))
    ('anna lena', None)
    """
    if len(text) > LONGEST:
        return None
    kept = [letter if letter in tokens.letters or letter.isalnum() else " " for letter in tokens.normalize(text)]
    phrase = tokens.normalize("".join(kept))
    guesser = tokens.guesser if guessing else None
    can_be_said = phrase and all(guesser is not None and guesser.reads(word) for word in tokens.unknown(phrase))
    return phrase if can_be_said else None


def terms_of_prompt(prompt: str) -> list[str]:
    """Read a prompt as a list of terms: what stands between commas, full stops and line ends, unless it is prose.

    >>> terms_of_prompt("Siobhan, Nguyen; New York. This is about the people of a city in the north.")
    ['Siobhan', 'Nguyen', 'New York']
    """
    pieces = (piece.strip() for piece in re.split(r"[,;:.!?\n\r\t|]+", prompt))
    return [piece for piece in pieces if piece and len(piece.split()) <= PROMPT_WORDS]


def texts(value: object) -> Sequence[str]:
    """Take the texts of a list that a client sent; whatever else it is or holds is left out."""
    return [text for text in value if isinstance(text, str)] if isinstance(value, list) else []


@lru_cache(KEPT)
def _with_hotwords(recognizer: Recognizer, wanted: tuple[Hotword, ...]) -> Recognizer:
    about, decoder = recognizer.metadata, recognizer.decoder
    if not isinstance(decoder, AnyBeam):
        return recognizer.with_decoder(load_beam(about, hotwords=wanted))
    own = decoder.hotwords.hotwords if decoder.hotwords is not None else ()
    known = {hotword.phrase for hotword in own}
    added = [hotword for hotword in wanted if hotword.phrase not in known]
    return recognizer.with_decoder(decoder.with_hotwords(Hotwords([*own, *added], decoder.tokens)))
