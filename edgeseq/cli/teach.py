"""`edgeseq teach`: words to a model that understands them, in one command."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeseq.cli.printing import say
from edgeseq.cli.progress import busy, progress
from edgeseq.cli.report import REPORT, write_report
from edgeseq.cli.stopping import stop_on_signals
from edgeseq.cli.train_progress import TrainProgress
from edgeseq.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from edgeseq.data.lesson import Lesson
    from edgeseq.evaluation.clip_results import ClipResult

EXIT_INTERRUPTED = 130
RECIPE, SCORES = "recipe.yaml", "eval.json"


@dataclass(frozen=True)
class Places:
    """Where a taught model, its speech and its training lie."""

    name: str
    model: Path

    @property
    def data(self) -> Path:
        """Speech."""
        return Path("data") / self.name

    @property
    def run(self) -> Path:
        """Checkpoints and the report."""
        return Path("runs") / self.name


def teach(
    words: Annotated[
        list[str], typer.Argument(metavar="WORD...", help="A word or phrase to recognize; quote a phrase: 'lights off'.")
    ],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the model.  [default: the words]")] = "",
    out: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Folder for the model.  [default: models/NAME]")] = None,
    others: Annotated[
        list[Path] | None,
        typer.Option(metavar="FOLDER|MANIFEST", help="Recordings of other speech, without your words; may be repeated."),
    ] = None,
    per_text: Annotated[int, typer.Option(min=4, metavar="N", help="Recordings to synthesize of each word or phrase.")] = 250,
    steps: Annotated[
        int | None, typer.Option(min=8, metavar="N", help="Steps of training.  [default: depends on the words]")
    ] = None,
    voices: Annotated[str, typer.Option(metavar="PATTERN", help="Use only such voices: '*/en-us*'.")] = "*",
    engine_file: Annotated[
        list[Path] | None, typer.Option(metavar="FILE.yaml", help="Description of another synthesizer; may be repeated.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Another seed draws other voices and weights.")] = 0,
    no_listen: Annotated[bool, typer.Option("--no-listen", help="Do not listen when the model is ready.")] = False,
) -> None:
    """Train a model that understands your words, from text alone.

    It synthesizes the words, and other speech to ignore, with every voice of espeak-ng, flite and festival that is
    installed; trains a small network; exports it; and measures it with voices that the training did not hear. Then it
    listens to you. A run that was stopped continues when you start it again.

    The recipe is in the model's folder. To improve the model, add recordings of people to the recipe and train again.

    \b
    Examples:
      edgeseq teach yes no "lights off"
      edgeseq teach computer --others recordings/ --no-listen
    """
    from edgeseq.data.lesson import Lesson, check_texts
    from edgeseq.data.synth import slug

    texts = check_texts(words, any_language=bool(engine_file))
    say(f"Teaching: {', '.join(texts)}", err=True)
    try:
        with busy("loading torch"):
            import edgeseq.export.exporter
            import edgeseq.training.teaching  # noqa: F401
    except ModuleNotFoundError as fault:
        raise MissingExtraError(f"Teaching needs {fault.name}, which is not installed: pip install 'edgeseq[train]'") from fault
    named = name or slug(" ".join(texts))
    if Path(named).name != named:
        raise UsageError(f"--name {named!r}: wanted a name without a folder; --out says where the model goes.")
    places = Places(named, out or Path("models") / named)
    _refuse_finished(places)
    _mention_general_model(texts)
    lesson = Lesson(texts, places.data, per_text)
    _speak(lesson, voices, engine_file or [], seed)
    _add_recorded(lesson, others or [])
    _train(lesson, places, steps, seed)
    heard = _export(places)
    _report(heard, lesson, places)
    if not no_listen and sys.stdin.isatty():
        _listen(places)


def _refuse_finished(places: Places) -> None:
    """Raise UsageError where the model has been taught already."""
    from edgeseq.training.checkpoint import finished_checkpoint

    if finished_checkpoint(places.run / "checkpoints") and (places.model / RECIPE).is_file():
        raise UsageError(
            f"{places.model} is there already. Listen with it: edgeseq listen --model {quote(str(places.model))}\n"
            f"  To train it further: edgeseq train {quote(str(places.model / RECIPE))} --out runs/{places.name}-2\n"
            f"  To start over, choose another --name, or remove {places.run} and {places.data}."
        )


def _mention_general_model(texts: Sequence[str]) -> None:
    """Say where a model that is installed knows the words without any training."""
    from edgeseq.errors import EdgeseqError
    from edgeseq.model.metadata import CtcMetadata
    from edgeseq.models import list_models, read_metadata

    for model in list_models():
        path = next(iter(model.files.values()))
        try:
            metadata = read_metadata(path).with_companions(path)
            if not isinstance(metadata, CtcMetadata) or metadata.token_details.get("kind") != "phones":
                continue
            if any(map(metadata.token_table.unknown, texts)):
                continue
        except EdgeseqError:
            continue
        say(
            f"{model.name}, which is installed, knows these words: a phrase file makes it listen for them, untrained.\n"
            f"  edgeseq listen --model {model.name} --phrases FILE.yaml (docs/phrases.md)\n"
            "  The model that is made now is a tenth of its size.",
            err=True,
        )
        return


def _speak(lesson: Lesson, voices: str, engine_files: Sequence[Path], seed: int) -> None:
    from edgeseq.data.engine_file import engines_with
    from edgeseq.data.lesson import speak
    from edgeseq.data.synth import installed_voices

    known = engines_with(engine_files)
    chosen = installed_voices(voices=voices, known=known)
    with progress("Synthesizing speech") as show, stop_on_signals() as stop:
        spoken = speak(lesson, chosen, known=known, seed=seed, on_progress=show, stop=lambda: stop.requested)
    if spoken.stopped:
        _end_stopped()
    engines = ", ".join(dict.fromkeys(voice.engine for voice in chosen))
    apart = f"{spoken.n_held_out} voices are held out to measure with" if spoken.n_held_out else "too few to hold some out"
    say(f"Speech: {lesson.folder}, by {spoken.n_voices} voices of {engines}; {apart}.", err=True)


def _add_recorded(lesson: Lesson, sources: Sequence[Path]) -> None:
    from edgeseq.data.lesson import add_recorded

    if sources:
        count, faults = add_recorded(lesson, sources)
        for fault in faults:
            say(f"left out: {fault}", err=True)
        say(f"Other speech: {count:,} recordings of {', '.join(map(str, sources))}, a tenth of them held out.", err=True)


def _train(lesson: Lesson, places: Places, steps: int | None, seed: int) -> None:
    from edgeseq.training import teaching, trainer
    from edgeseq.training.recipe_file import parse_recipe

    values = teaching.recipe_values(lesson, places.name, steps=steps, seed=seed + 1)
    path = places.model / RECIPE
    teaching.write_recipe(path, values, _comment(places))
    recipe = parse_recipe(values, str(path))
    seconds = teaching.seconds_to_train(recipe)
    say(f"Training: {recipe.train.steps:,} steps take about {_duration(seconds)} on this machine.", err=True)
    devices = trainer.Devices("cpu", 1)
    with TrainProgress(recipe) as shown, stop_on_signals() as stop:
        try:
            trainer.train(recipe, places.run, resume=True, report=shown.show, devices=devices, stop=lambda: stop.requested)
        except KeyboardInterrupt:
            _end_stopped()


def _end_stopped() -> None:
    say("\nStopped. To continue, run the same command again.", err=True)
    raise typer.Exit(EXIT_INTERRUPTED) from None


def _comment(places: Places) -> list[str]:
    return [
        f"The recipe of {places.model}, written by `edgeseq teach`. Run it where {places.data} is.",
        "",
        f"Train longer:      edgeseq train {places.model / RECIPE} train.steps=6000 --out runs/{places.name}-2",
        f"Then:              edgeseq export runs/{places.name}-2 --out {places.model}",
        "Add people:        record them (edgeseq data record, or import a folder: docs/data.md), and name their manifest",
        "                   under data.train, before the synthesized ones: {manifest: mine/manifest.jsonl, easy: true}.",
        "                   Recordings of other speech: {manifest: tv/manifest.jsonl, others: true}.",
        "The licence of the weights is yours to state: NOASSERTION says that nobody has.",
    ]


def _export(places: Places) -> Sequence[ClipResult]:
    """Export to the run, prove, and copy the model to its folder; returns what its 8-bit file heard in the held-out speech."""
    from edgeseq.export.finishing import EXPORTS, finish

    with progress("Exporting and measuring", unit="recordings") as show:
        exported = finish(places.run, lambda way, done, total: show(done, total))
    for file in (places.run / EXPORTS).iterdir():
        shutil.copy2(file, places.model / file.name)
    assert exported.proof is not None, "the recipe names what to measure on"
    return exported.proof.main.heard["int8"]


def _report(heard: Sequence[ClipResult], lesson: Lesson, places: Places) -> None:
    from edgeseq.data.manifest import read_manifest
    from edgeseq.evaluation.commands import CommandScore
    from edgeseq.whole_file import write_whole

    n_synthesized = len(read_manifest(lesson.held_out, allow_empty_text=True))
    synthesized, recorded = CommandScore.of(heard[:n_synthesized]), CommandScore.of(heard[n_synthesized:])
    scores: dict[str, Any] = {"synthesized_held_out_voices": synthesized.to_dict()}
    if recorded.others:
        scores["recorded"] = recorded.to_dict()
    write_whole(places.model / SCORES, (json.dumps(scores, indent=1) + "\n").encode())
    page = write_report(places.run, places.run / REPORT)
    say(f"By synthesized voices that it never heard: {synthesized.to_text()}.")
    if recorded.others:
        accepted = f"{recorded.accepted} of {recorded.others}"
        say(f"It heard a command in {accepted} stretches of recorded other speech (up to 3 s).")
    say("People differ from synthesizers: speak to it before you rely on it.")
    say(f"Model:  {places.model} ({(places.model / 'model.int8.onnx').stat().st_size / 1e6:.2f} MB)")
    say(f"Recipe: {places.model / RECIPE}, to train further")
    say(f"Report: {page}")
    say(f"Listen: edgeseq listen --model {quote(str(places.model))}")


def _duration(seconds: float) -> str:
    """Say a time that is only estimated.

    >>> _duration(20), _duration(250)
    ('half a minute', '4 minutes')
    """
    if seconds < 45:
        return "half a minute"
    minutes = round(seconds / 60)
    return f"{minutes} minute{'s' if minutes > 1 else ''}"


def _listen(places: Places) -> None:
    from edgeseq.cli.listen import listen_live

    say("Listening. Say one of your words; Ctrl-C ends.", err=True)
    listen_live(str(places.model))
