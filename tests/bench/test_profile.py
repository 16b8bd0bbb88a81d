"""Adding up a profile, and making one."""

import pytest

from edgeseq.bench.profile import OUTSIDE, OperatorTime, add_up, profile_graph


def node(operator, ts, dur):
    return {"cat": "Node", "name": f"{operator}_1_kernel_time", "ts": ts, "dur": dur, "args": {"op_name": operator}}


def test_nodes_are_added_up_by_operator():
    run = {"cat": "Session", "name": "model_run", "dur": 100}
    events = [
        node("Add", 5, 1000),  # of a run that does not count
        {**run, "ts": 0, "dur": 5000},
        node("MatMul", 10_000, 40),
        node("Add", 10_050, 10),
        node("Add", 10_070, 10),
        {**run, "ts": 10_000},
        node("MatMul", 20_000, 20),
        {**run, "ts": 20_000},
        {"cat": "Node", "name": "MatMul_1_fence_before", "ts": 20_001, "dur": 99, "args": {"op_name": "MatMul"}},
    ]
    assert add_up(events, 1) == [
        OperatorTime("MatMul", 1.0, 30.0, 0.75),
        OperatorTime("Add", 1.0, 10.0, 0.25),
        OperatorTime(OUTSIDE, 0, 60.0, 0.0),
    ]
    assert add_up([], 0) == []


def test_the_profile_of_a_model(tone_model):
    profile = profile_graph(tone_model, chunks=5)
    assert profile.chunk_us > 0
    *operators, rest = profile.operators
    assert rest.operator == OUTSIDE and sum(row.share for row in operators) == pytest.approx(1)
    assert {"MatMul", "Concat"} <= {row.operator for row in operators}
    lines = profile.to_table().splitlines()
    assert lines[0].split() == ["operator", "nodes", "us/chunk", "%"] and len(lines) == len(profile.operators) + 2
