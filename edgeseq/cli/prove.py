"""`edgeseq prove`: the same weights in torch, whole and streamed, and in exported files, by their words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from edgeseq.cli.printing import say
from edgeseq.cli.progress import busy, progress

if TYPE_CHECKING:
    from edgeseq.evaluation.reference_clips import Clip


def prove(
    source: Annotated[
        str,
        typer.Argument(metavar="FROM", help="A checkpoint, a run's folder, or a released model's folder or name."),
    ],
    manifest: Annotated[
        list[str] | None, typer.Option(help="What to hear; may be repeated.  [default: the recipe's data.valid]")
    ] = None,
    connected: Annotated[
        str, typer.Option(help="Also join single words to strings, one pass a seed: 0,1,2,3,4", metavar="SEEDS")
    ] = "",
    bits: Annotated[
        list[int] | None, typer.Option(help="Bits a weight of a file: 32, 8 or 4; may be repeated.  [default: 32 and 8]")
    ] = None,
    target: Annotated[str, typer.Option(help="Processor: generic, x86, pi4, pi5, or auto.")] = "generic",
    flush_seconds: Annotated[
        float | None,
        typer.Option(min=0, help="Silence after the last sample.  [default: measured on the training clips]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as one JSON object.")] = False,
) -> None:
    """Compare the errors of torch and of exported files.

    It counts the words that the same weights get wrong in torch, whole and streamed, and in exported files.

    For phone models the phones of the best path count too, and words are those of the model's lexicon.

    What differs from one way to the next is what streaming, export or quantization did. `edgeseq export` asks the same before
    it writes. Ends with exit code 1 when the rates differ by more than the recipe's export.most_difference.

    \b
    Example:
      edgeseq prove digits-en --manifest fsdd/test.jsonl --connected 0,1
    """
    from edgeseq.errors import MissingExtraError, UsageError

    try:
        with busy("loading torch"):
            from edgeseq.export import exporter
            from edgeseq.export.finishing import measured
            from edgeseq.export.proof import refuse_difference
            from edgeseq.training.weights import find_weights, load_trained
    except ModuleNotFoundError as fault:
        raise MissingExtraError(f"Proving needs {fault.name}, which is not installed: pip install 'edgeseq[train]'") from fault
    trained = load_trained(find_weights(source, "FROM"))
    manifests = manifest or list(trained.recipe.data.valid)
    if not manifests:
        raise UsageError(f"The recipe of {source} names no data.valid; say what to hear by --manifest.")
    clips = _clips(manifests, connected)
    flush = exporter.choose_flush(trained, flush_seconds)
    forms = [exporter.find_form(target, one, trained) for one in dict.fromkeys(bits or exporter.RELEASED_BITS)]
    built = [exporter.build(trained, form, flush, {}, target) for form in forms]
    with progress("Hearing in all ways", unit="clips") as show:
        proof = exporter.prove_built(trained, built, flush, clips, manifests, lambda way, done, total: show(done, total))
    say(json.dumps(measured(proof)) if as_json else proof.to_text())
    refuse_difference(proof, trained.recipe.export.most_difference, trained.recipe.name)


def _clips(manifests: list[str], connected: str) -> list[Clip]:
    from edgeseq.cli.eval import seeds_of
    from edgeseq.data.manifest import find_data, read_manifest
    from edgeseq.evaluation.reference_clips import connected_clips, single_clips

    recordings = [recording for name in manifests for recording in read_manifest(find_data(name), allow_empty_text=True)]
    words = [recording for recording in recordings if recording.text.strip()]
    return single_clips(recordings) + connected_clips(words, seeds_of(connected))
