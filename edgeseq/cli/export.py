"""`edgeseq export`: trained weights to verified model files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeseq.cli.printing import say
from edgeseq.cli.progress import busy, progress


def export(
    source: Annotated[
        str,
        typer.Argument(metavar="FROM", help="A checkpoint, a run's folder, or a released model's folder or name."),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the model files.")],
    bits: Annotated[
        list[int] | None,
        typer.Option(help="Bits per weight: 32, 8 or 4; may be repeated, for one file each.  [default: 32 and 8]"),
    ] = None,
    target: Annotated[
        str,
        typer.Option(help="Processor: generic, x86, pi4, pi5, or auto (measured on this machine)."),
    ] = "generic",
    chunk_ms: Annotated[
        int | None,
        typer.Option(min=1, help="Milliseconds of audio the graph takes at a time.  [default: the recipe's]"),
    ] = None,
    flush_seconds: Annotated[
        float | None,
        typer.Option(min=0, help="Silence to feed after the last sample.  [default: measured on the training clips]"),
    ] = None,
    measured: Annotated[
        Path | None, typer.Option(help="Word delays and confidences, from `edgeseq eval --times --calibration --json`.")
    ] = None,
    scores: Annotated[Path | None, typer.Option(help="Scores to keep in the files, from `edgeseq eval --json`.")] = None,
    unproven: Annotated[
        bool, typer.Option("--unproven", help="Write the files even without a passed proof, and mark them as unproven.")
    ] = False,
    lexicon: Annotated[Path | None, typer.Option(help="Word list to put beside the model.  [default: the recipe's]")] = None,
    lm: Annotated[
        Path | None, typer.Option("--lm", metavar="FILE.lm", help="Language model to put beside the model and to search with.")
    ] = None,
    guesser: Annotated[Path | None, typer.Option(help="Guesser for words that the lexicon lacks.")] = None,
    beam: Annotated[
        int | None, typer.Option(min=1, help="Hypotheses that the search keeps.  [default: the recipe's, or the usual number]")
    ] = None,
    lm_weight: Annotated[
        float | None, typer.Option(min=0, help="Weight of the language model.  [default: the recipe's, or 0.5]")
    ] = None,
    word_bonus: Annotated[
        float | None, typer.Option(help="Bonus for each word, in nats.  [default: the recipe's, or 0]")
    ] = None,
    blank_penalty: Annotated[
        float | None, typer.Option(help="Penalty for blank in each row, in nats.  [default: the recipe's, or 0]")
    ] = None,
    min_confidence: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Least confidence of the surest word of an utterance.  [default: the recipe's, or 0]"),
    ] = None,
) -> None:
    """Export trained weights to verified model files.

    The files: model.onnx (float), model.int8.onnx (8 bit), model.int4.onnx (4 bit) and weights.safetensors.

    A lexicon, a language model and a guesser are copied beside the files and named in them, with their SHA-256. A model with
    a language model of its own dictates unless you name phrases.

    Nothing is written before every graph is verified against torch: log-probs and final state, from random starts, for
    several batch sizes and ways of cutting the audio. If the recipe's validation recordings are on this machine, torch and
    every file hear them (the proof, see `edgeseq prove`). A file whose WER (for phone models also phone error rate) differs
    by more than export.most_difference is not written. --unproven writes it anyway; `edgeseq models info` then says why it is
    unproven.

    Files for `generic` compute the same on every processor; other targets may round differently to be faster.

    \b
    Examples:
      edgeseq export runs/digits-en --out models/digits-en
      edgeseq export models/digits-en --out on-this-board --bits 4 --target auto
      edgeseq export runs/english --out models/english --lm english.lm
    """
    from dataclasses import replace

    from edgeseq.errors import MissingExtraError

    try:
        with busy("loading torch"):
            from edgeseq.export.exporter import RELEASED_BITS, read_measured, read_scores
            from edgeseq.export.exporter import export as write
            from edgeseq.training.recipe_file import parse_recipe
            from edgeseq.training.weights import find_weights, load_trained
    except ModuleNotFoundError as fault:
        raise MissingExtraError(
            f"Exporting needs {fault.name}, which is not installed: pip install 'edgeseq[train]'"
        ) from fault
    trained = load_trained(find_weights(source, "FROM"))
    if trained.unfinished:
        say(f"edgeseq: {source}: {trained.unfinished}; what it has learnt so far is exported.", err=True)
    if chunk_ms is not None:
        values = trained.recipe.model_dump(mode="json")
        values["export"]["chunk_ms"] = chunk_ms
        trained = replace(trained, recipe=parse_recipe(values, f"--chunk-ms {chunk_ms}"))
    files = {"lexicon": lexicon, "language_model": lm, "guesser": guesser}
    kept = read_scores(scores) if scores else {}
    found = read_measured(measured) if measured else None
    with progress("Hearing the validation set in all ways", unit="clips") as show:
        exported = write(
            trained,
            out,
            scores=kept,
            bits=bits or RELEASED_BITS,
            target=target,
            flush_seconds=flush_seconds,
            measured=found,
            companions={role: path for role, path in files.items() if path is not None},
            search={
                "beam": beam,
                "lm_weight": lm_weight,
                "word_bonus": word_bonus,
                "blank_penalty": blank_penalty,
                "min_confidence": min_confidence,
            },
            unproven=unproven,
            on_progress=lambda way, done, total: show(done, total),
        )
    for file in exported.files:
        say(
            f"{file.path}  {file.size:,} bytes  {file.form}; differs from torch by at most "
            f"{file.difference.rows:.1e} in log-probs, {file.difference.state:.1e} in state",
            err=True,
        )
    if exported.proof is not None:
        say(exported.proof.to_text(), err=True)
    if exported.unproven:
        say(f"not proven: {exported.unproven}", err=True)
