"""The example of docs/tasks.md: a task of one's own, from the manifest to detections."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import soundfile

import edgeseq
from edgeseq.data.manifest import Recording, Segment, write_manifest
from edgeseq.errors import ManifestError
from edgeseq.export.exporter import export
from edgeseq.training import tasks
from edgeseq.training.metrics import ValidReport
from edgeseq.training.recipe_file import load_recipe
from edgeseq.training.trainer import load_batches, train
from edgeseq.training.weights import load_trained

EXAMPLES = Path(__file__).parents[3] / "docs" / "examples"
RATE, TONE_SECONDS = 8000, 0.4
PITCHES = (400, 800, 1600)


def play(pitches):
    """Tones one after the other with pauses between; gives sound and segments."""
    pieces, segments, begin = [np.zeros(800)], [], 0.1
    for pitch in pitches:
        pieces += [0.3 * np.sin(2 * np.pi * pitch * np.arange(int(TONE_SECONDS * RATE)) / RATE), np.zeros(640)]
        segments.append(Segment(begin, begin + TONE_SECONDS, str(pitch)))
        begin += TONE_SECONDS + 0.08
    return np.concatenate(pieces).astype(np.float32), tuple(segments)


@pytest.fixture
def example(tmp_path, monkeypatch):
    """The recipe of the example, its module among the tasks, and tones to learn from."""
    monkeypatch.setattr(tasks, "__path__", [*tasks.__path__, str(EXAMPLES)])
    monkeypatch.chdir(tmp_path)
    rng, folder = np.random.default_rng(0), tmp_path / "data" / "tones"
    folder.mkdir(parents=True)
    for part, n in (("train", 60), ("dev", 12)):
        recordings = []
        for number in range(n):
            sound, segments = play(rng.choice(PITCHES, 4).tolist())
            path = folder / f"{part}{number}.flac"
            soundfile.write(path, sound, RATE)
            recordings.append(Recording(path, len(sound) / RATE, "", segments=segments))
        write_manifest(folder / f"{part}.jsonl", recordings)
    return load_recipe(EXAMPLES / "last_tone.yaml", [])


def test_it_is_short():
    assert sum(len((EXAMPLES / f"last_tone.{kind}").read_text().splitlines()) for kind in ("py", "yaml")) <= 150


def test_it_learns_is_exported_and_answers_live(example, tmp_path):
    reports = []
    train(example, tmp_path / "run", resume=False, report=reports.append, workers=0)
    (report,) = [one for one in reports if isinstance(one, ValidReport)]
    assert report.value < 5, "the first row of a tone is hard"
    exported = export(load_trained(tmp_path / "run"), tmp_path / "model", scores={})
    assert exported.unproven == ""
    spotter = edgeseq.load(tmp_path / "model")
    sound, segments = play([800, 400, 1600, 1600, 800, 800])
    (found,) = spotter.detect(sound)
    assert found.label == "higher" and abs(found.start - segments[2].start) < 0.1 and abs(found.end - segments[2].end) < 0.1


def test_tones_without_pitches_are_named(example, tmp_path):
    path = tmp_path / "data" / "tones" / "train.jsonl"
    path.write_text(path.read_text().replace('"label": "400"', '"label": "low"'))
    with pytest.raises(ManifestError, match="has no pitches"):
        load_batches(example)
