"""Self-contained pages: everything a browser needs is in the file, and may fetch nothing."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from edgeseq.errors import AudioError
from edgeseq.events import Word
from edgeseq.export.exporter import write_together
from edgeseq.report import pictures
from edgeseq.report.run import Run
from edgeseq.report.svg import figure, to_svg
from edgeseq.report.trace import SATURATED, Floats, Trace, trace
from edgeseq.report.utterances import (
    AlignedWord,
    Utterance,
    align,
    by_speaker,
    by_split,
    confusions,
    find_splits,
    hear_splits,
    sound_of,
    worst,
)
from edgeseq.training.metric import METRICS, PER, is_validation
from edgeseq.training.weights import Trained

WIDTH = 9.0
"""of pictures, inches"""
MOST_CONFUSIONS = 15
MOST_SPEAKERS = 40
LONGEST_PICTURE_SECONDS = 20.0
"""Longer utterances show their beginning; all of them can be heard."""
WAYS = {
    "torch_whole": "torch, whole clips",
    "torch_streamed": "torch, streamed",
    "float32": "float file, streamed",
    "int8": "8-bit file, streamed",
    "int4": "4-bit file, streamed",
}


@dataclass(frozen=True)
class ReportUtterance:
    """One utterance as a page shows it."""

    title: str
    notes: str
    aligned: Sequence[AlignedWord]
    audio: str
    """data URI"""
    picture: Markup


@dataclass(frozen=True)
class CellStatistics:
    """How the cells of a layer spend their time, over several utterances."""

    layer: int
    cells: int
    saturated: float
    """percent of all values beyond 0.95"""
    stuck: float
    """percent of the cells that hardly ever move: their deviation is below 0.01"""
    gates: dict[str, float]
    """gate -> percent open, on the average"""


def write_report(
    run: Run, path: Path, *, clips: int, examples: int, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> None:
    """Write the report of a run; at most `clips` recordings of each manifest are heard, `examples` of them shown.

    Raises ExportError when the file cannot be written.
    """
    write_page(path, "run.html", **run_contents(run, clips, examples, on_progress))


def run_contents(
    run: Run, clips: int, examples: int, on_progress: Callable[[int, int], None] = lambda done, total: None
) -> dict[str, Any]:
    """Gather what the template of a report shows."""
    splits, missing = find_splits(run.recipe, clips)
    speaks = run.trained if run.trained and run.trained.gives_words else None
    utterances = hear_splits(speaks, splits, on_progress) if speaks else []
    measured = [one for one in utterances if not one.is_training]
    has_valid = bool(measured) or not utterances
    measured = measured or utterances
    pairs = confusions(measured, MOST_CONFUSIONS * 10)
    shown = _show_all(speaks, worst(measured, examples)) if speaks else []
    return {
        "run": run,
        "steps": [line for line in run.lines if "loss" in line],
        "valids": [line for line in run.lines if is_validation(line)],
        "metrics": METRICS,
        "cells": cell_statistics([traced for traced, _ in shown]),
        "notices": [line for line in run.lines if "notice" in line],
        "minutes": sum(line["seconds"] + line["wait_seconds"] for line in run.lines if "loss" in line) / 60,
        "n_weights": sum(p.numel() for p in run.trained.model.parameters()) if run.trained else None,
        "curves": _training_picture(run),
        "phones_decide": any(line.get("metric") == PER.key for line in run.lines),
        "has_valid": has_valid,
        "heard_set": "the validation set" if has_valid else "what it was trained on",
        "splits": splits,
        "missing": missing,
        "split_rates": by_split(utterances),
        "speaker_rates": by_speaker(measured)[:MOST_SPEAKERS],
        "confusions": pairs[:MOST_CONFUSIONS],
        "confusion_picture": _confusion_picture(pairs),
        "utterances": [one for _, one in shown],
        "ways": WAYS,
    }


def show(name: str, title: str, traced: Trace, words: Sequence[Word], samples: Floats, said: str | None) -> ReportUtterance:
    """Prepare one utterance for a page; `name` is unique there."""
    heard = " ".join(word.word for word in words)
    with figure(WIDTH, pictures.trace_height(traced)) as made:
        pictures.draw_trace(made, traced, [(word.word, word.start, word.end) for word in words])
        picture = to_svg(made, name, describe(title, traced, words))
    aligned = align(said or heard, heard, words) if said or heard else []
    notes = f"{len(samples) / traced.sample_rate:.2f} s"
    if words:
        notes += f"; confidence {' '.join(f'{word.confidence:.2f}' for word in words)}"
    return ReportUtterance(title, notes, aligned, audio_uri(samples, traced.sample_rate), picture)


def describe(title: str, traced: Trace, words: Sequence[Word]) -> str:
    """Say in words what the picture of a trace shows."""
    told = ", ".join(f"{word.word} from {word.start:.2f} to {word.end:.2f} seconds" for word in words) or "no word"
    inside = ", the saliency of each word, how far gates are open and how many cells are saturated" if traced.layers else ""
    return f"{title}: spectrogram with the words reported ({told}), emissions{inside}, over {traced.seconds:.1f} seconds"


def audio_uri(samples: Floats, sample_rate: int) -> str:
    """Pack samples as MP3, which every browser plays, into a data URI."""
    file = io.BytesIO()
    soundfile.write(file, np.clip(samples, -1, 1), sample_rate, format="MP3")
    return f"data:audio/mpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def cell_statistics(traces: Sequence[Trace]) -> list[CellStatistics]:
    """Sum up how saturated and how open the layers are over several recordings."""
    statistics = []
    for number, layers in enumerate(zip(*(one.layers for one in traces), strict=True), start=1):
        outputs = np.concatenate([layer.outputs for layer in layers])
        gates = {gate: np.concatenate([layer.gates[gate] for layer in layers]) for gate in layers[0].gates}
        statistics.append(
            CellStatistics(
                layer=number,
                cells=outputs.shape[1],
                saturated=100 * float((np.abs(outputs) > SATURATED).mean()),
                stuck=100 * float((outputs.std(axis=0) < 0.01).mean()),
                gates={gate: 100 * float(opened.mean()) for gate, opened in gates.items()},
            )
        )
    return statistics


def _show_all(trained: Trained, utterances: Sequence[Utterance]) -> list[tuple[Trace, ReportUtterance]]:
    rate = trained.recipe.frontend.sample_rate
    shown = []
    for number, one in enumerate(utterances):
        samples = sound_of(one, rate)
        try:
            traced = trace(trained, samples[: round(LONGEST_PICTURE_SECONDS * rate)])
        except AudioError:  # too short to draw
            continue
        title = f"{one.recording.path.name}{f', {one.recording.speaker}' if one.recording.speaker else ''}"
        shown.append((traced, show(f"utterance-{number}", title, traced, one.heard.words, samples, one.heard.reference)))
    return shown


def _training_picture(run: Run) -> Markup | None:
    if not any("loss" in line for line in run.lines):
        return None
    with figure(WIDTH, 6.4) as made:
        pictures.draw_training(made, run.lines, run.recipe.train.grad_clip)
        return to_svg(made, "training", f"Loss, error rates, learning rate and gradient norms over {run.step:,} steps")


def _confusion_picture(pairs: Sequence[tuple[str, str, int]]) -> Markup | None:
    if not pairs:
        return None
    with figure(5.2, 4.6) as made:
        pictures.draw_confusions(made, pairs)
        return to_svg(made, "confusions", "How often words said were heard as others; the table beside lists the most frequent")


def write_page(path: Path, template: str, **contents: Any) -> None:
    """Fill a template of this folder and write it whole. Raises ExportError when it cannot be written."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(template).render(**contents)
    write_together(path.parent, {path.name: page.encode()})
