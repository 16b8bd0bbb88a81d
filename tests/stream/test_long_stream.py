"""Ten hours of a microphone: neither memory nor what a stream remembers nor the work of a step grows."""

import gc
import resource
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("onnx")
import tone_language as tones

from edgeseq.stream.recognizer import Recognizer

HOURS = 10
PERIOD_SECONDS = 60.0


class Cached:
    """The tone network, which hears the same minute again and again and need not compute it anew.

    Its state is real; only log-probs that were computed before for the same chunk and state are looked up.
    """

    def __init__(self, network):
        self.metadata, self.path, self.fingerprint = network.metadata, network.path, network.fingerprint
        self.n_runs, self._network, self._known = 0, network, {}

    def init_state(self, batch=1):
        return self._network.init_state(batch)

    def step(self, inputs, state):
        key = hash((inputs["audio"].tobytes(), *(array.tobytes() for array in state.values())))
        if key not in self._known:
            self.n_runs += 1
            self._known[key] = self._network.step(inputs, state)
        return self._known[key]


def minute_of_speech():
    said = np.concatenate([tones.say("hello abba"), tones.silence(2), tones.say("one two three"), tones.silence(30)])
    n_samples = round(PERIOD_SECONDS * tones.SAMPLE_RATE) // tones.CHUNK * tones.CHUNK
    return np.concatenate([said, np.zeros(n_samples - len(said), np.float32)])


@pytest.mark.slow
def test_ten_hours(tone_recognizer):
    recognizer = Recognizer(Cached(tone_recognizer.network))
    minute = minute_of_speech()
    n_periods = round(HOURS * 3600 * tones.SAMPLE_RATE / len(minute))
    state, saved, memory, objects = recognizer.init_state(), [], [], []
    for period in range(n_periods):
        texts = []
        for start in range(0, len(minute), 8000):
            events, state = recognizer.step(minute[start : start + 8000], state)
            texts += [event.text for event in events if event.type == "final"]
        assert texts == ["hello abba", "one two three"]
        if period % 50 == 1:
            saved.append(len(recognizer.save(state)))
            gc.collect()
            objects.append(len(gc.get_objects()))
            memory.append(resident_bytes())
    assert state.n_samples / tones.SAMPLE_RATE > HOURS * 3600 - PERIOD_SECONDS
    assert max(saved) - min(saved) < 100, "step numbers take more digits, nothing else"
    assert max(objects) - objects[1] < 1000, objects
    assert max(memory) - memory[1] < 5e6, "10 bytes a step would be 9 MB"


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_speech_without_a_pause_stays_bounded(tone_recognizer):
    """Someone who never stops is told in pieces, and no letter is lost."""
    word = tones.say("go")
    n_words = 300
    state, events, sizes = tone_recognizer.init_state(), [], []
    for _ in range(n_words):
        new, state = tone_recognizer.step(word, state)
        events += new
        sizes.append(len(tone_recognizer.save(state)))
    new, _ = tone_recognizer.flush(state)
    finals = [event for event in events + new if event.type == "final"]
    assert len(finals) > 5 and max(final.end - final.start for final in finals) <= 30.1
    assert "".join(final.text for final in finals).replace(" ", "") == "go" * n_words
    assert max(sizes[200:]) <= max(sizes[:100]) + 100
