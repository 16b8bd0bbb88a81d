"""MLflow and Weights & Biases, the real ones, with stores in the run's folder that are read back."""

import doctest
import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from importlib.util import find_spec

import pytest
import yaml

from edgeseq.errors import EdgeseqError, MissingExtraError, RecipeError
from edgeseq.training import logger_threads
from edgeseq.training.checkpoint import latest_checkpoint, load_checkpoint
from edgeseq.training.logger_threads import row_of
from edgeseq.training.metrics import Notice, StepReport
from edgeseq.training.trainer import train

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*noload:DeprecationWarning"),  # of MLflow
]
needs_mlflow = pytest.mark.skipif(not all(map(find_spec, ("mlflow", "sqlalchemy", "alembic"))), reason="needs edgeseq[mlflow]")
needs_wandb = pytest.mark.skipif(not find_spec("wandb"), reason="needs edgeseq[wandb]")


@pytest.fixture(autouse=True)
def settings(monkeypatch):
    """None of the machine's own; nothing is sent anywhere."""
    for variable in [name for name in os.environ if name.startswith(("MLFLOW_", "WANDB_"))]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("DO_NOT_TRACK", "true")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("NETRC", "/nonexistent")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """A database without a run, which MLflow takes seconds to make."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}")
    return path


@pytest.fixture
def store(empty_store, tmp_path):
    """A copy of it where a run in `tmp_path` looks for its own."""
    shutil.copy(empty_store, tmp_path)


@pytest.fixture
def logged_recipe(tiny_recipe):
    """Make a tiny recipe with loggers and other keys of `train`."""

    def make(*kinds, **keys):
        return tiny_recipe(train={**tiny_recipe().train.model_dump(mode="json"), "loggers": kinds, **keys})

    return make


def quietly(_):
    pass


def fail_at(step):
    def report(what):
        if isinstance(what, StepReport) and what.step == step:
            raise RuntimeError("a fault at this step")

    return report


def mlflow_run(folder):
    """The only run of a folder, and a client to ask."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    (run,) = client.search_runs([client.get_experiment_by_name("edgeseq").experiment_id])
    return run, client


def mlflow_metrics(folder):
    """All that MLflow has: pairs of step and value by name."""
    run, client = mlflow_run(folder)
    return {name: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)] for name in run.data.metrics}


