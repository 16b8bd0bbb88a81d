"""`edgeseq phrases`: check phrase files, import other notations, measure thresholds and false accepts."""

from __future__ import annotations

import json
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeseq.cli.options import BitsOption, ModelOption
from edgeseq.cli.printing import say
from edgeseq.cli.progress import progress
from edgeseq.errors import ManifestError, UsageError
from edgeseq.model.default import DEFAULT_MODEL

if TYPE_CHECKING:
    from edgeseq.data.manifest import Recording
    from edgeseq.phrases.content import Phrases
    from edgeseq.phrases.graph import Reading
    from edgeseq.tokens.table import TokenTable

app = typer.Typer(help="Check, import and measure phrase files.", no_args_is_help=True)

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="A phrase file.", show_default=False)]


class Notation(StrEnum):
    """Notations that can be imported."""

    hassil = "hassil"
    jsgf = "jsgf"
    rhino = "rhino"


SUFFIXES = {".gram": Notation.jsgf, ".jsgf": Notation.jsgf}


@app.command("check")
def check(
    file: FileArgument,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", metavar="MODEL", help="Spell the words by this model's tokens.  [default: any letters]"),
    ] = None,
    bits: BitsOption = None,
    n_examples: Annotated[int, typer.Option("--examples", min=0, help="Sentences to show.")] = 5,
) -> None:
    """Check a phrase file, and show what it allows.

    Faults come all at once, each with line and column, and the exit code is then 2. Without any: how many
    sentences there are (counted on the graph), the graph's size and how long it took to make, examples with
    their intents and slots, and warnings: sentences that can be understood in two ways, names that nothing uses.

    Example: edgeseq phrases check recipes/phrases/house.yaml
    """
    from edgeseq.phrases.checking import ambiguities, count_sentences, examples, text_of, unused
    from edgeseq.phrases.compiling import to_tokens, to_words
    from edgeseq.phrases.file import read_phrases
    from edgeseq.phrases.graph_making import to_graph
    from edgeseq.phrases.spelling import guess_words

    began = time.perf_counter()
    phrases = read_phrases(file)
    tokens = _tokens(phrases, model, bits)
    compiling = time.perf_counter()
    tokens = guess_words(phrases, tokens)
    words = to_words(phrases)
    spelled = to_tokens(words, phrases, tokens)
    graph = to_graph(spelled, tokens)
    ended = time.perf_counter()
    count = count_sentences(words)
    n_phrases = sum(map(len, phrases.intents.values()))
    at_most = "" if count.is_exact else "at most "
    say(f"{n_phrases:,} phrases of {len(phrases.intents):,} intents: {at_most}{count.n:,} sentences")
    say(
        f"graph: {graph.n_nodes:,} tokens, {graph.n_arcs:,} arcs; "
        f"read in {1000 * (compiling - began):.0f} ms, compiled in {1000 * (ended - compiling):.0f} ms"
    )
    for reading in examples(graph, n_examples):
        say(f"  {text_of(reading)}  ->  {_meaning(reading)}")
    for word, ways in tokens.guessed:
        sounds = ", ".join(f"/{' '.join(phones)}/" for phones in ways)
        say(f"guessed: {word!r} sounds as {sounds}; correct it under `spellings:`")
    for ambiguity in ambiguities(spelled, tokens):
        say(
            f"warning: {ambiguity.text!r} can be understood in two ways:\n"
            f"    {_meaning(ambiguity.first)}\n    {_meaning(ambiguity.second)}"
        )
    for what in unused(phrases):
        say(f"warning: {file}:{what} is used by nothing")
    if model is None:
        say("(the spelling was not checked against a model's tokens; see --model)", err=True)


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="A grammar in another notation.", show_default=False)],
    notation: Annotated[
        Notation | None, typer.Option("--from", help="Its notation.  [default: by the file's name]", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write here.  [default: standard output]")
    ] = None,
) -> None:
    """Import a grammar: Home Assistant, JSGF or Rhino.

    It writes a phrase file from Home Assistant's sentences (hassil), a JSGF grammar or a context of Rhino.

    What cannot be taken over is left out, and said so in comments at the head of what is written.

    Example: edgeseq phrases import kitchen.jsgf --out kitchen.yaml
    """
    from edgeseq.phrases.importers import write

    chosen = notation or SUFFIXES.get(source.suffix.lower())
    if chosen is None:
        raise UsageError(f"{source}: its name does not tell its notation; wanted --from {', '.join(Notation)}.")
    try:
        text = source.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as fault:
        raise UsageError(f"{source}: byte {fault.start:,} is not UTF-8; wanted a text file saved as UTF-8.") from None
    draft = _reader(chosen)(text, str(source))
    written = write(draft, f"Made of {source.name} by `edgeseq phrases import --from {chosen.value}`.")
    for note in draft.notes:
        say(f"edgeseq: {note}", err=True)
    if out is None:
        say(written, nl=False)
    else:
        out.write_text(written, encoding="utf-8")


