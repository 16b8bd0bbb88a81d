"""`edgeseq lexicon`: how words sound, for models of phones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeseq.cli.printing import say
from edgeseq.cli.progress import progress

if TYPE_CHECKING:
    from edgeseq.data.pronounce import Guess, Progress

app = typer.Typer(help="Make lexicons: words and how they sound, for models of phones.", no_args_is_help=True)

LETTERS, ESPEAK = "letters", "espeak-ng"
"""Values of --guess; any other is a file."""

OutOption = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The file to write.")]
StressOption = Annotated[bool, typer.Option("--stress", help="Keep apart phones that differ by stress alone.")]


@app.command("make")
def make(
    texts: Annotated[
        list[Path],
        typer.Argument(metavar="TEXT...", help="Texts, one sentence per line (.tsv: last column; .jsonl: text), or gzipped."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The lexicon to write.")],
    language: Annotated[
        str, typer.Option(metavar="NAME", help="That of espeak-ng's voices in which words are said.")
    ] = "en-us",
    dictionary: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Take pronunciations from this instead, such as CMUdict; may be repeated."),
    ] = None,
    guess: Annotated[
        str | None,
        typer.Option(
            metavar="letters|espeak-ng|FILE",
            help="Guess words that the dictionaries lack: by their letters, as the dictionaries' words are said; "
            "by espeak-ng, its phones turned into the dictionaries'; by a guesser's file.",
        ),
    ] = None,
    stress: StressOption = False,
) -> None:
    """Write down how each word of a text sounds.

    The lexicon is for `tokens.lexicon` of a recipe, and for --lexicon.

    espeak-ng says each word, and its phones are IPA; all words of a lexicon must be in the same phones. With
    --dictionary the words are looked up, in several files the first that has a word counts; a word that none has
    is refused or, with --guess, guessed and counted. Where a word can be said in several ways give it several lines;
    look through what was written before training on it.

    \b
    Examples:
      edgeseq lexicon make mine/*.jsonl --out mine/lexicon.txt
      edgeseq lexicon make a.txt --dictionary cmudict.dict --out lexicon.txt
    """
    from edgeseq.data.pronounce import count_words, look_up, read_dictionaries, speak
    from edgeseq.errors import UsageError, WordListError
    from edgeseq.tokens.pronunciations import written

    if guess is not None and not dictionary:
        raise UsageError("--guess is about words that dictionaries lack; give --dictionary, too, or leave it out.")
    words = count_words(texts)
    if not words:
        raise WordListError(f"{', '.join(map(str, texts))}: no words; wanted text, one sentence per line.")
    guessed: list[str] = []
    with progress("Pronouncing", unit="words") as show:
        if dictionary:
            known = read_dictionaries(dictionary, stress=stress)
            entries, guessed = look_up(words, known, _guess(guess, language, show))
        else:
            entries = speak(words, language, stress=stress, on_progress=show)
    out.write_text(written(entries), encoding="utf-8")
    phones = {phone for _, sounds in entries for phone in sounds}
    say(f"{out}: {len(words):,} words, {len(phones)} phones: {' '.join(sorted(phones))}", err=True)
    if guessed:
        _report(guessed, words)


def _guess(how: str | None, language: str, show: Progress) -> Guess | None:
    from edgeseq.data.guesses import by_espeak, by_guesser, by_letters

    if how is None:
        return None
    if how == LETTERS:
        return by_letters
    return by_espeak(language, show) if how == ESPEAK else by_guesser(Path(how))


def _report(guessed: Sequence[str], words: Mapping[str, int]) -> None:
    """Say which words were guessed, those first that are said most often."""
    from edgeseq.decoding.lexicon import words_by_count

    said, total = sum(words[word] for word in guessed), sum(words.values())
    say(
        f"guessed: {len(guessed):,} words, {said / total:.1%} of all that is said:{words_by_count(guessed, words)}\n"
        "  Correct what matters in a dictionary of your own, and name it first.",
        err=True,
    )


@app.command("guesser")
def guesser(
    dictionary: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Pronouncing dictionaries, such as CMUdict.")],
    out: OutOption,
    size: Annotated[float, typer.Option(metavar="MB", min=0.1, help="Largest size of the file.")] = 1.5,
    stress: StressOption = False,
) -> None:
    """Learn from dictionaries how words are pronounced.

    The file is for a model's folder: on the board, and without espeak-ng, it pronounces words of phrase files that
    the model's lexicon lacks. `edgeseq lexicon make --guess FILE` takes it, too. CMUdict takes half a minute.

    Example: edgeseq lexicon guesser cmudict.dict --out en.guesser
    """
    from edgeseq.data.graphones import write_guesser
    from edgeseq.data.pronounce import read_dictionaries
    from edgeseq.lm.guesser import load_guesser

    known = read_dictionaries(dictionary, stress=stress)
    source = ", ".join(path.name for path in dictionary)
    write_guesser(((word, way) for word, ways in known.items() for way in ways), out, size, source)
    made = load_guesser(out)
    say(f"{out}: learned from {len(known):,} words, {len(made.phones)} phones, {out.stat().st_size:,} bytes", err=True)


@app.command("pack")
def pack(
    lexicon: Annotated[Path, typer.Argument(metavar="LEXICON", help="Words and their phones, one per line.")],
    out: OutOption,
    stress: StressOption = False,
) -> None:
    """Pack a lexicon into a file that opens in milliseconds.

    It serves wherever a lexicon does: --lexicon, --dictionary, `tokens.lexicon`, and a model's folder.

    Example: edgeseq lexicon pack lexicon.txt --out en.lexicon
    """
    from edgeseq.data.pronounce import read_dictionaries
    from edgeseq.tokens.packed_lexicon import pack as packed
    from edgeseq.tokens.packed_lexicon import write_packed

    known = read_dictionaries([lexicon], stress=stress)
    made = packed((word, way) for word, ways in known.items() for way in ways)
    write_packed(made, out)
    say(f"{out}: {len(made):,} words, {len(made.lengths):,} pronunciations, {out.stat().st_size:,} bytes", err=True)
