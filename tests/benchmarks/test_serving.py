"""A server's live streams, measured: real processes, answers compared with those alone, lateness by the clock."""

import asyncio
import json

import numpy as np
import pytest

pytest.importorskip("torch", reason="models are drawn with torch")
pytest.importorskip("onnx")
pytest.importorskip("aiohttp")
import tone_language as tones

import edgeseq
from benchmarks import serving
from benchmarks.serving_process import PROTOCOLS
from benchmarks.whole_model import write_model
from edgeseq.bench.shape import parse_shape

TEXTS = ("hello abba", "yes no yes", "zoo")


def spoken(text, seconds=3.0):
    samples = np.resize(np.concatenate([tones.say(text), tones.silence(1.0)]), round(seconds * tones.SAMPLE_RATE))
    return np.rint(samples * 32767).astype(np.int16)


def test_a_load_of_both_protocols(tone_model):
    load = serving.measure(tone_model, [spoken(text) for text in TEXTS], 6, PROTOCOLS, 0.1, 0.5, 2)
    assert load.different == 0 and load.protocols == {"vosk": 3, "sherpa": 3}
    assert load.answers > 3 * 31, "each message of Vosk's clients is answered"
    assert 0 < load.late_ms_median <= load.late_ms_p99 <= load.late_ms_worst
    assert load.late_ms_worst >= load.sent_late_ms_p99 >= 0
    assert load.late_streams == 0 or load.late_ms_worst > 200
    assert 0 < load.server_cores < 2 and load.server_mb > 10 and 1 <= load.batch_mean <= 6
    assert sum(load.batches.values()) > 30
    assert f"streams              {load.streams}" in load.to_table()


def test_answers_alone_are_those_of_a_recording(tone_recognizer):
    sound = spoken("hello abba", 4.0)
    answers = serving.answers_alone(tone_recognizer, sound, 800)
    assert answers[0][1] == "h" and "hello abba" in [text for _, text in answers]
    assert [n for n, _ in answers] == sorted(n for n, _ in answers)


def stream(answers, due=(1.0, 2.0)):
    return {"due": list(due), "sent": [at + 0.01 for at in due], "answers": [(at, json.dumps(told)) for at, told in answers]}


def test_lateness_and_difference_of_vosks_answers():
    alone = [(0, "a"), (1, "a b"), (2, "a b c")]
    told = [(1.1, {"partial": "a"}), (2.3, {"partial": "a b"}), (2.4, {"text": "a b c"})]
    lates, sent, n_different = serving.timed(stream(told), alone, True)
    assert lates == pytest.approx([0.1, 0.3, 0.4]) and sent == pytest.approx([0.01, 0.01]) and n_different == 0
    wrong = [told[0], (2.3, {"partial": "a x"}), told[2]]
    assert serving.timed(stream(wrong), alone, True)[2] == 1
    assert serving.timed(stream(told[:2]), alone, True)[2] == 1, "an answer is missing"


def test_lateness_and_difference_of_sherpas_answers():
    alone = [(0, "a"), (1, "a b")]
    told = [(1.1, {"text": "a"}), (2.3, {"text": "a b"}), (2.4, {"text": ""})]
    lates, _, n_different = serving.timed(stream(told), alone, False)
    assert lates == pytest.approx([0.1, 0.3]) and n_different == 0
    assert serving.timed(stream([told[0], (2.3, {"text": "a x"})]), alone, False)[2] == 1
    assert serving.timed(stream(told[:1]), alone, False)[2] == 1
    closed = stream(told)
    closed["answers"].append((2.5, "closed: 1013 busy"))
    assert serving.timed(closed, alone, False)[2] == 1


def test_log_probs_in_a_hubs_batches_are_those_alone(tmp_path):
    recognizer = edgeseq.load(write_model(parse_shape("gru:2x16"), 8, tmp_path))
    sounds = serving.make_sounds(None, 1.0, recognizer.sample_rate)
    assert not np.array_equal(sounds[0], sounds[1])
    worst, batch = asyncio.run(serving.largest_difference(recognizer, sounds, 12))
    assert worst < 1e-4 and batch > 2


def test_a_drawn_model_says_something_and_is_always_the_same(tmp_path):
    first, second = (write_model(parse_shape("lstm:1x16"), 8, tmp_path / name) for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()
    recognizer = edgeseq.load(first)
    sound = serving.make_sounds(None, 5.0, recognizer.sample_rate)[0]
    assert len(serving.answers_alone(recognizer, sound, 800)) > 3