@app.command("false-accepts")
def false_accepts(
    file: FileArgument,
    manifest: Annotated[
        Path, typer.Option(help="Recordings of other speech (sought in ./data), such as librispeech/train.jsonl.")
    ],
    model: ModelOption = DEFAULT_MODEL,
    bits: BitsOption = None,
    without: Annotated[
        str | None,
        typer.Option(
            metavar="WORDS",
            help="Leave out recordings that hold one of these (between commas); without this: any word of the phrase file.",
        ),
    ] = None,
    threshold: Annotated[float | None, typer.Option("--phrase-threshold", help="Lowest score to accept, nats a token.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object.")] = False,
) -> None:
    """Count the phrases heard in speech that holds none.

    Each recording is heard as a microphone would give it, 80 ms at a time, and its pauses end utterances.
    Recordings whose text holds a word of the phrase file are left out. The utterances nearest to a phrase are
    listed with their scores, so that the price of another threshold can be read off.

    Example: edgeseq phrases false-accepts recipes/phrases/digits.yaml --manifest librispeech/train.jsonl
    """
    from edgeseq.data.manifest import find_data, read_manifest
    from edgeseq.evaluation.phrase_measuring import hear_other_speech
    from edgeseq.models import load_recognizer
    from edgeseq.phrases import load_phrases
    from edgeseq.phrases.compiling import to_words
    from edgeseq.phrases.file import read_phrases

    recognizer = load_recognizer(model, bits=bits)
    decoder = load_phrases(file, recognizer.metadata, threshold=threshold)
    barred = {symbol for symbol in to_words(read_phrases(file)).symbols if isinstance(symbol, str)}
    barred = barred if without is None else {word.strip() for word in without.split(",")}
    every = read_manifest(find_data(manifest))
    recordings = [recording for recording in every if not barred & set(recording.text.lower().split())]
    if not recordings:
        raise ManifestError(f"{manifest}: every recording holds one of the words {', '.join(sorted(barred)[:20])}.")
    with progress("Hearing other speech", unit="recordings") as show:
        result = hear_other_speech(recognizer, decoder, recordings, on_progress=show)
    if as_json:
        say(json.dumps(result.to_dict()))
        return
    minutes = result.seconds / 60
    say(
        f"{result.n_given_out} phrases heard in {minutes:.1f} minutes of other speech "
        f"({60 * result.n_given_out / minutes:.1f} an hour; {len(recordings)} of {len(every)} recordings) "
        f"at threshold {result.threshold:g}"
    )
    for score, text in result.accepted:
        say(f"  {score:7.3f}  {text}{'' if score >= result.threshold else '  (rejected)'}")


@app.command("measure")
def measure(
    file: FileArgument,
    manifest: Annotated[Path, typer.Option(help="Recordings in which phrases of the file are said (sought in ./data).")],
    other: Annotated[list[Path], typer.Option(help="Recordings of other speech, one at a time; may be repeated.")],
    model: ModelOption = DEFAULT_MODEL,
    bits: BitsOption = None,
    accept: Annotated[float, typer.Option(min=0, max=1, help="Share of other speech that may be taken for a phrase.")] = 0.05,
    limit: Annotated[int | None, typer.Option(min=1, help="Hear N recordings of each manifest, spread evenly.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object.")] = False,
) -> None:
    """Measure thresholds, and suggest one.

    It shows which share of phrases and of other speech each threshold accepts.

    Every recording is heard once, without rejection, 80 ms at a time. A phrase is right when its text is that of the manifest
    or, where the manifest has `intent` and `slots`, when these are. The suggested threshold goes into the phrase file
    (`threshold:`); with --json the output is what `edgeseq export --measured` makes a model's default of. Choose it on other
    people than those it is judged by.

    Example: edgeseq phrases measure recipes/phrases/words.yaml --manifest words.jsonl --other others.jsonl
    """
    from edgeseq.evaluation.phrase_thresholds import choose_threshold, hear_nearest
    from edgeseq.models import load_recognizer
    from edgeseq.phrases import load_phrases

    recognizer = load_recognizer(model, bits=bits)
    decoder = load_phrases(file, recognizer.metadata)
    with progress("Hearing phrases", unit="recordings") as show:
        said = hear_nearest(recognizer, decoder, _spread([manifest], limit), show)
    with progress("Hearing other speech", unit="recordings") as show:
        others = hear_nearest(recognizer, decoder, _spread(other, limit), show)
    result = choose_threshold(said, others, accept)
    say(json.dumps(result.to_dict()) if as_json else "\n".join(result.to_lines()))


