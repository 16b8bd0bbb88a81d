"""The fuzzer of all protocols, in small: the real server, the released model, good clients among bad ones."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("wyoming")
import fuzz

MODEL = Path(__file__).parents[2] / "models" / "digits-en" / "model.int8.onnx"
pytestmark = pytest.mark.skipif(not MODEL.is_file(), reason="the released model is not here")


@pytest.mark.slow
@pytest.mark.parametrize("protocol", fuzz.VISITS)
def test_thousands_of_hostile_messages(protocol):
    result = asyncio.run(fuzz.fuzz(protocol, 1500, seed=7, model=str(MODEL), n_connects=300 if protocol == "vosk" else 0))
    assert not result.faults, result.line()
    assert result.n_frames >= 1500 and result.n_right >= 2 and result.n_refused > 0
    assert result.streams == 0


def test_what_the_fuzzer_would_not_let_pass():
    good = fuzz.Result("vosk", mb=(100.0, 101.0), files=(14, 14))
    fuzz._judge(good)
    assert not good.faults
    bad = fuzz.Result("vosk", mb=(100.0, 120.0), files=(14, 200), streams=2)
    fuzz._judge(bad)
    assert len(bad.faults) == 3


def test_visits_are_those_of_their_number_and_differ():
    server = SimpleNamespace(ports=dict.fromkeys(("vosk", "sherpa", "wyoming", "http"), 1), headers={})
    for protocol, draw in fuzz.VISITS.items():
        drawn = [draw(fuzz.Drawn(f"{protocol} {number}"), server) for number in range(50)]
        assert drawn[3] == draw(fuzz.Drawn(f"{protocol} 3"), server)
        assert len({repr(visit) for visit in drawn}) > 40
