"""The parts of recording that need no sound system: the clock's arithmetic, the ring, what a stream reads of it, the load."""

import os
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseq.sound.blocks import Lost
from edgeseq.sound.capture.clock import MIN_LOSS_SECONDS, InputClock
from edgeseq.sound.capture.load import Load
from edgeseq.sound.capture.recorder import CaptureStream
from edgeseq.sound.capture.ring import MARGIN, Ring, RingLayout, shared_memory
from edgeseq.sound.capture.stream import GONE, NOT_TAKEN, OVERRUN, TOO_SLOW, RecordedStream

RATE, BLOCK = 48_000, 1920
"""Hz, samples: 40 ms"""


def heard(n_blocks, *, ppm=0.0, losses=(), jitter=()):
    """Lengths of the losses that a clock tells of, and before which block. `jitter[i % len]`: seconds that block i is off."""
    clock, told, lost = InputClock(RATE), [], 0.0
    at = dict(losses)
    for i in range(n_blocks):
        lost += at.get(i, 0.0)
        off = jitter[i % len(jitter)] if jitter else 0.0
        seconds, clock = clock.step(1000 + lost + i * BLOCK / RATE * (1 + ppm * 1e-6) + off, i * BLOCK)
        if seconds:
            told.append((i, seconds))
    return told


PULSE_JITTER = (0.0, 1e-4, 0.0, -1e-4, -0.0301, 0.0)
"""seconds, as PulseAudio's times were seen to be off"""


@pytest.mark.parametrize("ppm", [-300, -100, 0, 100, 300])
def test_an_hour_of_drift_is_no_loss(ppm):
    assert heard(3600 * 25, ppm=ppm) == []


def test_the_same_drift_would_look_like_a_loss_if_samples_alone_were_counted():
    assert 5 * MIN_LOSS_SECONDS < 3600 * 100e-6


@settings(max_examples=60, deadline=None)
@given(
    st.floats(-200, 200),
    st.lists(st.tuples(st.integers(60, 140), st.floats(0.1, 30.0)), max_size=4),
    st.sampled_from([(), PULSE_JITTER, (0.0, 0.004, -0.003)]),
)
def test_each_loss_is_told_once_and_soon(ppm, spaced, jitter):
    losses, at = [], 0
    for distance, seconds in spaced:
        at += distance
        losses.append((at, seconds))
    told = heard(at + 50, ppm=ppm, losses=losses, jitter=jitter)
    assert len(told) == len(losses)
    for (block, seconds), (told_at, told_seconds) in zip(losses, told, strict=True):
        assert block <= told_at <= block + 6, "within a quarter of a second"
        assert told_seconds == pytest.approx(seconds, abs=0.04)


def test_a_single_late_time_is_no_loss():
    late = [0.0] * 50
    late[20], late[40] = 0.4, 2.0
    assert heard(200, jitter=late) == []


def test_first_times_that_are_late_are_corrected():
    clock = InputClock(RATE)
    for i in range(50):
        seconds, clock = clock.step(i * 0.04 + (0.5 if i < 5 else 0.0), i * BLOCK)
        assert seconds == 0
    assert clock.offset == pytest.approx(0, abs=1e-3)


def opened(first_block=0, n_slots=16, **changes):
    fields = {"name": "test", "rate": 8000, "n_channels": 2, "sample_format": "int16", "block_samples": 80}
    return CaptureStream(**{**fields, **changes}, n_slots=n_slots, first_block=first_block)


class Writer:
    """The other side of a ring, as the recorder writes: block `i` holds the number `i`."""

    def __init__(self, opened, number=None):
        self.opened, self.descriptor = opened, shared_memory()
        self.ring = Ring(self.descriptor, opened.layout)
        self.number = opened.first_block if number is None else number
        self.began, self.lost = 1000.0, 0.0

    def write(self, n_blocks, n_overruns=0):
        for _ in range(n_blocks):
            i = self.number - self.opened.first_block
            content = np.full((self.opened.block_samples, self.opened.n_channels), self.number, np.int16).tobytes()
            seconds = self.began + self.lost + i * self.opened.block_samples / self.opened.rate
            self.ring.write(self.number, i * self.opened.block_samples, seconds, n_overruns, content)
            self.number += 1

    def stream(self, heard_until=None):
        return RecordedStream(self.opened, self.descriptor, heard_until)


