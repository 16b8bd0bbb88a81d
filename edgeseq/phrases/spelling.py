"""What a phrase file asks tokens to spell: words, their spellings, phones between slashes; and what they cannot."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from edgeseq.phrases.content import Phrases, all_nodes, is_phones, phones_of, references, words
from edgeseq.phrases.faults import Fault, Place
from edgeseq.phrases.notation import NumberRange
from edgeseq.phrases.numbers import number_phrases
from edgeseq.tokens.table import BLANK, WORD_START, TokenTable


def ways(text: str, tokens: TokenTable) -> Iterable[tuple[str, ...]]:
    """Give the units of a text in each way to say it, as `TokenTable.ways` does."""
    return [(WORD_START, *phones_of(text))] if is_phones(text) else tokens.ways(text)


def n_words(text: str) -> int:
    """Count the words that a text is heard as."""
    return 1 if is_phones(text) else len(text.split())


def guess_words(phrases: Phrases, tokens: TokenTable) -> TokenTable:
    """Give tokens that know the words of the phrases, too, which only a guesser can pronounce."""
    return tokens.with_guesses(dict.fromkeys(text for text, _, _ in _spelled_texts(phrases) if not is_phones(text)))


def check_spelling(phrases: Phrases, tokens: TokenTable) -> list[Fault]:
    """Find words that the tokens cannot spell."""
    return [fault for text, word, place in _spelled_texts(phrases) for fault in _spelling_fault(text, word, place, tokens)]


def _spelled_texts(phrases: Phrases) -> Iterator[tuple[str, str, Place]]:
    """List what tokens have to spell: (text, the word that it stands for, where that is in the file)."""
    for node in all_nodes(phrases):
        for word in words(node):
            if word.text not in phrases.spellings:
                yield word.text, word.text, word.place
    for word_text, texts in phrases.spellings.items():
        yield from ((text, word_text, phrases.spelling_places[word_text]) for text in texts)
    for numbers, place in _ranges(phrases):
        said = {word.text for word in words(number_phrases(numbers))} - set(phrases.spellings)
        yield from ((text, text, place) for text in sorted(said))


def _ranges(phrases: Phrases) -> list[tuple[NumberRange, Place]]:
    """List the number ranges of a file, and where they stand."""
    inline = [(reference.numbers, reference.place) for node in all_nodes(phrases) for reference in references(node)]
    named = [(slot.numbers, slot.place) for slot in phrases.slots.values()]
    return [(numbers, place) for numbers, place in (*inline, *named) if numbers is not None]


def _spelling_fault(text: str, word: str, place: Place, tokens: TokenTable) -> list[Fault]:
    of = f" (in its spelling {text!r})" if text != word else ""
    if tokens.kind == "phones":
        return _sound_fault(text, of, place, tokens)
    unknown = tokens.unknown(text)
    if not unknown:
        return []
    letters = "".join(sorted(tokens.letters))
    missing = f"{word!r}{of} holds {', '.join(map(repr, unknown))}, which no token spells"
    return [Fault(place, f"{missing}; wanted letters of {letters!r}, or a spelling under `spellings:`.")]


def _sound_fault(text: str, of: str, place: Place, tokens: TokenTable) -> list[Fault]:
    """The same where tokens are phones."""
    phones = " ".join(sorted(set(tokens.symbols) - {BLANK, WORD_START}))
    if is_phones(text):
        strange = ", ".join(map(repr, sorted(set(phones_of(text)) - set(phones.split()))))
        holds = f"{strange}, which the model does not hear" if strange else "no phones"
        return [Fault(place, f"{text!r} holds {holds}; wanted phones of: {phones}.")] if strange or not phones_of(text) else []
    unknown = tokens.unknown(text)
    if not unknown:
        return []
    why = "" if tokens.guesser is None else f", and {'their' if unknown[1:] else 'its'} letters cannot be read"
    missing = f"the lexicon of the model lacks {', '.join(map(repr, unknown))}{of}{why}"
    wanted = f"words that it has, or phones between slashes, under `spellings:`, as {unknown[0]}: /P1 P2/ with P1, P2 of"
    return [Fault(place, f"{missing}; wanted {wanted}: {phones}.")]
