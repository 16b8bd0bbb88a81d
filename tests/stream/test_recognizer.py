import copy
import itertools
import tracemalloc

import numpy as np
import pytest
import soundfile

import edgeseq
from edgeseq.errors import AudioError, CutShortError, DeviceError, ModelError, UsageError
from edgeseq.events import Word
from edgeseq.model.network import Network
from edgeseq.stream.endpoint import endpoint_rules
from edgeseq.stream.hypothesis_events import timed
from edgeseq.stream.recognizer import Recognizer

pytest.importorskip("onnx")
import tone_language as tones

SIZES = (1, 79, 160, 777, 4096)


@pytest.fixture(scope="module")
def speech():
    """Two utterances, a doubled letter, silence at neither end."""
    return np.concatenate([tones.say("hello abba zoo"), tones.silence(1.3), tones.say("yes no")])


def pieces(samples, size):
    return [samples[start : start + size] for start in range(0, len(samples), size)]


def run(recognizer, samples, size):
    events, state = [], recognizer.init_state()
    for piece in pieces(samples, size):
        new, state = recognizer.step(piece, state)
        events += new
    new, state = recognizer.flush(state)
    return events + new, state


def same_state(one, other):
    return (
        np.array_equal(one.leftover, other.leftover)
        and all(np.array_equal(one.network[name], other.network[name]) for name in one.network)
        and (one.decoder, one.utterance, one.n_samples) == (other.decoder, other.utterance, other.n_samples)
    )


def texts(events, kind="final"):
    return [event.text for event in events if event.type == kind]


def test_partials_grow_and_finals_end_utterances(tone_recognizer, speech):
    events, _ = run(tone_recognizer, speech, 640)
    assert texts(events) == ["hello abba zoo", "yes no"]
    partials = texts(events, "partial")
    assert partials[:3] == ["h", "he", "hel"]
    shown = [(event.text, event.stable) for event in events if event.type == "partial"]
    assert all(one != other for one, other in itertools.pairwise(shown)), "only changes are told"
    assert events.index(events[-1]) == len(events) - 1 and events[-1].type == "final"


def test_words_have_times_and_confidences(tone_recognizer, speech):
    events, _ = run(tone_recognizer, speech, 640)
    words = [word for event in events if event.type == "final" for word in event.words]
    assert [word.word for word in words] == ["hello", "abba", "zoo", "yes", "no"]
    assert all(0 < word.confidence <= 1 for word in words)
    times = [time for word in words for time in (word.start, word.end)]
    assert times == sorted(times) and times[-1] <= len(speech) / tones.SAMPLE_RATE
    # A tone comes after 160 ms of silence and lasts 80; the network answers 80 ms late, a step is 40 ms.
    assert words[0].start == pytest.approx(0.16 + 0.08, abs=0.06)
    assert words[0].end == pytest.approx(5 * 0.24 + 0.16 + 0.08, abs=0.06)
    final = events[-1]
    assert (final.start, final.end) == (words[3].start, words[4].end)
    assert final.confidence == pytest.approx((words[3].confidence + words[4].confidence) / 2)


@pytest.mark.parametrize("size", SIZES)
def test_chunks_equal_the_whole(tone_recognizer, speech, size):
    whole, whole_state = run(tone_recognizer, speech, len(speech))
    events, state = run(tone_recognizer, speech, size)
    assert events == whole
    assert same_state(state, whole_state)


def test_random_cuts_with_empty_pieces_equal_the_whole(tone_recognizer, speech):
    rng = np.random.default_rng(0)
    borders = np.sort(rng.integers(0, len(speech), 100)).repeat(2)
    assert list(tone_recognizer.follow(np.split(speech, borders))) == list(tone_recognizer.follow([speech]))


def test_a_state_is_a_value(tone_recognizer, speech):
    _, state = tone_recognizer.step(speech[:9000], tone_recognizer.init_state())
    kept = copy.deepcopy(state)
    first, _ = tone_recognizer.step(speech[9000:], state)
    tone_recognizer.flush(state)
    assert same_state(state, kept), "neither step nor flush changed it"
    again, _ = tone_recognizer.step(speech[9000:], state)
    assert again == first, "a fork goes the same way"


def test_samples_are_not_kept_by_reference(tone_recognizer, speech):
    samples = speech[:700].copy()
    _, state = tone_recognizer.step(samples, tone_recognizer.init_state())
    before = state.leftover.copy()
    samples[:] = 1
    np.testing.assert_array_equal(state.leftover, before)


