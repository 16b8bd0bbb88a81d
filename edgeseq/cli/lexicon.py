"""`edgeseq lexicon`: how words sound, for models of phones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeseq.cli.progress import progress

app = typer.Typer(help="Make lexicons: words and how they sound, for models of phones.", no_args_is_help=True)


@app.command("make")
def make(
    texts: Annotated[
        list[Path],
        typer.Argument(
            metavar="TEXT...", help="Texts, a sentence a line. Of .tsv the last column, of .jsonl its text; or gzipped."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The lexicon to write.")],
    language: Annotated[
        str, typer.Option(metavar="NAME", help="That of espeak-ng's voices in which words are said.")
    ] = "en-us",
    dictionary: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Take pronunciations from this instead, such as CMUdict; may be repeated."),
    ] = None,
    stress: Annotated[bool, typer.Option("--stress", help="Keep apart phones that differ by stress alone.")] = False,
) -> None:
    """Write down how each word of texts sounds: for `tokens.lexicon` of a recipe, and for --lexicon.

    espeak-ng says each word, and its phones are IPA; all words of a lexicon must be in the same phones. With
    --dictionary the words are looked up, in several files the first that has a word counts. Where a word can
    be said in several ways give it several lines; look through what was written before training on it.

    \b
    Examples:
      edgeseq lexicon make mine/train.jsonl mine/test.jsonl --out mine/lexicon.txt
      edgeseq lexicon make sentences.txt --dictionary cmudict.dict --dictionary names.txt --out lexicon.txt
    """
    from edgeseq.data.pronounce import count_words, look_up, speak
    from edgeseq.errors import WordListError
    from edgeseq.pronunciations import written

    words = count_words(texts)
    if not words:
        raise WordListError(f"{', '.join(map(str, texts))}: no words; wanted text, a sentence a line.")
    if dictionary:
        entries = look_up(words, dictionary, stress=stress)
    else:
        with progress("Pronouncing", unit="words") as show:
            entries = speak(words, language, stress=stress, on_progress=show)
    out.write_text(written(entries), encoding="utf-8")
    phones = {phone for _, sounds in entries for phone in sounds}
    typer.echo(f"{out}: {len(words):,} words, {len(phones)} phones: {' '.join(sorted(phones))}", err=True)
