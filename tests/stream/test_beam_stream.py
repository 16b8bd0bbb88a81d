"""The beam search inside a recognizer: chunks, saved streams, hotwords that change while it runs."""

import numpy as np
import pytest

pytest.importorskip("onnx")
import tone_language as tones

from edgeseq.decoding.beam import BeamOptions
from edgeseq.decoding.hotwords import Hotword, Hotwords
from edgeseq.decoding.loading import ChangingHotwords, load_beam
from edgeseq.events import Final


@pytest.fixture(scope="module")
def speech():
    return np.concatenate([tones.say("one two three"), tones.silence(1.2), tones.say("for you"), tones.silence(1.2)])


def hear(recognizer, samples, n_chunk, state=None):
    state, events = recognizer.init_state() if state is None else state, []
    for start in range(0, len(samples), n_chunk):
        new, state = recognizer.step(samples[start : start + n_chunk], state)
        events += new
    new, _ = recognizer.flush(state)
    return [event for event in [*events, *new] if isinstance(event, Final)]


@pytest.fixture(scope="module")
def recognizer(tone_recognizer):
    return tone_recognizer.with_decoder(load_beam(tone_recognizer.metadata, BeamOptions(nbest=3)))


def test_any_chunks_give_the_same_finals(recognizer, speech):
    whole = hear(recognizer, speech, len(speech))
    assert [final.text for final in whole] == ["one two three", "for you"]
    for n_chunk in (79, 640, 1111):
        assert hear(recognizer, speech, n_chunk) == whole


def test_times_are_those_of_greedy_decoding(recognizer, tone_recognizer, speech):
    for final, other in zip(hear(recognizer, speech, 640), hear(tone_recognizer, speech, 640), strict=True):
        for word, same in zip(final.words, other.words, strict=True):
            assert (word.word, word.start, word.end) == (same.word, pytest.approx(same.start), pytest.approx(same.end))
            assert 0 < word.confidence <= same.confidence  # letters that silence leaves possible count against it


def test_a_stream_goes_on_from_bytes(recognizer, speech):
    _, state = recognizer.step(speech[:9_000], recognizer.init_state())
    restored = recognizer.restore(recognizer.save(state))
    assert hear(recognizer, speech[9_000:], 640, restored) == hear(recognizer, speech[9_000:], 640, state)


def test_hotwords_change_under_a_running_stream(tone_recognizer, speech):
    """A boost makes another word of "for"; taken away, it is heard again."""
    search = ChangingHotwords(load_beam(tone_recognizer.metadata, BeamOptions(token_threshold=0.0, beam_threshold=100.0)))
    recognizer = tone_recognizer.with_decoder(search)
    tokens = recognizer.metadata.token_table
    _, state = recognizer.step(speech[:9_000], recognizer.init_state())
    search.change(Hotwords([Hotword("fort", 3.0)], tokens))
    assert hear(recognizer, speech[9_000:], 640, state)[-1].text == "fort you"
    search.change(None)
    assert hear(recognizer, speech[9_000:], 640, state)[-1].text == "for you"
