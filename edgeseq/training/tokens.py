"""The tokens that a recipe asks for: characters of the texts, subwords that sentencepiece chooses, phones, another model's."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from edgeseq.data.manifest import find_data
from edgeseq.decoding.lexicon import lexicon_entries, report_faults, words_by_count
from edgeseq.errors import ManifestError, MissingExtraError, RecipeError, WordListError
from edgeseq.tokens.table import BLANK, WORD_START, TokenTable, normalize_text
from edgeseq.training.recipe import TokensRecipe
from edgeseq.training.weights import find_weights, load_trained

WORD_SCORE, LETTER_SCORE = -1.0, -100.0
"""Scores of whole words' tokens: no word is cheaper spelled in letters."""


def make_tokens(recipe: TokensRecipe, texts: Iterable[str], language: str = "") -> TokenTable:
    """Make the tokens of a recipe for the texts in `language` that it trains on. The same texts give the same tokens.

    Raises RecipeError for a number of subwords that cannot be, WordListError for a lexicon with faults, ManifestError for
    words that it lacks, UsageError and ModelError for a model that is not there or none.
    """
    if recipe.kind == "subwords":
        assert recipe.size is not None
        return replace(subwords(_count_words(texts, language), recipe.size), language=language)
    if recipe.kind == "words":
        return replace(whole_words(_count_words(texts, language)), language=language)
    if recipe.kind == "phones":
        assert recipe.lexicon is not None
        made = phones(_count_words(texts, language), recipe.lexicon, word_start=recipe.word_start)
        return replace(made, language=language)
    if recipe.kind == "given":
        assert recipe.model is not None
        return replace(load_trained(find_weights(recipe.model, "tokens.model")).tokens, language=language)
    return TokenTable.of_characters(texts, language)


def _count_words(texts: Iterable[str], language: str) -> Counter[str]:
    return Counter(word for text in texts for word in normalize_text(text, language).split())


def subwords(words: Mapping[str, int], size: int) -> TokenTable:
    """Let sentencepiece choose at most `size` pieces (Kudo 2018: a unigram model) for words that are said so often.

    Every letter is a piece, so that any word of these letters can be spelled; no piece reaches over a word's border.
    """
    try:
        import sentencepiece
    except ModuleNotFoundError as fault:
        raise MissingExtraError("Subwords need sentencepiece, which is not installed: pip install 'edgeseq[train]'") from fault
    letters = {letter for word in words for letter in word} | {WORD_START}
    if size <= len(letters):
        raise RecipeError(
            f"tokens.size is {size}, and the texts hold {len(letters)} letters ({WORD_START} among them), each of which is a "
            f"token.\n  Give more than {len(letters)}, or tokens.kind=characters."
        )
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(f"{word}\t{count}" for word, count in sorted(words.items())),
        input_format="tsv",
        model_writer=model,
        model_type="unigram",
        vocab_size=size + 1,  # <unk> counts
        hard_vocab_limit=False,
        character_coverage=1.0,
        normalization_rule_name="identity",  # texts are normalized before
        max_sentence_length=1_000_000,
        unk_id=0,
        bos_id=-1,
        eos_id=-1,
        pad_id=-1,
        num_threads=1,  # several would add in any order
        minloglevel=2,
    )
    found = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = [(found.id_to_piece(number), found.get_score(number)) for number in range(1, found.get_piece_size())]
    # Shortest decimals that are the same float32.
    scores = [float(str(np.float32(score))) for _, score in pieces]
    return TokenTable((BLANK, *(piece for piece, _ in pieces)), scores=(0.0, *scores))


def whole_words(words: Iterable[str]) -> TokenTable:
    """Make a token of each word, for a list of commands; the letters that they are written with are tokens that nobody says.

    >>> whole_words(["no", "on"]).symbols
    ('<blk>', '▁', 'n', 'o', '▁no', '▁on')
    """
    listed = sorted(set(words))
    letters = sorted({letter for word in listed for letter in word})
    pieces = (WORD_START, *letters, *(WORD_START + word for word in listed))
    scores = (WORD_SCORE if piece[1:] else LETTER_SCORE for piece in pieces)
    return TokenTable((BLANK, *pieces), scores=(0.0, *scores))


def phones(words: Mapping[str, int], lexicon: str, *, word_start: bool = True) -> TokenTable:
    """Read the lexicon, whose phones become the tokens; it must have all `words`."""
    path = find_data(lexicon)
    entries = list(lexicon_entries(path))
    silent = [f"{path}:{number}: '{word}' has no phones" for number, word, of_word in entries if not of_word]
    sounds = {sound for _, _, of_word in entries for sound in of_word}
    taken = sorted(sound for sound in sounds if sound == BLANK or sound.startswith(WORD_START))
    report_faults(silent + [f"{path}: {sound} is not a phone" for sound in taken], "wanted a word, then phones: tea T IY")
    if not entries:
        raise WordListError(f"{path}: the lexicon is empty; wanted one word and its phones per line: tea T IY")
    tokens = TokenTable.of_phones(((word, of_word) for _, word, of_word in entries), word_start=word_start)
    missing = [word for word in words if word not in tokens.pronunciations]
    if missing:
        raise ManifestError(
            f"{path}: lacks {len(missing):,} words of the training texts:{words_by_count(missing, words)}\n"
            "  Add them with their phones, or let them be guessed: edgeseq lexicon make --help"
        )
    return tokens
