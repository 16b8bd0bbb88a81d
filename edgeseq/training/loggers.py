"""Loggers beside metrics.jsonl: TensorBoard, MLflow, Weights & Biases, all by Lightning's classes for them.

Each follows a run's metrics in a thread of its own, so that a slow disk or server keeps no step waiting; one that fails is told
once and tried again, while the training goes on. What a tool has been sent is written down beside the run: a resumed training
goes on with the tool's run, and sends what that does not have yet, once.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from queue import SimpleQueue
from typing import Any

from lightning.fabric.loggers import TensorBoardLogger
from lightning.fabric.loggers.logger import Logger
from lightning.pytorch.loggers import MLFlowLogger, WandbLogger

from edgeseq.errors import EdgeseqError, MissingExtraError
from edgeseq.recipe import Recipe

PROJECT = "edgeseq"
"""MLflow's experiment and W&B's project, unless their variables name others."""
MOST_AT_ONCE = 50
"""Rows that are sent together, where a tool takes several: MLflow allows 1,000 figures a request."""
RETRY_SECONDS = 30.0
"""After so long what failed is tried again."""
WAIT_SECONDS = 60.0
"""At the end of a training a logger is waited for at most so long."""
MOST_OF_FAULT = 600
"""Characters of a tool's message that are shown."""
UPLOAD_SECONDS = 300.0
"""At the end of its run W&B may go on uploading for so long; what is left can be sent by `wandb sync`."""

PACKAGES = {"mlflow": ("mlflow", "sqlalchemy", "alembic"), "wandb": ("wandb",)}
TITLES = {"mlflow": "MLflow", "wandb": "Weights & Biases"}
ADVICE = {
    "mlflow": "See that its server runs and that MLFLOW_TRACKING_URI names it (without that it writes to the run's folder),",
    "wandb": "Log in by `wandb login`, or write to the run's folder alone by WANDB_MODE=offline,",
}


@dataclass(frozen=True)
class Row:
    """What loggers are sent of a step."""

    kind: str
    """train or valid"""
    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class Sent:
    """What a tool has of a run."""

    run: str | None = None
    """its own name for the run; None before it has one"""
    steps: Mapping[str, int] = field(default_factory=dict)
    """the last step of each kind of row"""

    def lacks(self, row: Row) -> bool:
        """Whether the tool has not got this row, nor a later one."""
        return row.step > self.steps.get(row.kind, 0)


@dataclass(frozen=True)
class Tool:
    """A tool that has begun, or gone on with, a run."""

    run: str | None
    """its own name for the run"""
    send: Callable[[Sequence[Row]], None]
    end: Callable[[str], None]
    """by the run's status: success, failed or KILLED"""


def row_of(line: Mapping[str, Any]) -> Row | None:
    """Make of a line of metrics.jsonl what loggers are sent; None of a notice."""
    if "loss" in line:
        figures = {f"train/{key}": line[key] for key in ("loss", "gradient_norm", "lr", "difficulty", "wait_seconds")}
        layers = {f"gradient_norm/{layer}": norm for layer, norm in line["layer_norms"].items()}
        return Row("train", line["step"], figures | layers)
    if "wer" in line:
        return Row("valid", line["step"], {_metric_name(name): wer for name, wer in line["wer"].items()})
    return None


def _metric_name(manifest: str) -> str:
    """Name a manifest's error rate so that every tool takes it: MLflow wants whole paths downwards, and few characters.

    >>> _metric_name("fsdd/test.jsonl"), _metric_name("/corpora/Übung 1.jsonl"), _metric_name("../mine.jsonl")
    ('valid/fsdd/test.jsonl', 'valid/corpora/_bung 1.jsonl', 'valid/mine.jsonl')
    """
    parts = [part for part in PurePosixPath(manifest).parts if part not in ("/", "..")]
    return "/".join(["valid", *(re.sub(r"[^A-Za-z0-9_. -]", "_", part) for part in parts)])