def test_interleaved_streams_do_not_hear_each_other(tone_recognizer, speech):
    other = tones.say("quite another text", level=0.2)
    alone = [run(tone_recognizer, samples, 777)[0] for samples in (speech, other)]
    states, told = [tone_recognizer.init_state() for _ in range(2)], [[], []]
    for start in range(0, len(speech), 777):
        for i, samples in enumerate((speech, other)):
            events, states[i] = tone_recognizer.step(samples[start : start + 777], states[i])
            told[i] += events
    for i in range(2):
        told[i] += tone_recognizer.flush(states[i])[0]
    assert told == alone


def test_batched_streams_do_not_hear_each_other(tone_recognizer, speech):
    streams = [speech, tones.say("loud and long", level=0.9), tones.say("q", level=0.1), tones.silence(2)]
    alone = [run(tone_recognizer, samples, 500)[0] for samples in streams]
    states, told = [tone_recognizer.init_state() for _ in streams], [[] for _ in streams]
    for start in range(0, len(speech), 500):
        sizes = [500, 500, 500, 500]
        new, states = tone_recognizer.step_many(
            [samples[start : start + n] for samples, n in zip(streams, sizes, strict=True)], states
        )
        told = [old + events for old, events in zip(told, new, strict=True)]
    told = [old + tone_recognizer.flush(state)[0] for old, state in zip(told, states, strict=True)]
    assert [texts(events) for events in told] == [texts(events) for events in alone]
    assert [texts(events, "partial") for events in told] == [texts(events, "partial") for events in alone]


def test_a_batch_of_none_and_of_unequal_lengths(tone_recognizer, speech):
    assert tone_recognizer.step_many([], []) == ([], [])
    states = [tone_recognizer.init_state() for _ in range(2)]
    events, states = tone_recognizer.step_many([speech[:100], speech], states)
    assert events[0] == [] and texts(events[1]) == ["hello abba zoo"]
    assert [state.n_samples for state in states] == [100, len(speech)]
    with pytest.raises(UsageError, match="2 arrays of samples and 1 states"):
        tone_recognizer.step_many([speech, speech], states[:1])


def test_the_flush_brings_the_last_word(tone_recognizer):
    closely_cut = tones.say("last")
    before, state = tone_recognizer.step(closely_cut, tone_recognizer.init_state())
    assert texts(before, "partial")[-1] != "last", "the network answers late"
    assert texts(tone_recognizer.flush(state)[0]) == ["last"]


@pytest.mark.parametrize("n_extra", [0, 1, 319, 320, 321, 639, 640])
def test_the_flush_at_any_rest(tone_recognizer, n_extra):
    samples = np.concatenate([tones.say("rest"), np.zeros(n_extra, np.float32)])
    assert texts(run(tone_recognizer, samples, 1000)[0]) == ["rest"]