def numbers(samples):
    """Numbers of the blocks that an array holds; both channels alike."""
    assert samples.dtype == np.float32 and (samples[:, 0] == samples[:, 1]).all()
    return [round(float(value) * 32768) for value in samples[::80, 0]]


def take(writer, stream, most_seconds=10.0):
    stream.newest = writer.number - 1
    return [found if isinstance(found, Lost) else numbers(found) for found in stream.take(most_seconds)]


def test_blocks_come_in_order_and_once():
    writer = Writer(opened())
    stream = writer.stream()
    assert take(writer, stream) == []
    told = []
    for n_blocks in (1, 3, 0, 13, 5):
        writer.write(n_blocks)
        for found in take(writer, stream):
            told += found
    assert told == list(range(22))


def test_a_block_is_as_long_as_asked_for():
    writer = Writer(opened())
    stream = writer.stream()
    writer.write(12)
    stream.newest = 11
    assert stream.waiting_seconds == pytest.approx(0.12)
    assert [len(found) for found in stream.take(0.05)] == [5 * 80]
    assert stream.waiting_seconds == pytest.approx(0.07)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=12))
def test_a_stalled_reader_misses_the_oldest_and_knows_how_much(counts):
    writer = Writer(opened())
    stream = writer.stream()
    told, lost = [], 0.0
    for n_blocks in counts:
        writer.write(n_blocks)
        for found in take(writer, stream):
            if isinstance(found, Lost):
                assert found.reason == NOT_TAKEN
                lost += found.seconds
            else:
                told += found
    assert told == sorted(set(told)), "in order, none twice"
    assert len(told) + round(lost * 100) == sum(counts), "heard and lost are all there was"
    if max(counts) <= 16 - MARGIN:
        assert not lost


def test_a_slot_that_is_being_overwritten_is_not_read():
    writer = Writer(opened())
    writer.write(20)
    assert writer.ring.read(3) is None and writer.ring.read(19) is not None
    assert writer.ring.oldest(19) == 20 - (16 - MARGIN)


def test_dropping_is_marked_with_its_reason():
    writer = Writer(opened())
    stream = writer.stream()
    writer.write(2)
    take(writer, stream)
    writer.write(12)
    stream.newest = 13
    stream.drop(0.05)
    assert take(writer, stream) == [Lost(0.07, TOO_SLOW), [9, 10, 11, 12, 13]]


def test_sound_lost_before_the_ring_is_marked():
    writer = Writer(opened())
    stream = writer.stream()
    writer.write(8)
    take(writer, stream)
    writer.lost = 1.5
    writer.write(8)
    before, lost, after = take(writer, stream)
    assert before + after == list(range(8, 16)) and len(before) <= 3
    assert lost.reason == OVERRUN and lost.seconds == pytest.approx(1.5, abs=1e-3)


def test_a_stream_that_comes_back_tells_how_long_it_was_gone():
    first = Writer(opened())
    stream = first.stream()
    first.write(10)
    take(first, stream)
    again = Writer(opened(first_block=10))
    again.began = 1000 + 0.1 + 7.0
    again.write(3)
    lost, blocks = take(again, again.stream(stream.heard_until))
    assert (lost.reason, blocks) == (GONE, [10, 11, 12]) and lost.seconds == pytest.approx(7.0)


def test_overruns_are_counted_once():
    writer = Writer(opened())
    stream = writer.stream()
    writer.write(2, n_overruns=3)
    take(writer, stream)
    assert (stream.take_overruns(), stream.take_overruns()) == (3, 0)


def test_memory_only_grows():
    descriptor = shared_memory()
    large = Ring(descriptor, RingLayout(16, 4000))
    Ring(descriptor, RingLayout(16, 100))
    assert os.fstat(descriptor).st_size == large.layout.n_bytes
    large.write(15, 0, 0.0, 0, bytes(4000))
    assert large.read(15).content == bytes(4000)


def test_the_load_is_work_by_time_of_sound():
    load = Load()
    load.take_back(1.0)
    assert load.seconds == 0, "nothing was given yet"
    for _ in range(3):
        load.give()
        time.sleep(0.02)
        load.take_back(0.01)
    assert load.seconds == pytest.approx(0.03) and load.busy_seconds >= 0.06
    assert load.factor == pytest.approx(load.busy_seconds / 0.03)