def refuse_missing(kinds: Iterable[str]) -> None:
    """Raise MissingExtraError if a package of a logger is not installed."""
    for kind in kinds:
        for package in PACKAGES[kind]:
            if importlib.util.find_spec(package) is None:
                raise MissingExtraError(
                    f"Logging to {TITLES[kind]} needs {package}, which is not installed: pip install 'edgeseq[{kind}]'\n"
                    f"  Or leave {kind} out of train.loggers."
                )


def begin_loggers(recipe: Recipe, folder: Path, first_step: int, past: Sequence[Mapping[str, Any]]) -> list[Follower]:
    """Begin TensorBoard and those that the recipe names, or go on with their runs from `first_step` on.

    `past` holds the lines of the steps before; they go to those that lack them. Raises EdgeseqError for a logger that cannot
    begin; nothing is left running then.
    """
    followers = [Follower("TensorBoard", _begin_tensorboard(folder, first_step), Sent())]
    try:
        for kind in dict.fromkeys(recipe.train.loggers):
            kept = folder / f"{kind}.json"
            sent = _read_sent(kept) if first_step > 1 else Sent()
            tool = _begin(kind, recipe, folder, sent.run)
            followers.append(Follower(TITLES[kind], tool, Sent(tool.run, sent.steps), kept))
            for line in past:
                followers[-1].follow(line)
    except BaseException:
        end_loggers(followers, "failed")
        raise
    return followers


def end_loggers(followers: Sequence[Follower], status: str) -> list[str]:
    """End all as `success`, `failed` or `KILLED`, side by side; says what they lack."""
    for follower in followers:
        follower.end(status)
    return [lack for lack in [follower.wait() for follower in followers] if lack]


def _begin(kind: str, recipe: Recipe, folder: Path, run: str | None) -> Tool:
    try:
        return {"mlflow": _begin_mlflow, "wandb": _begin_wandb}[kind](recipe, folder, run)
    except Exception as fault:  # the tools raise whatever their libraries do
        again = f" It is to go on with run {run}; without {folder / f'{kind}.json'} it begins another." if run else ""
        raise EdgeseqError(
            f"{TITLES[kind]} cannot begin: {_in_short(fault)}{again}\n  {ADVICE[kind]} or leave {kind} out of train.loggers."
        ) from fault


def _begin_tensorboard(folder: Path, first_step: int) -> Tool:
    """TensorBoard itself passes over what earlier files have from `first_step` on."""
    logger = TensorBoardLogger(folder, name="", version="tensorboard", default_hp_metric=False, purge_step=first_step)
    return Tool(None, partial(_send_each, logger), logger.finalize)


def _begin_mlflow(recipe: Recipe, folder: Path, run: str | None) -> Tool:
    """By default a SQLite file in the run's folder. MLflow lets no hyperparameter change: they are those of the first step."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # seconds, not minutes; `Follower` tries again, too
    address = os.environ.get("MLFLOW_TRACKING_URI")
    local = folder.resolve()
    logger = MLFlowLogger(
        experiment_name=os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT),
        run_name=recipe.name,
        tracking_uri=address or f"sqlite:///{local}/mlflow.db",
        artifact_location=None if address else (local / "mlartifacts").as_uri(),
        run_id=run,
    )
    if run is None:
        logger.log_hyperparams(recipe.model_dump(mode="json"))
    else:
        logger.experiment.update_run(run, status="RUNNING")
    return Tool(logger.run_id, partial(_send_together, logger), logger.finalize)


def _begin_wandb(recipe: Recipe, folder: Path, run: str | None) -> Tool:
    logger = WandbLogger(
        name=recipe.name,
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        save_dir=os.environ.get("WANDB_DIR", folder),
        id=run,
        settings={"finish_timeout": float(os.environ.get("WANDB_FINISH_TIMEOUT", UPLOAD_SECONDS))},
    )
    logger.log_hyperparams(recipe.model_dump(mode="json"))
    run_there = logger.experiment
    return Tool(run_there.id, partial(_send_each, logger), lambda status: run_there.finish(0 if status == "success" else 1))


def _send_each(logger: Logger, rows: Sequence[Row]) -> None:
    for row in rows:
        logger.log_metrics(dict(row.metrics), row.step)


def _send_together(logger: MLFlowLogger, rows: Sequence[Row]) -> None:
    """Send rows in one request: with SQLite, and over a network, a request costs more than a training step."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    metrics = [Metric(name, value, now, row.step) for row in rows for name, value in row.metrics.items()]
    logger.experiment.log_batch(logger.run_id, metrics)