def _spread(manifests: list[Path], limit: int | None) -> list[Recording]:
    """Read manifests; of each `limit` recordings, or all."""
    from edgeseq.data.manifest import find_data, read_manifest

    chosen: list[Recording] = []
    for manifest in manifests:
        recordings = read_manifest(find_data(manifest), allow_empty_text=True)
        n = len(recordings) if limit is None else min(limit, len(recordings))
        chosen += [recordings[i * len(recordings) // n] for i in range(n)]
    return chosen


@app.command("bench")
def bench(
    file: FileArgument,
    sentences: Annotated[int, typer.Option(min=1, help="Sentences to draw from the phrases.")] = 200,
    beam: Annotated[float | None, typer.Option(help="Nats; inf searches without any.  [default: that of listen]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object.")] = False,
) -> None:
    """Measure the processor time of the search, row by row.

    Needs no model: sentences are drawn from the phrases and rows made as a network gives them at 40 ms a row, unsure
    in every letter. Nothing else should be running.

    Example: edgeseq phrases bench recipes/phrases/coffee.yaml
    """
    from types import SimpleNamespace
    from typing import cast

    from edgeseq.evaluation.phrase_measuring import ROW_SECONDS, bench_search
    from edgeseq.model.metadata import CtcMetadata
    from edgeseq.phrases.compiling import compile_phrases
    from edgeseq.phrases.file import read_phrases
    from edgeseq.phrases.search import DEFAULT_BEAM, PhraseDecoder

    phrases = read_phrases(file)
    tokens = _tokens(phrases, None, None)
    model = SimpleNamespace(tokens=tokens.symbols, blank_id=tokens.blank_id, step_samples=640, sample_rate=640 / ROW_SECONDS)
    graph = compile_phrases(phrases, tokens)
    decoder = PhraseDecoder(graph, cast(CtcMetadata, model), threshold=None, beam=DEFAULT_BEAM if beam is None else beam)
    cost = bench_search(decoder, sentences)
    if as_json:
        say(json.dumps({"nodes": graph.n_nodes, **cost.to_dict()}))
        return
    say(
        f"{cost.sentences:,} sentences, {cost.rows:,} rows of 40 ms, {graph.n_nodes:,} tokens in the graph\n"
        f"search     {cost.row_us:.1f} microseconds a row ({1e6 * ROW_SECONDS / cost.row_us:,.0f} times real time)\n"
        f"open ways  {cost.open_ways:.1f} on average\n"
        f"understood {cost.right:,} of {cost.sentences:,}"
    )


def _tokens(phrases: Phrases, model: str | None, bits: int | None) -> TokenTable:
    """Give a model's tokens, or the letters of the file itself."""
    from edgeseq.phrases.content import all_nodes, words
    from edgeseq.phrases.numbers import NUMBER_WORDS
    from edgeseq.tokens.table import TokenTable

    if model is not None:
        from edgeseq.models import load_recognizer

        return load_recognizer(model, bits=bits).metadata.token_table
    texts = [word.text for node in all_nodes(phrases) for word in words(node)]
    return TokenTable.of_characters(
        [*texts, *(text for spelled in phrases.spellings.values() for text in spelled), *NUMBER_WORDS]
    )


def _reader(notation: Notation) -> Any:
    from importlib import import_module

    modules = {Notation.hassil: "home_assistant", Notation.jsgf: "jsgf", Notation.rhino: "rhino"}
    return import_module(f"edgeseq.phrases.importers.{modules[notation]}").read


def _meaning(reading: Reading) -> str:
    slots = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in reading.slots.items())
    return f"{reading.intent}({slots})"
