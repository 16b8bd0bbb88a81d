"""The picture: that it is one, of what was measured."""

import pytest

from edgeseq.bench.chart import check_matplotlib, draw_chart, label
from edgeseq.bench.results import NetworkRow, Ratio, align, network_table
from edgeseq.bench.timing import Spread
from edgeseq.errors import MissingExtraError


def row(runtime, us, bits=8, streams=1):
    return NetworkRow(runtime, bits, "gru:4x512", 4, streams, Spread(us, us - 1, us + 2), us / 4e4, 0.6, 61.04, 0.01, 6_000_000)


def ratio(of, times, bits=8):
    return Ratio(of, "edgeseq", bits, "gru:4x512", 4, 1, Spread(times, times - 0.1, times + 0.2))


ROWS = [row("edgeseq", 124.0), row("edgeseq", 117.0, bits=4), row("torch", 1130.0, bits=32)]
RATIOS = [ratio("torch", 9.1), ratio("torch", 9.7, bits=4)]


def test_a_row_for_machines():
    assert ROWS[0].to_dict() == {
        "runtime": "edgeseq",
        "bits": 8,
        "shape": "gru:4x512",
        "chunk_steps": 4,
        "streams": 1,
        "us_per_step": 124.0,
        "us_low": 123.0,
        "us_high": 126.0,
        "rtf": 0.0031,
        "streams_per_core": 322,
        "p99_ms": 0.6,
        "peak_rss_mb": 61.0,
        "max_difference": 0.01,
        "file_bytes": 6_000_000,
    }
    assert RATIOS[0].to_dict() == {
        "of": "torch",
        "to": "edgeseq",
        "bits": 8,
        "shape": "gru:4x512",
        "chunk_steps": 4,
        "streams": 1,
        "median": 9.1,
        "low": 9.0,
        "high": 9.3,
    }


def test_a_table_for_people():
    table = network_table(ROWS, RATIOS, {"openvino": "not installed (pip install openvino)"})
    head, first, *_ = table.splitlines()
    assert head.split()[:3] == ["runtime", "bits", "shape"] and first.split()[:6] == [
        "edgeseq",
        "8",
        "gru:4x512",
        "4",
        "1",
        "124.0",
    ]
    assert "torch / edgeseq 8 bit  gru:4x512  chunk 4    9.10  (9.00-9.30)" in table
    assert table.endswith("openvino: not installed (pip install openvino)")
    assert align([("a", "1"), ("bb", "22")]) == ["a    1", "bb  22"]


def test_a_bar_tells_its_ratio_to_the_narrowest_weights():
    assert label(ROWS[0], RATIOS) == "124"
    assert label(ROWS[2], RATIOS) == "1130  (9.7 x)"
    assert label(row("torch", 9.25), []) == "9.2"


def test_a_chart_is_drawn(tmp_path):
    pytest.importorskip("matplotlib", reason="nothing to draw with")
    pytest.importorskip("torch", reason="comparisons are of networks drawn with torch")
    from matplotlib.image import imread

    from edgeseq.bench.peers import Comparison

    path = tmp_path / "chart.png"
    draw_chart({"one": Comparison(ROWS, RATIOS), "two": Comparison([row("edgeseq", 30.0, streams=4)])}, path)
    picture = imread(path)
    blue = (abs(picture[..., :3] - [0, 0x72 / 255, 0xB2 / 255]) < 0.02).all(axis=-1)
    assert picture.shape[1] > 2 * picture.shape[0] and blue.sum() > 500 and path.stat().st_size < 60_000


def test_without_matplotlib_it_says_so(monkeypatch):
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "matplotlib" else found(name, *rest))
    with pytest.raises(MissingExtraError, match=r"edgeseq\[bench\]"):
        check_matplotlib()
