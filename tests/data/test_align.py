"""From texts to segments by a model that knows the words, and from segments to a network that begins with them."""

import json
from pathlib import Path

import numpy as np
import soundfile
from typer.testing import CliRunner

from edgeseq.cli import app
from edgeseq.data.align import segments_of, share_missed, spellings_of
from edgeseq.data.manifest import Segment, read_manifest
from edgeseq.tokens.table import TokenTable

ROOT = Path(__file__).parents[2]
CLIP, TEXT = ROOT / "demo" / "number.flac", "zero four one three nine five two eight seven six"


def manifest_of(folder, *lines):
    path = folder / "texts.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def line(path=CLIP, text=TEXT):
    return {"audio_filepath": str(path), "duration": soundfile.info(path).duration, "text": text}


def run(manifest, out, *more):
    return CliRunner().invoke(app, ["data", "align", str(manifest), "--model", "digits-en", "--out", str(out), *more])


def test_the_letters_of_a_recording_lie_in_order_within_it(tmp_path):
    result = run(manifest_of(tmp_path, line()), tmp_path / "aligned.jsonl")
    assert result.exit_code == 0, result.output
    (recording,) = read_manifest(tmp_path / "aligned.jsonl")
    assert "".join(segment.label for segment in recording.segments).split("▁") == ["", *TEXT.split()]
    starts = [segment.start for segment in recording.segments]
    assert starts == sorted(starts) and recording.segments[-1].end <= recording.duration


def test_what_does_not_fit_is_left_out_and_counted(tmp_path):
    short = tmp_path / "short.wav"
    soundfile.write(short, np.zeros(1600, dtype=np.float32), 8000)
    manifest = manifest_of(tmp_path, line(), line(short), line(text="nine nine"), line(text="zwölf"))
    result = run(manifest, tmp_path / "aligned.jsonl", "--max-errors", "20")
    assert result.exit_code == 0, result.output
    assert len(read_manifest(tmp_path / "aligned.jsonl")) < 4
    assert "a text too long for its sound: 1" in result.output
    assert "words that the lexicon lacks and nobody guesses: 1" in result.output


def test_nothing_aligned_writes_nothing(tmp_path):
    result = run(manifest_of(tmp_path, line(text="zwölf")), tmp_path / "aligned.jsonl")
    assert result.exit_code == 1 and not (tmp_path / "aligned.jsonl").exists()


def test_the_manifest_itself_is_not_overwritten(tmp_path):
    manifest = manifest_of(tmp_path, line())
    result = run(manifest, manifest)
    assert result.exit_code == 2 and "overwrite" in result.output


def test_every_pronunciation_is_a_way():
    tokens = TokenTable.of_phones([("the", ("DH", "AH")), ("the", ("DH", "IY")), ("tea", ("T", "IY"))], word_start=False)
    ids = tokens.ids
    assert spellings_of("the tea", tokens) == [[[ids["DH"], ids["AH"]], [ids["DH"], ids["IY"]]], [[ids["T"], ids["IY"]]]]
    assert spellings_of("the sea", tokens) is None


def test_runs_of_rows_become_segments():
    tokens = TokenTable.of_characters(["ab"])
    path = np.array([0, 2, 2, 0, 3])
    assert segments_of(path, tokens, 0.04) == (Segment(0.04, 0.12, "a"), Segment(0.16, 0.2, "b"))


def test_a_token_is_missed_where_no_row_of_its_own_says_it():
    rows = np.log(np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.8, 0.1, 0.1]], dtype=np.float32))
    assert share_missed(np.array([0, 1, 2]), rows, 0) == 0.5
    assert share_missed(np.array([0, 0, 0]), rows, 0) == 0.0


def test_a_network_begins_by_segments_and_goes_on_by_texts(tone_run, tmp_path):
    """Cross entropy on segments, then CTC from those weights: from its first step on it knows the tones."""
    from tiny_tones import tone_recipe

    from edgeseq.export.exporter import export
    from edgeseq.training.trainer import train
    from edgeseq.training.weights import load_trained

    export(load_trained(tone_run), tmp_path / "model", scores={})
    manifest = tone_run.parent / "data" / "train.jsonl"
    aligned = tmp_path / "aligned.jsonl"
    result = CliRunner().invoke(
        app, ["data", "align", str(manifest), "--model", str(tmp_path / "model" / "model.onnx"), "--out", str(aligned)]
    )
    assert result.exit_code == 0, result.output
    task = {"kind": "frames", "activation": "softmax", "background": "<blk>", "labels": ["▁", "a", "b"]}
    first = tone_recipe(aligned, easy_steps=300, steps=300).model_dump(mode="json") | {"task": task}
    train(parse(first), tmp_path / "first", resume=False, report=lambda _: None, workers=0)
    losses = []
    second = tone_recipe(manifest, steps=1, lr=1e-9).model_dump(mode="json") | {
        "finetune": {"weights": str(tmp_path / "first")}
    }
    train(parse(second), tmp_path / "second", resume=False, report=losses.append, workers=0)
    fresh = tone_recipe(manifest, steps=1, lr=1e-9)
    train(fresh, tmp_path / "fresh", resume=False, report=losses.append, workers=0)
    begun, new = (report.loss for report in losses if hasattr(report, "loss"))
    assert begun < new / 2


def parse(values):
    from edgeseq.training.recipe_file import parse_recipe

    return parse_recipe(values, "test")
