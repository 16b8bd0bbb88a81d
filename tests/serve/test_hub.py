"""Streams of a hub are told what they would be told alone, whoever else comes, stalls or leaves."""

import asyncio
import threading

import numpy as np
import pytest

from edgeseq.errors import AudioError, UsageError
from edgeseq.serve.hub import Hub
from edgeseq.serve.limits import BusyError, LimitError, Limits, StoppingError

pytest.importorskip("onnx")
import tone_language as tones

TEXTS = ("hello abba zoo", "yes", "a b c", "zoo", "no no no", "x y", "hello", "abba")


def alone(recognizer, samples):
    events, state = recognizer.step(samples, recognizer.init_state())
    last, _ = recognizer.flush(state)
    return events + last


async def speak(hub, text, size, rate=None):
    async with hub.open("test", rate=rate) as stream:
        events, samples = [], tones.say(text, rate or tones.SAMPLE_RATE)
        for first in range(0, len(samples), size):
            events += await stream.hear(samples[first : first + size])
        return events + await stream.finish()


def test_many_at_once_are_told_what_each_would_be_alone(tone_recognizer):
    async def run():
        async with Hub({"tones": tone_recognizer}) as hub:
            told = await asyncio.gather(*(speak(hub, text, 101 * (i + 1)) for i, text in enumerate(TEXTS)))
            assert len(hub) == 0
            return told, hub.metrics

    told, metrics = asyncio.run(run())
    for text, events in zip(TEXTS, told, strict=True):
        assert events == alone(tone_recognizer, tones.say(text))
    assert metrics.total["test"] == len(TEXTS) and metrics.open["test"] == 0
    assert metrics.n_chunks > metrics.n_steps, "some were stepped together"


def test_other_rates_are_resampled(tone_recognizer):
    async def run():
        async with Hub({"tones": tone_recognizer}) as hub:
            return await asyncio.gather(*(speak(hub, "hello zoo", 999, rate) for rate in (16_000, 44_100, 44_101, 48_000)))

    assert [[e.text for e in events if e.type == "final"] for events in asyncio.run(run())] == [["hello zoo"]] * 4


def test_one_that_stalls_or_breaks_off_disturbs_nobody(tone_recognizer):
    async def run():
        async with Hub({"tones": tone_recognizer}) as hub, hub.open("test") as stalling:
            await stalling.hear(tones.say("zoo")[:1000])
            breaking = asyncio.create_task(speak(hub, "hello abba zoo", 50))
            await asyncio.sleep(0.01)
            breaking.cancel()
            events = await speak(hub, "yes", 640)
            return events, await stalling.hear(tones.say("zoo")[1000:]), await stalling.finish()

    events, told, last = asyncio.run(run())
    assert events == alone(tone_recognizer, tones.say("yes"))
    assert [event.text for event in told + last if event.type == "final"] == ["zoo"]


def test_a_stream_finishes_and_begins_anew(tone_recognizer):
    async def run():
        async with Hub({"tones": tone_recognizer}) as hub, hub.open("test", rate=16_000) as stream:
            told = []
            for text in ("yes", "no"):
                told.append(await stream.hear(tones.say(text, 16_000)) + await stream.finish())
            await stream.hear(tones.say("zoo", 16_000))
            await stream.reset(rate=tones.SAMPLE_RATE)
            told.append(await stream.hear(tones.say("abba")) + await stream.finish())
            return [[e for e in events if e.type == "final"] for events in told]

    told = asyncio.run(run())
    assert [[event.text for event in events] for events in told] == [["yes"], ["no"], ["abba"]]
    assert all(events[0].start < 0.5 for events in told), "each begins at time 0"


def test_limits(tone_recognizer):
    async def run():
        async with Hub({"tones": tone_recognizer}, Limits(streams=1, stream_seconds=2.0)) as hub:
            async with hub.open("test") as stream:
                with pytest.raises(BusyError, match="1 streams open"):
                    async with hub.open("test"):
                        pass
                with pytest.raises(AudioError, match="nan"):
                    await stream.hear(np.full(800, np.nan, dtype=np.float32))
                with pytest.raises(LimitError, match=r"longer than the 2 s"):
                    await stream.hear(tones.silence(2.1))
            with pytest.raises(UsageError, match="12 Hz"):
                async with hub.open("test", rate=12):
                    pass
            with pytest.raises(UsageError, match=r"no model 'x' here. There are: tones"):
                hub.find("x")
            await hub.drain(0.1)
            with pytest.raises(StoppingError):
                async with hub.open("test"):
                    pass

    asyncio.run(run())


def test_a_client_that_leaves_while_its_stream_joins_leaves_nothing_behind(tone_recognizer):
    """The worker takes the stream in when nobody waits for it any more."""
    busy = threading.Event()

    async def run():
        async with Hub({"tones": tone_recognizer}) as hub:
            waiting = asyncio.create_task(hub._worker.ask(tone_recognizer.network, lambda _: busy.wait(5)))

            async def come():
                async with hub.open("test"):
                    raise AssertionError("the worker was busy")

            coming = asyncio.create_task(come())
            await asyncio.sleep(0.05)
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)
            busy.set()
            await waiting
            await asyncio.sleep(0.05)
            return len(hub), await hub._worker.ask(tone_recognizer.network, len)

    assert asyncio.run(run()) == (0, 0)