def test_what_only_padding_says_is_dropped(tone_recognizer, tmp_path):
    # Without the metadata's 0.2 s the answer to the last tone lies behind the end of the sound: it must not come.
    short = edgeseq.load(tones.save(tmp_path / "short.onnx", flush_seconds=0.0))
    samples = tones.say("ab")
    n_steps = -(-len(samples) // tones.STEP)
    _, state = run(short, samples, 1000)
    assert tone_recognizer.decoder.n_steps(state.decoder) == n_steps
    assert texts(run(short, samples, 1000)[0]) == ["a"]


def test_nothing_heard_nothing_said(tone_recognizer):
    events, state = tone_recognizer.step(np.zeros(0, np.float32), tone_recognizer.init_state())
    assert events == [] and tone_recognizer.flush(state)[0] == []
    assert run(tone_recognizer, tones.silence(3), 777)[0] == []
    final = tone_recognizer.transcribe(tones.silence(3))
    assert (final.text, final.words, final.start, final.end, final.confidence) == ("", (), 0.0, 3.0, 0.0)


def test_endpoint_seconds(tone_model, speech):
    patient = Recognizer(Network(tone_model), rules=endpoint_rules(silence_seconds=2.0))
    assert texts(patient.follow([speech])) == ["hello abba zoo yes no"]
    hasty = patient.with_rules(endpoint_rules(silence_seconds=0.2))
    assert "".join(texts(hasty.follow([speech]))) == "helloabbazooyesno"
    with pytest.raises(UsageError, match="more than 0"):
        endpoint_rules(silence_seconds=0)


def test_a_final_comes_endpoint_seconds_after_the_last_token(tone_recognizer):
    samples = np.concatenate([tones.say("go"), tones.silence(2)])
    state = tone_recognizer.init_state()
    for start in range(0, len(samples), 320):
        events, state = tone_recognizer.step(samples[start : start + 320], state)
        if texts(events):
            break
    said = events[-1].words[-1].end
    assert state.n_samples / tones.SAMPLE_RATE - said == pytest.approx(0.8, abs=0.1)


def test_transcribe_gives_one_final(tone_recognizer, speech, tmp_path):
    path = tmp_path / "speech.wav"
    soundfile.write(path, speech, tones.SAMPLE_RATE, subtype="FLOAT")
    from_file, from_samples = tone_recognizer.transcribe(path), tone_recognizer.transcribe(speech)
    assert from_file == from_samples
    assert from_file.text == "hello abba zoo yes no"
    told = [word for event in tone_recognizer.follow([speech]) if event.type == "final" for word in event.words]
    assert list(from_file.words) == told


def test_long_recordings_take_little_memory(tone_recognizer):
    minute = np.concatenate([tones.say("one more"), tones.silence(57)])
    tracemalloc.start()
    final = tone_recognizer.transcribe_blocks(block for _ in range(8) for block in pieces(minute, 8000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert final.text == " ".join(["one more"] * 8)
    assert peak < 2e6, "all of it would be 15 MB"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30])
def test_values_that_are_no_sound(tone_recognizer, bad):
    samples = tones.silence(0.1)
    samples[5] = bad
    _, state = tone_recognizer.step(tones.silence(0.1), tone_recognizer.init_state())
    with pytest.raises(AudioError, match="sample 805 of the sound"):
        tone_recognizer.step(samples, state)


@pytest.mark.parametrize(
    "samples", [np.zeros(9), np.zeros(9, np.int16), np.zeros((9, 1), np.float32), [0.0], None, np.float32(0)]
)
def test_samples_of_a_wrong_kind(tone_recognizer, samples):
    with pytest.raises(UsageError, match="wanted a numpy array of float32"):
        tone_recognizer.step(samples, tone_recognizer.init_state())


def test_the_last_words_come_before_the_failure(tone_recognizer):
    def breaking():
        yield tones.say("so far")
        raise DeviceError("gone")

    told = []
    with pytest.raises(DeviceError, match="gone"):
        for event in tone_recognizer.follow(breaking()):
            told.append(event)
    assert texts(told) == ["so far"]


def test_a_recording_that_breaks_off_keeps_its_words(tone_recognizer):
    def breaking():
        yield tones.say("so far")
        raise CutShortError("broke off")

    with pytest.raises(CutShortError) as caught:
        tone_recognizer.transcribe_blocks(breaking())
    assert caught.value.final.text == "so far"


def test_measured_delays_and_confidences_are_used(tone_recognizer, speech, tmp_path):
    raw = tone_recognizer.transcribe(speech)
    maps = {"greedy": {"said": [0.0, 1.0], "right": [0.0, 0.5]}, "other": {"said": [0.0], "right": [0.0]}}
    measured = edgeseq.load(
        tones.save(tmp_path / "m.onnx", emission_delay_seconds=0.1, ending_delay_seconds=-0.04, confidence_maps=maps)
    )
    final = measured.transcribe(speech)
    assert final.text == raw.text
    for before, after in zip(raw.words, final.words, strict=True):
        assert after.start == pytest.approx(before.start - 0.1)
        assert after.end == pytest.approx(min(before.end + 0.04, len(speech) / tones.SAMPLE_RATE))
        assert after.confidence == pytest.approx(before.confidence / 2)
    assert final.confidence == pytest.approx(raw.confidence / 2)


def test_words_never_overlap_nor_leave_the_sound():
    words = (Word("a", 0.02, 0.3, 1), Word("b", 0.5, 0.9, 1), Word("c", 0.6, 1.2, 1))
    moved = timed(words, tones.metadata(emission_delay_seconds=0.1, ending_delay_seconds=-0.3), 1.3)
    times = [(word.start, word.end) for word in moved]
    assert times == [(0.0, 0.4), (0.4, 0.5), (0.5, 1.3)]
    late = timed(words, tones.metadata(emission_delay_seconds=-1.0), 1.0)
    assert [(word.start, word.end) for word in late] == [(1.0, 1.0)] * 3


def test_a_broken_confidence_map_is_told(tmp_path):
    path = tones.save(tmp_path / "m.onnx", confidence_maps={"greedy": {"said": [1, 0], "right": [0, 1]}})
    with pytest.raises(ModelError, match="'said' to rise"):
        edgeseq.load(path)
