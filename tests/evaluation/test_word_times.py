import doctest

import numpy as np
import pytest
import soundfile

import edgeseq
import edgeseq.evaluation.word_times as word_times
from edgeseq.data.manifest import Recording
from edgeseq.evaluation.calibration import fit_map
from edgeseq.evaluation.evaluate import evaluate, rated_words, same_words, times_report
from edgeseq.evaluation.reference_clips import single_clips, timed_clips
from edgeseq.evaluation.results import measure
from edgeseq.evaluation.word_times import Errors, trim

pytest.importorskip("onnx")
import tone_language as tones


@pytest.fixture
def recordings(tmp_path):
    """Words with silence around them."""
    made = []
    for n, word in enumerate(("one", "two", "three", "four") * 3):
        path = tmp_path / f"{n}.wav"
        samples = np.concatenate([tones.silence(0.1), tones.say(word), tones.silence(0.2)])
        soundfile.write(path, samples, tones.SAMPLE_RATE, subtype="FLOAT")
        made.append(Recording(path, len(samples) / tones.SAMPLE_RATE, word, speaker="anna"))
    return made


def test_doctests():
    assert doctest.testmod(word_times).failed == 0


def test_words_are_trimmed_to_their_sound():
    rate = 8000
    noise = 1e-3 * np.random.default_rng(0).standard_normal(rate).astype(np.float32)
    samples = noise.copy()
    samples[2000:5003] += np.sin(np.arange(3003) / 3).astype(np.float32)
    cut = trim(samples, rate)
    start = int(np.flatnonzero(samples == cut[0])[0])
    assert abs(start - 2000) <= 20 and abs(start + len(cut) - 5003) <= 20
    for whole in (samples[2000:5003], np.ones(30, np.float32), np.zeros(4000, np.float32), np.zeros(0, np.float32)):
        assert len(trim(whole, rate)) == len(whole)


def test_spans_are_where_the_words_are(recordings):
    for clip in timed_clips(recordings, [0, 1]):
        samples, spans = clip.read_timed(tones.SAMPLE_RATE)
        loud = np.abs(samples) > 0.02
        silent = ~loud
        for start, end in spans:
            first, last = round(start * tones.SAMPLE_RATE), round(end * tones.SAMPLE_RATE)
            assert loud[first : first + 40].any() and loud[last - 40 : last].any()
            silent[first:last] = True
        assert silent.all(), "all that is loud lies in a word"
        assert len(spans) == len(clip.text.split()) and np.array_equal(samples, clip.read(tones.SAMPLE_RATE))


def test_errors_by_hand():
    errors = Errors.of([0.1] * 98 + [0.19, 0.0])
    assert (errors.bias, errors.within, errors.within_unbiased) == (0.1, 0.01, 0.98)
    assert Errors.of([]).n_words == 0 and Errors.of([0.05]).bias == 0.05


def test_a_measured_delay_once_stored_is_gone(tone_recognizer, recordings, tmp_path):
    before = measure(evaluate(tone_recognizer, timed_clips(recordings, [0])).heard, tone_recognizer, times=True)
    assert before.times.starts.n_words == 12 and before.times.starts.bias > 0.02
    model = edgeseq.load(tones.save(tmp_path / "m.onnx", **before.measured))
    after = measure(evaluate(model, timed_clips(recordings, [0])).heard, model, times=True)
    assert abs(after.times.starts.bias) < 0.002 and abs(after.times.ends.bias) < 0.002
    assert after.times.starts.within == 1.0
    assert after.measured == {key: pytest.approx(value, abs=0.002) for key, value in before.measured.items()}
    assert "word starts   100.0 % within 80 ms (12 words" in after.to_text()


def test_only_words_that_were_understood_count(tone_recognizer, recordings):
    wrong = [Recording(r.path, r.duration, "nine" if r.text == "two" else r.text, speaker="anna") for r in recordings]
    report = times_report(evaluate(tone_recognizer, timed_clips(wrong, [0])).heard)
    assert report.starts.n_words == report.ends.n_words == 9
    assert same_words("", "a") == [] and same_words("a", "") == []


def test_confidences_are_compared_and_a_map_is_measured(tone_recognizer, recordings, tmp_path):
    wrong = [Recording(r.path, r.duration, "nine" if r.text == "two" else r.text) for r in recordings]
    heard = evaluate(tone_recognizer.uncalibrated(), single_clips(wrong)).heard
    confidences, right = rated_words(heard)
    assert (len(confidences), sum(right)) == (12, 9)
    results = measure(heard, tone_recognizer, calibration=True)
    assert results.measured["confidence_maps"]["greedy"] == fit_map(confidences, right).to_dict()
    assert results.calibration.error == results.calibration.uncalibrated_error > 0.2
    mapped = edgeseq.load(tones.save(tmp_path / "m.onnx", **results.measured))
    after = measure(evaluate(mapped.uncalibrated(), single_clips(wrong)).heard, mapped, calibration=True)
    assert after.calibration.error < 0.05 < after.calibration.uncalibrated_error
    told = evaluate(mapped, single_clips(wrong)).heard[0].words[0].confidence
    assert told == pytest.approx(10 / 14, abs=1e-4), "nine of twelve, counted with one more each way"