def _read_sent(path: Path) -> Sent:
    """Read what a tool has been sent; nothing where there is no such file. Raises EdgeseqError for one that is broken."""
    if not path.exists():
        return Sent()
    try:
        return Sent(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as fault:
        raise EdgeseqError(f"{path}: cannot be read ({fault}).\n  Remove it, and a new run is begun there.") from fault


def _in_short(fault: BaseException) -> str:
    """What a fault says, on one line; databases add whole statements."""
    return " ".join(str(fault).split())[:MOST_OF_FAULT] or type(fault).__name__


class Follower:
    """Sends a run's rows to one tool, in a thread of its own."""

    def __init__(self, title: str, tool: Tool, sent: Sent, kept: Path | None = None) -> None:
        """Go on after what is `sent`, which is written to the file `kept`."""
        self._title, self._tool, self._sent, self._kept = title, tool, sent, kept
        self._queue: SimpleQueue[Row | None] = SimpleQueue()
        self._ending = threading.Event()
        self._status = "failed"
        self._fault = ""
        self._told = False
        self._complete = False
        self._thread = threading.Thread(target=self._work, name=f"logging to {title}", daemon=True)
        self._thread.start()

    def follow(self, line: Mapping[str, Any]) -> None:
        """Take a line of metrics.jsonl, to be sent unless the tool has it."""
        row = row_of(line)
        if row is not None:
            self._queue.put(row)

    def news(self) -> str | None:
        """Say what has failed, once."""
        if not self._fault or self._told:
            return None
        self._told = True
        return f"{self._title} cannot be written to, and will be tried again; the training goes on: {self._fault}"

    def end(self, status: str) -> None:
        """Let the tool's run end as `success`, `failed` or `KILLED` once everything is sent."""
        self._status = status
        self._ending.set()
        self._queue.put(None)

    def wait(self) -> str | None:
        """Wait for the end, not for ever; says what is missing then."""
        self._thread.join(WAIT_SECONDS)
        if self._complete:
            return None
        why = self._fault or f"it took more than {WAIT_SECONDS:g} s"
        later = "" if self._kept is None else ", and --resume sends it"
        return f"{self._title} lacks the end of this run, which metrics.jsonl has{later}: {why}"

    def _work(self) -> None:
        rows: list[Row] = []
        going_on = True
        while (delivered := self._deliver(rows)) and going_on:
            rows, going_on = self._take()
        ended = self._attempt(lambda: self._tool.end(self._status))
        self._complete = delivered and ended

    def _take(self) -> tuple[list[Row], bool]:
        """Take what waits, at least one row; and whether more may come."""
        rows: list[Row] = []
        while (row := self._queue.get()) is not None:
            rows.append(row)
            if len(rows) == MOST_AT_ONCE or self._queue.empty():
                return rows, True
        return rows, False

    def _deliver(self, rows: Sequence[Row]) -> bool:
        """Send rows, however often it takes; once more, and no longer, when the training has ended."""
        while not self._attempt(lambda: self._send(rows)):
            if self._ending.wait(RETRY_SECONDS):
                return self._attempt(lambda: self._send(rows))
        return True

    def _send(self, rows: Sequence[Row]) -> None:
        lacking = [row for row in rows if self._sent.lacks(row)]
        if lacking:
            self._tool.send(lacking)
        self._sent = Sent(self._sent.run, {**self._sent.steps, **{row.kind: row.step for row in lacking}})
        if self._kept is not None:
            part = self._kept.with_suffix(".part")
            part.write_text(json.dumps(asdict(self._sent)), encoding="utf-8")
            part.replace(self._kept)

    def _attempt(self, call: Callable[[], None]) -> bool:
        try:
            call()
        except Exception as fault:  # a training is worth more than its logs
            self._fault = _in_short(fault)
            return False
        return True
