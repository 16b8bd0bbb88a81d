"""The soak, in small: clients of all protocols that come and go among clients that misbehave."""

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("wyoming")
import soak
import speakers

MODEL = Path(__file__).parents[2] / "models" / "digits-en" / "model.int8.onnx"


@pytest.mark.slow
@pytest.mark.skipif(not MODEL.is_file(), reason="the released model is not here")
def test_ten_seconds_of_everything():
    tally = asyncio.run(soak.soak(10.0, 20.0, str(MODEL), pause_seconds=0.5))
    assert not tally.faults, tally.summary()
    assert set(tally.clips) == {soak.LONG, *speakers.SPEAKERS} and sum(tally.bad.values()) >= 5
    assert tally.sound_seconds > 200


def test_what_the_soak_would_not_let_pass():
    flat = soak.Tally(memory=[(float(n), 150.0 if n < 20 else 100.0 + n % 3) for n in range(100)], seconds=100.0)
    assert flat.is_good and flat.range_mb == 2.0
    growing = soak.Tally(memory=[(float(n), 100.0 + n / 10) for n in range(100)], seconds=100.0)
    assert not growing.is_good and 6.5 < growing.growth_mb < 8
    assert not soak.Tally(memory=flat.memory, seconds=100.0, faults=["a stream was lost"]).is_good
