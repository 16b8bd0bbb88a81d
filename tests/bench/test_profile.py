"""Adding up a profile, and making one."""

from edgeseq.bench.profile import OperatorTime, add_up, profile_graph


def node(operator, ts, dur):
    return {"cat": "Node", "name": f"{operator}_1_kernel_time", "ts": ts, "dur": dur, "args": {"op_name": operator}}


def run(ts):
    return {"cat": "Session", "name": "model_run", "ts": ts, "dur": 100}


def test_nodes_are_added_up_by_operator():
    events = [
        node("Add", 5, 1000),  # of a run that does not count
        run(0),
        node("MatMul", 10_000, 40),
        node("Add", 10_050, 10),
        node("Add", 10_070, 10),
        run(10_000),
        node("MatMul", 20_000, 20),
        run(20_000),
        {"cat": "Node", "name": "MatMul_1_fence_before", "ts": 20_001, "dur": 99, "args": {"op_name": "MatMul"}},
    ]
    by_operator = add_up(events, chunk_us=34.0, skipped_runs=1)
    assert by_operator == [  # 40 observed microseconds in two nodes a run: 3 too many each
        OperatorTime("MatMul", 1.0, 30.0, 27.0, 27 / 34),
        OperatorTime("Add", 1.0, 10.0, 7.0, 7 / 34),
    ]
    assert sum(row.us_per_chunk for row in by_operator) == 34.0
    (product, add) = add_up(events, chunk_us=15.0, skipped_runs=1)
    assert (product.us_per_chunk, add.us_per_chunk) == (15.0, 0.0), "no node takes less than nothing"
    (product, add) = add_up(events, chunk_us=44.0, skipped_runs=1)
    assert (product.us_per_chunk, add.us_per_chunk) == (32.0, 12.0), "what lies between the nodes is theirs"
    assert add_up([], 1.0) == []


def test_a_run_that_was_interrupted_does_not_count_for_more():
    events = [event for n in range(5) for event in (run(1000 * n), node("Add", 1000 * n, 900 if n == 2 else 10))]
    (add,) = add_up(events, chunk_us=10.0)
    assert add == OperatorTime("Add", 1.0, 10.0, 10.0, 1.0)


def test_the_profile_of_a_model(tone_model):
    profile = profile_graph(tone_model, n_steps=2, chunks=5)
    assert profile.chunk_us > profile.reading_us > 0
    assert {"MatMul", "Concat"} <= {row.operator for row in profile.operators}
    assert all(row.count >= 1 and row.us_per_chunk >= 0 for row in profile.operators)
    lines = profile.to_table().splitlines()
    assert lines[0].split() == ["operator", "nodes", "us/chunk", "%", "observed", "us"]
    assert len(lines) == len(profile.operators) + 2
