"""Other speech: texts that are not the owner's, and speech for a lesson."""

import doctest

import pytest
from tone_engine import ToneEngine

import edgeseq.data.lesson as lesson_module
import edgeseq.data.other_speech as other_speech
from edgeseq.data.engines import Voice
from edgeseq.data.lesson import Lesson, add_recorded, check_texts, hold_out, speak
from edgeseq.data.manifest import read_manifest
from edgeseq.data.other_speech import others_for
from edgeseq.data.synth import read_texts, synthesize
from edgeseq.errors import EdgeseqError, ManifestError, UsageError


class ManyTones(ToneEngine):
    """Twelve voices."""

    def voices(self):
        return tuple(Voice(self.name, f"{accent}+{variant}", self.licence) for accent in "ab" for variant in "uvwxyz")


@pytest.fixture
def tones():
    return ManyTones()


@pytest.fixture
def spoken(tmp_path, tones):
    lesson = Lesson(("yes", "lights off"), tmp_path / "lesson", per_text=4)
    return lesson, speak(lesson, tones.voices(), known=(tones,), jobs=2)


def test_doctests():
    assert doctest.testmod(other_speech).failed == doctest.testmod(lesson_module).failed == 0


def test_texts_of_other_speech_hold_none_of_the_own_words_and_grow():
    texts, per_text = other_speech.others_for(["yes", "lights off"], 2000)
    assert len(texts) > 500 and len(set(texts)) == len(texts) and per_text == round(2000 / len(texts))
    assert not {"yes", "lights", "off"} & {word for text in texts for word in text.split()}
    assert "yet" in texts or "yeb" in texts  # nearly an own word
    few, once = other_speech.others_for(["yes", "lights off"], 10)
    assert few == texts[:10] and once == 1
    assert other_speech.near_misses("hmm") == []


def test_no_text_of_other_speech_comes_twice():
    """The words of README's example have near misses in common."""
    for own in (["yes", "no", "lights off"], ["on", "off", "stop", "top"]):
        texts, _ = others_for(own, 3000)
        assert len(set(texts)) == len(texts)


def test_the_list_that_comes_along_is_one_text_a_line():
    texts = other_speech.common_texts()
    assert len(set(texts)) == len(texts) > 500
    assert all(check_texts([text]) == (text,) for text in texts)


@pytest.mark.parametrize("text", ["", "!!!", "42", "да", "x y 1"])
def test_texts_that_cannot_be_spoken_are_refused(text):
    with pytest.raises(UsageError, match="cannot be spoken"):
        check_texts(["yes", text])


def test_other_languages_may_be_spoken_by_synthesizers_that_are_described():
    assert check_texts(["Да"], any_language=True) == ("да",)


def test_no_variant_is_both_trained_with_and_measured(tones):
    to_train, apart = hold_out(tones.voices())
    assert {voice.name for voice in apart} == {"a+u", "b+u"} and len(to_train) == 10
    few = tones.voices()[:3]
    assert hold_out(few) == (few, ())


def test_a_lesson_has_own_and_other_speech_and_voices_apart(spoken):
    lesson, made = spoken
    assert made.n_voices == 10 and made.n_held_out == 2 and not made.stopped
    assert len(read_manifest(lesson.own)) == 8 and len(read_manifest(lesson.others)) == 20
    held_out = read_manifest(lesson.held_out, allow_empty_text=True)
    own = [one for one in held_out if one.text]
    others = [one for one in held_out if not one.text]
    assert {one.text for one in own} == {"yes", "lights off"} and len(others) == 16
    assert all(one.extra["said"] and " " not in one.extra["said"] for one in others)
    heard = {one.speaker for one in read_manifest(lesson.own) + read_manifest(lesson.others)}
    assert heard.isdisjoint(one.speaker for one in held_out)


def test_a_lesson_continues_where_it_was_stopped(spoken, tones):
    lesson, _ = spoken
    again = speak(lesson, tones.voices(), known=(tones,), jobs=2)
    assert [report.made for report in again.reports] == [0, 0, 0, 0]
    assert speak(Lesson(("no",), lesson.folder / "b", 4), tones.voices(), known=(tones,), stop=lambda: True).stopped


def test_a_text_that_nobody_can_say_is_named(tmp_path):
    class Mute(ManyTones):
        def speak(self, requests, files, stop):
            known = [(request, file) for request, file in zip(requests, files, strict=True) if request.text != "psst"]
            if known:
                super().speak(*map(list, zip(*known, strict=True)), stop)

    mute = Mute()
    with pytest.raises(EdgeseqError, match="No voice could say 'psst'"):
        speak(Lesson(("yes", "psst"), tmp_path, 4), mute.voices(), known=(mute,), jobs=2)


def test_recorded_other_speech_is_cut_and_kept_apart(spoken, tmp_path, tones):
    lesson, _ = spoken
    synthesize(["a long story " * 6, "yes it is"], 8, tmp_path / "radio", tones.voices(), known=(tones,), jobs=2)
    count, faults = add_recorded(lesson, [tmp_path / "radio" / "manifest.jsonl"])
    assert count == 8 and not faults
    stretches = read_manifest(lesson.recorded, allow_empty_text=True)
    apart = read_manifest(lesson.held_out_recorded, allow_empty_text=True)
    assert stretches and apart and all(one.duration <= 3.01 and not one.text for one in stretches + apart)
    assert len(stretches) + len(apart) >= 16
    with pytest.raises(UsageError, match="every recording holds one of your words"):
        add_recorded(Lesson(("story", "it"), lesson.folder), [tmp_path / "radio" / "manifest.jsonl"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ManifestError, match="no sound files"):
        add_recorded(lesson, [tmp_path / "empty"])


def test_read_texts_reads_the_list():
    path = other_speech.files("edgeseq.data").joinpath("other_speech.txt")
    assert tuple(read_texts(path)) == other_speech.common_texts()
