"""`edgeseq lm`: language models for `--lm`: counted from text, compiled from ARPA files, looked into."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from edgeseq.cli.printing import say
from edgeseq.cli.progress import progress
from edgeseq.errors import UsageError

app = typer.Typer(help="Make and check n-gram language models for --lm.", no_args_is_help=True)

OutOption = Annotated[Path, typer.Option("--out", "-o", help="The compiled model to write, NAME.lm.")]
NumberBitsOption = Annotated[int, typer.Option("--bits", metavar="32|16", help="Bits of each number; 16 makes a smaller file.")]


@app.command()
def build(
    texts: Annotated[
        list[Path],
        typer.Argument(metavar="TEXT...", help="One sentence per line (.tsv: last column; .jsonl: text), or gzipped."),
    ],
    out: OutOption,
    order: Annotated[int, typer.Option(help="Length of the longest n-grams.")] = 3,
    level: Annotated[str, typer.Option(metavar="word|char", help="Predict words, or letters.")] = "word",
    prune: Annotated[
        str, typer.Option(metavar="N,N,...", help="Drop n-grams seen N times or less, an N an order: 0,0,1")
    ] = "0",
    vocabulary: Annotated[
        Path | None, typer.Option(help="The words to know, one per line (or a lexicon).  [default: all of the texts]")
    ] = None,
    tune: Annotated[
        Path | None, typer.Option(help="Text like what will be spoken: each TEXT becomes a model, mixed to suit it best.")
    ] = None,
    size: Annotated[
        float | None, typer.Option(metavar="MB", help="Drop the n-grams that matter least until the file has this size.")
    ] = None,
    arpa: Annotated[Path | None, typer.Option(help="Also write an ARPA file (.gz packs it).")] = None,
    bits: NumberBitsOption = 32,
) -> None:
    """Estimate a language model from text.

    It uses interpolated modified Kneser-Ney smoothing, as lmplz does.

    \b
    Examples:
      edgeseq lm build sentences.txt --out spoken.lm
      edgeseq lm build names.txt --level char --order 5 --out names.lm
      edgeseq lm build books.txt talk.txt --tune dev.txt --size 6 --out small.lm
    """
    from edgeseq.lm.arpa import write_arpa
    from edgeseq.lm.binary import write_compiled
    from edgeseq.lm.building import Plan
    from edgeseq.lm.building import build as build_model

    if level not in ("word", "char"):
        raise UsageError(f"--level {level}: wanted word or char.")
    plan = Plan(order, level, _thresholds(prune), vocabulary, tune, size, bits)  # type: ignore[arg-type]
    with progress(f"Reading {', '.join(text.name for text in texts)}", unit="sentences") as show:
        built = build_model(texts, plan, show)
    if built.fallbacks:
        orders = ", ".join(map(str, built.fallbacks))
        say(f"The discounts of order {orders} cannot be estimated from this text; 0.5, 1 and 1.5 are used.", err=True)
    if arpa is not None:
        with progress(f"Writing {arpa.name}", unit="n-grams") as show:
            write_arpa(built.ngrams, arpa, show)
    header = write_compiled(built.ngrams, out, bits, source=", ".join(text.name for text in texts))
    say(f"{out}: {built.n_sentences:,} sentences, {built.n_units:,} {_units(header)}")
    for text, weight in zip(texts, built.weights, strict=False):
        say(f"  {text.name} weighs {weight:.3f}")
    say(_table(header, out))


@app.command("compile")
def compile_arpa(
    arpa: Annotated[Path, typer.Argument(help="An ARPA file, as KenLM, SRILM and lmplz write; or gzipped.")],
    out: OutOption,
    bits: NumberBitsOption = 32,
) -> None:
    """Compile an ARPA file; the result opens in milliseconds.

    Whether it predicts letters or words follows from the file's vocabulary.

    Example: edgeseq lm compile lm.arpa.gz --out lm.lm
    """
    from edgeseq.lm.arpa import read_arpa
    from edgeseq.lm.binary import write_compiled

    with progress(f"Reading {arpa.name}", unit="n-grams") as show:
        ngrams = read_arpa(arpa, show)
    header = write_compiled(ngrams, out, bits, source=arpa.name)
    say(f"{out}:")
    say(_table(header, out))


@app.command()
def info(model: Annotated[Path, typer.Argument(help="A compiled model.")]) -> None:
    """Describe a compiled model, and check that it is whole."""
    from edgeseq.lm.model import LanguageModel

    opened = LanguageModel(model)
    opened.check_whole()
    say(f"{model}: whole, from {opened.header['source'] or 'an unnamed source'}")
    say(_table(opened.header, model))


@app.command()
def score(
    model: Annotated[Path, typer.Argument(help="A compiled model.")],
    text: Annotated[list[str] | None, typer.Argument(help="Sentences.  [default: lines of standard input]")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show each word's share.")] = False,
) -> None:
    """Print the log-probability of sentences and the perplexity.

    The logarithm is to base 10 and includes the end of each sentence.

    Example: edgeseq lm score spoken.lm "turn on the light"
    """
    from edgeseq.lm.model import LanguageModel, perplexity
    from edgeseq.tokens.table import normalize_text

    opened = LanguageModel(model)
    shares: list[float] = []
    n_unknown = 0
    for line in text or sys.stdin:
        scores = opened.sentence(normalize_text(line).split())
        values = [value for _, value, _ in scores]
        shares += values
        n_unknown += sum(not known for *_, known in scores)
        say(f"{sum(values):.4f}\t{normalize_text(line)}")
        if verbose:
            for unit, value, known in scores:
                say(f"  {value:9.4f}  {unit}{'' if known else '  (unknown)'}")
    if shares:
        say(f"perplexity {perplexity(shares):.2f} over {len(shares):,}, of them unknown {n_unknown:,}", err=True)


def _thresholds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.replace(",", " ").split())
    except ValueError as fault:
        raise UsageError(f"--prune {text!r}: wanted counts between commas, the first 0: 0,0,1") from fault


def _units(header: dict[str, Any]) -> str:
    return "words" if header["level"] == "word" else "letters"


def _table(header: dict[str, Any], path: Path) -> str:
    counts = ", ".join(f"{count:,} {order}-grams" for order, count in enumerate(header["counts"], start=1))
    exact = "float32" if header["bits"] == 32 else f"16 bits, off by at most {header['largest_error']:.1g} (log10)"
    return f"  order {header['order']} over {_units(header)}: {counts}\n  {exact}; {path.stat().st_size:,} bytes"