def wandb_records(path):
    """Protocol buffers of a .wandb file: a leveldb log of blocks of 32 KiB, in which a record may go on in the next block."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, at, record = path.read_bytes(), 7, b""
    while at + 7 <= len(data):
        room = 32768 - at % 32768
        if room < 7:
            at += room
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or its last part
            yield Record.FromString(record)
            record = b""


def take_wandb_file(folder):
    """Read the only file that there is, and take it away: a second start in the same second would write over it.

    W&B says that a run is finished shortly before its own process has written the end of the file.
    """
    (path,) = folder.glob("wandb/offline-run-*/*.wandb")
    until = time.monotonic() + 60
    while not any(record.HasField("exit") for record in wandb_records(path)):
        assert time.monotonic() < until, "the file has no end"
        time.sleep(0.01)
    records = list(wandb_records(path))
    shutil.rmtree(folder / "wandb")
    return records


def wandb_history(records):
    """A mapping of names to values for each row."""
    return [
        {item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
        for record in records
        if record.WhichOneof("record_type") == "history"
    ]


def wandb_metrics(records):
    """Pairs of step and value by name."""
    metrics = {}
    for row in wandb_history(records):
        for name, value in row.items():
            if "/" in name:
                metrics.setdefault(name, []).append((row["trainer/global_step"], value))
    del metrics["trainer/global_step"]
    return metrics


def expected_metrics(folder):
    """What metrics.jsonl has, which is one line a step."""
    metrics = {}
    for row in filter(None, map(row_of, map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()))):
        for name, value in row.metrics.items():
            metrics.setdefault(name, []).append((row.step, pytest.approx(value)))
    return metrics


@needs_mlflow
def test_mlflow_has_the_recipe_and_every_step(logged_recipe, tmp_path):
    train(logged_recipe("mlflow"), tmp_path, resume=False, report=quietly, workers=1)
    run, _ = mlflow_run(tmp_path)
    assert (run.info.run_name, run.info.status) == ("tones", "FINISHED")
    assert (run.data.params["network/hidden_size"], run.data.params["train/steps"]) == ("32", "6")
    metrics = mlflow_metrics(tmp_path)
    assert metrics == expected_metrics(tmp_path)
    assert {"train/loss", "train/lr", "train/gradient_norm", "gradient_norm/layer 1", "gradient_norm/output"} < metrics.keys()
    assert [name for name in metrics if name.startswith("valid/") and name.endswith("train.jsonl")]


@needs_wandb
def test_wandb_has_the_recipe_and_every_step(logged_recipe, tmp_path):
    train(logged_recipe("wandb"), tmp_path, resume=False, report=quietly, workers=1)
    records = take_wandb_file(tmp_path)
    (run,) = [record.run for record in records if record.HasField("run")]
    assert (run.display_name, run.project) == ("tones", "edgeseq")
    config = {item.key: json.loads(item.value_json) for record in records for item in record.config.update}
    assert config["network"]["hidden_size"] == 32
    assert [record.exit.exit_code for record in records if record.HasField("exit")] == [0]
    assert wandb_metrics(records) == expected_metrics(tmp_path)


@needs_mlflow
@pytest.mark.usefixtures("store")
def test_a_resumed_training_goes_on_with_its_mlflow_run(logged_recipe, tmp_path):
    """It breaks off in step 5, of which MLflow knows; steps 5 and 6 are done from the checkpoint of step 4."""
    with pytest.raises(RuntimeError):
        train(logged_recipe("mlflow"), tmp_path, resume=False, report=fail_at(5), workers=0)
    broken_off, _ = mlflow_run(tmp_path)
    assert broken_off.info.status == "FAILED"
    assert [step for step, _ in mlflow_metrics(tmp_path)["train/loss"]] == [1, 2, 3, 4, 5]
    train(logged_recipe("mlflow", steps=8), tmp_path, resume=True, report=quietly, workers=0)
    gone_on, _ = mlflow_run(tmp_path)
    assert (gone_on.info.run_id, gone_on.info.status) == (broken_off.info.run_id, "FINISHED")
    assert [step for step, _ in mlflow_metrics(tmp_path)["train/loss"]] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [step for step, _ in expected_metrics(tmp_path)["train/loss"]] == [1, 2, 3, 4, 5, 6, 7, 8]


@needs_wandb
def test_a_resumed_training_goes_on_with_its_wandb_run(logged_recipe, tmp_path):
    with pytest.raises(RuntimeError):
        train(logged_recipe("wandb"), tmp_path, resume=False, report=fail_at(5), workers=0)
    before = take_wandb_file(tmp_path)
    train(logged_recipe("wandb", steps=8), tmp_path, resume=True, report=quietly, workers=0)
    after = take_wandb_file(tmp_path)
    (one,), (other,) = ([record.run.run_id for record in file if record.HasField("run")] for file in (before, after))
    assert one == other
    assert [record.exit.exit_code for record in before if record.HasField("exit")] == [1]
    assert [step for step, _ in wandb_metrics(before + after)["train/loss"]] == [1, 2, 3, 4, 5, 6, 7, 8]


@needs_mlflow
@pytest.mark.usefixtures("store")
def test_a_logger_that_comes_later_gets_the_steps_before(logged_recipe, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(logged_recipe(), tmp_path, resume=False, report=quietly, workers=0, stop=lambda: True)
    with pytest.raises(KeyboardInterrupt):
        train(logged_recipe("mlflow"), tmp_path, resume=True, report=quietly, workers=0, stop=lambda: True)
    assert mlflow_run(tmp_path)[0].info.status == "KILLED"
    train(logged_recipe("mlflow"), tmp_path, resume=True, report=quietly, workers=0)
    assert mlflow_metrics(tmp_path) == expected_metrics(tmp_path)
    train(logged_recipe(steps=7), tmp_path, resume=True, report=quietly, workers=0)  # and it may go again


@needs_mlflow
@pytest.mark.usefixtures("store")
def test_a_training_that_begins_anew_begins_another_run(logged_recipe, tmp_path):
    """Nothing was saved before the fault, so the steps that MLflow has may be those of another recipe."""
    with pytest.raises(RuntimeError):
        train(logged_recipe("mlflow"), tmp_path, resume=False, report=fail_at(1), workers=0)
    lost, client = mlflow_run(tmp_path)
    train(logged_recipe("mlflow"), tmp_path, resume=False, report=quietly, workers=0)
    runs = {run.info.run_id: run.info.status for run in client.search_runs([lost.info.experiment_id])}
    assert runs.pop(lost.info.run_id) == "FAILED"
    assert list(runs.values()) == ["FINISHED"]


class Vandal:
    """Takes a table away from MLflow at step 3, and stops the training some steps after it has been told that this hurts."""

    def __init__(self, folder, mends):
        self.folder, self.mends = folder, mends
        self.notices, self.left = [], 6

    def rename(self, old, new):
        with closing(sqlite3.connect(self.folder / "mlflow.db", timeout=30)) as database:
            database.execute(f"ALTER TABLE {old} RENAME TO {new}")

    def see(self, report):
        if isinstance(report, Notice):
            self.notices.append(report.notice)
            if self.mends:
                self.rename("hidden", "metrics")
        elif report.step == 3:
            self.rename("metrics", "hidden")
        elif self.notices:
            self.left -= 1

    def stop(self):
        return self.left <= 0


@needs_mlflow
@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("mends", [True, False])
def test_a_logger_that_fails_on_the_way_is_told_once_and_catches_up(logged_recipe, tmp_path, monkeypatch, mends):
    monkeypatch.setattr(logger_threads, "RETRY_SECONDS", 0.05)
    vandal = Vandal(tmp_path, mends)
    with pytest.raises(KeyboardInterrupt):
        train(
            logged_recipe("mlflow", steps=100_000, valid_every=100_000),
            tmp_path,
            resume=False,
            report=vandal.see,
            workers=0,
            stop=vandal.stop,
        )
    assert "MLflow cannot be written to" in vandal.notices[0] and "no such table: metrics" in vandal.notices[0]
    if mends:
        assert len(vandal.notices) == 1
    else:
        assert len(vandal.notices) == 2 and "lacks the end of this run" in vandal.notices[1]
        vandal.rename("hidden", "metrics")
        step = load_checkpoint(latest_checkpoint(tmp_path / "checkpoints")).step
        train(logged_recipe("mlflow", steps=step + 1), tmp_path, resume=True, report=quietly, workers=0)
        assert mlflow_run(tmp_path)[0].info.status == "FINISHED"
    assert mlflow_metrics(tmp_path) == expected_metrics(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["notice"] for line in lines if "notice" in line] == vandal.notices


@needs_mlflow
@pytest.mark.parametrize(
    ("address", "words"),
    [("closed port", "Connection refused"), ("sqlite:////dev/full", "disk is full"), ("ftp://example.org", "ftp")],
)
def test_a_logger_that_cannot_begin_is_told_before_the_first_step(logged_recipe, tmp_path, monkeypatch, address, words):
    if address == "closed port":
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            address = f"http://127.0.0.1:{bound.getsockname()[1]}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(EdgeseqError, match=rf"MLflow cannot begin: (?s:.)*{words}(?s:.)*MLFLOW_TRACKING_URI"):
        train(logged_recipe("mlflow"), tmp_path, resume=False, report=quietly, workers=0)
    assert not (tmp_path / "metrics.jsonl").read_text() and not (tmp_path / "checkpoints").exists()


@needs_mlflow
@pytest.mark.usefixtures("store")
def test_an_mlflow_run_that_is_gone_is_named(logged_recipe, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(logged_recipe("mlflow"), tmp_path, resume=False, report=quietly, workers=0, stop=lambda: True)
    (tmp_path / "mlflow.json").write_text('{"run": "0123456789abcdef", "steps": {}}')
    with pytest.raises(EdgeseqError, match=r"run 0123456789abcdef; without .*mlflow\.json it begins another"):
        train(logged_recipe("mlflow"), tmp_path, resume=True, report=quietly, workers=0)
    (tmp_path / "mlflow.json").write_text('{"run": ')
    with pytest.raises(EdgeseqError, match=r"mlflow\.json: cannot be read(?s:.)*Remove it"):
        train(logged_recipe("mlflow"), tmp_path, resume=True, report=quietly, workers=0)


@pytest.mark.parametrize("kind", ["mlflow", "wandb"])
def test_a_package_that_is_not_installed_is_named(logged_recipe, tmp_path, monkeypatch, kind):
    monkeypatch.setitem(sys.modules, kind, None)  # as Python marks what cannot be imported
    with pytest.raises(MissingExtraError, match=rf"pip install 'edgeseq\[{kind}\]'"):
        train(logged_recipe(kind), tmp_path, resume=False, report=quietly, workers=0)
    assert not list(tmp_path.iterdir())


def test_unknown_loggers_are_refused(logged_recipe):
    with pytest.raises(RecipeError, match=r"train\.loggers\.0.*'mlflow' or 'wandb'.*'mlfow'"):
        logged_recipe("mlfow")


def as_program(folder, recipe, *words, python=(), **variables):
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    command = [sys.executable, *python, "-m", "edgeseq", "train", "recipe.yaml", "--out", "run", "--workers", "0", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200, check=False)


@needs_wandb
def test_wandb_without_its_server_is_told_before_the_first_step(logged_recipe, tmp_path):
    nowhere = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "a" * 40, "WANDB_INIT_TIMEOUT": "1"}
    done = as_program(tmp_path, logged_recipe("wandb"), **nowhere, WANDB_MODE="online")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "Weights & Biases cannot begin" in done.stderr and "WANDB_MODE=offline" in done.stderr
    assert not (tmp_path / "run" / "metrics.jsonl").read_text()


@needs_mlflow
def test_a_logger_that_cannot_begin_ends_all_processes(logged_recipe, tmp_path):
    two = ("--devices", "2", "--accelerator", "cpu")
    done = as_program(tmp_path, logged_recipe("mlflow"), *two, MLFLOW_TRACKING_URI="sqlite:////dev/full")
    assert done.returncode != 0 and "MLflow cannot begin" in done.stderr and "Traceback" not in done.stderr


def test_without_loggers_their_packages_are_not_imported(tiny_recipe, tmp_path):
    done = as_program(tmp_path, tiny_recipe(), python=("-X", "importtime"))
    assert done.returncode == 0, done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "tensorboard" in imported and not imported & {"mlflow", "wandb", "sqlalchemy"}


def test_doctests():
    assert doctest.testmod(logger_threads).failed == 0
