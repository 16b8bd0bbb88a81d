"""Error rates, connected words and paired differences, on a model whose words are known."""

import doctest

import numpy as np
import pytest
import soundfile
import tone_language

import edgeseq.evaluation.evaluate as evaluating
from edgeseq.data.manifest import Recording
from edgeseq.errors import AudioError, ManifestError
from edgeseq.evaluation.evaluate import check_texts, compare, evaluate
from edgeseq.evaluation.reference_clips import connected_clips, single_clips

WORDS = ("one", "two", "three", "four", "nine", "six")


@pytest.fixture
def say(tmp_path):
    """Record what is said; the reference may be another text."""

    def record(said, reference=None, speaker="anna", rate=16_000):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.wav"
        samples = tone_language.say(said, rate) if said else np.zeros(rate // 2)
        soundfile.write(path, samples, rate)
        return Recording(path, len(samples) / rate, said if reference is None else reference, speaker=speaker)

    return record


def test_doctests():
    assert doctest.testmod(evaluating).failed == 0


def test_all_right_is_no_errors(tone_recognizer, say):
    report = evaluate(tone_recognizer, single_clips([say(word) for word in WORDS]))
    assert (report.errors, report.words, report.right, report.clips) == (0, 6, 6, 6)
    assert (report.wer, report.cer, report.ci95, report.failed) == (0.0, 0.0, (0.0, 0.0), ())
    assert report.rtf > 0 and report.p99_ms > 0 and report.rss_mb > 10


def test_errors_are_counted_as_defined(tone_recognizer, say):
    report = evaluate(
        tone_recognizer,
        single_clips(
            [
                say("one two", "one two three"),  # one deleted
                say("one two", "one"),  # one inserted
                say("nine", "FOUR"),  # one substituted
                say("two", "Two "),  # right, once it is normalized
                say("", "six"),  # one deleted
            ]
        ),
    )
    assert (report.errors, report.words, report.right, report.clips) == (4, 7, 1, 5)
    assert report.wer == pytest.approx(4 / 7)
    assert report.ci95[0] < report.wer < report.ci95[1]
    assert sorted(report.confusions()) == [("", "two", 1), ("four", "nine", 1), ("six", "", 1), ("three", "", 1)]
    said = report.to_dict()
    assert set(said) >= {"wer", "cer", "errors", "words", "right", "clips", "ci95", "rtf", "p99_ms", "rss_mb"}
    assert said["wer"] == pytest.approx(4 / 7, abs=1e-5)


def test_recordings_without_words_are_counted_apart_and_among_the_inserted(tone_recognizer, say):
    recordings = [say("one two"), say("three", "four"), say("two six", ""), say("", ""), say("", "  "), say("")]
    report = evaluate(tone_recognizer, single_clips(recordings))
    assert (report.errors, report.words, report.wer) == (3, 3, 1.0), "the two inserted words count, as everywhere"
    wordless = report.without_words
    assert (wordless.clips, wordless.accepted, wordless.inserted) == (4, 1, 2)
    assert report.to_dict()["without_words"] == {
        "clips": 4,
        "accepted": 1,
        "share": 0.25,
        "ci95": [0.04559, 0.69936],  # Wilson's of 1 in 4
        "inserted": 2,
    }
    assert evaluate(tone_recognizer, single_clips(recordings[:2])).without_words is None


def test_no_words_at_all_are_no_rate(tone_recognizer, say):
    report = evaluate(tone_recognizer, single_clips([say("", ""), say("", "")]))
    assert (report.wer, report.cer, report.ci95, report.errors, report.right) == (None, None, None, 0, 2)
    assert report.without_words.share == 0 and report.without_words.ci95[0] == 0.0 and report.without_words.ci95[1] > 0.5
    said = report.to_dict()
    assert (said["wer"], said["cer"], said["ci95"]) == (None, None, None)
    difference = compare(report, report)
    assert (difference.words, difference.net_extra_errors) == (0, 0)


def test_two_utterances_in_one_clip_are_one_text(tone_recognizer, tmp_path):
    pause = tone_language.silence(1.5)
    samples = np.concatenate([tone_language.say("one"), pause, tone_language.say("two")])
    soundfile.write(tmp_path / "a.wav", samples, tone_language.SAMPLE_RATE)
    report = evaluate(
        tone_recognizer, single_clips([Recording(tmp_path / "a.wav", len(samples) / tone_language.SAMPLE_RATE, "one two")])
    )
    assert report.right == 1


def test_connected_words_are_understood(tone_recognizer, say):
    recordings = [say(word, speaker=speaker, rate=8000) for word in WORDS for speaker in ("anna", "ben")]
    report = evaluate(tone_recognizer, connected_clips(recordings, seeds=[0, 1]))
    assert report.words == 24 and report.errors == 0
    assert report.clips < 24


def test_a_clip_that_cannot_be_read_is_named_and_the_rest_goes_on(tone_recognizer, say, tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    bad = Recording(tmp_path / "bad.wav", 1.0, "one")
    told = []
    report = evaluate(tone_recognizer, single_clips([say("one"), bad, say("two")]), on_progress=lambda *p: told.append(p))
    assert (report.clips, report.errors, len(report.failed)) == (2, 0, 1)
    assert "bad.wav" in report.failed[0] and report.to_dict()["failed"] == 1
    assert told == [(1, 3), (2, 3), (3, 3)]
    with pytest.raises(AudioError, match=r"None of 1 clips could be heard(.|\n)*bad\.wav"):
        evaluate(tone_recognizer, single_clips([bad]))


def test_texts_outside_the_tokens_are_named_all_at_once(tone_recognizer, tmp_path):
    recordings = [Recording(tmp_path / f"{n}.wav", 1.0, text) for n, text in enumerate(("one", "zwölf", "it's", "4"))]
    with pytest.raises(ManifestError, match=r"3 texts cannot be spelled(.|\n)*'ö'(.|\n)*\"'\"(.|\n)*'4'"):
        check_texts(recordings, tone_recognizer.metadata.token_table)
    check_texts(recordings[:1], tone_recognizer.metadata.token_table)


def test_a_difference_is_paired(tone_recognizer, say):
    clips = [say(word) for word in WORDS * 3]
    wrong = [Recording(c.path, c.duration, "five" if n % 6 == 0 else c.text) for n, c in enumerate(clips)]
    good, bad = (evaluate(tone_recognizer, single_clips(some)) for some in (clips, wrong))
    difference = compare(bad, good)
    assert (difference.errors, difference.other_errors, difference.net_extra_errors) == (3, 0, 3)
    assert difference.ci95[0] <= 3 <= difference.ci95[1] and difference.ci95[0] >= 0
    same = compare(good, good)
    assert (same.net_extra_errors, same.ci95) == (0, (0.0, 0.0))
    assert compare(good, bad).to_dict()["net_extra_errors"] == -3


def test_the_interval_covers_what_it_should():
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(60):
        errors = random.random(200) < 0.1
        low, high = evaluating.bootstrap(lambda rows, e=errors: e[rows].mean(axis=1), 200)
        covered += low <= 0.1 <= high
    assert covered >= 50  # 95 % of 60 is 57; 49 or fewer would be one time in 10^4
