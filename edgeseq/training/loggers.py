"""Loggers beside metrics.jsonl: TensorBoard, MLflow, Weights & Biases, all by Lightning's classes for them."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from edgeseq.errors import EdgeseqError, MissingExtraError
from edgeseq.training.lightning_import import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from edgeseq.training.logger_threads import Follower, Row, SentSteps, Tool, in_short, read_sent
from edgeseq.training.recipe import Recipe

PROJECT = "edgeseq"
"""MLflow's experiment and W&B's project, unless their variables name others."""
UPLOAD_SECONDS = 90.0
"""At the end of its run W&B may continue uploading for this long; `wandb sync` sends what is left."""

PACKAGES = {"mlflow": ("mlflow", "sqlalchemy", "alembic"), "wandb": ("wandb",)}
TITLES = {"mlflow": "MLflow", "wandb": "Weights & Biases"}
ADVICE = {
    "mlflow": "See that its server runs and that MLFLOW_TRACKING_URI names it (without that it writes to the run's folder),",
    "wandb": "Log in by `wandb login`, or write to the run's folder alone by WANDB_MODE=offline,",
}


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
    """Begin TensorBoard and those that the recipe names, or continue their runs from `first_step`.

    `past` holds the lines of the steps before; they go to those that lack them. Raises EdgeseqError for a logger that cannot
    begin; nothing is left running then.
    """
    followers = [Follower("TensorBoard", _begin_tensorboard(folder, first_step), SentSteps())]
    try:
        for kind in dict.fromkeys(recipe.train.loggers):
            kept = folder / f"{kind}.json"
            sent = read_sent(kept) if first_step > 1 else SentSteps()
            tool = _begin(kind, recipe, folder, sent.run)
            followers.append(Follower(TITLES[kind], tool, SentSteps(tool.run, sent.steps), kept))
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
        again = f" It must continue run {run}; without {folder / f'{kind}.json'} it begins another." if run else ""
        raise EdgeseqError(
            f"{TITLES[kind]} cannot begin: {in_short(fault)}{again}\n  {ADVICE[kind]} or leave {kind} out of train.loggers."
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
    for variable in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR"):  # its own logs and copies, which else lie in the user's home
        os.environ.setdefault(variable, str(folder.resolve() / "wandb"))
    logger = WandbLogger(
        name=recipe.name,
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        save_dir=os.environ.get("WANDB_DIR", folder),
        id=run,
        settings={"finish_timeout": float(os.environ.get("WANDB_FINISH_TIMEOUT", UPLOAD_SECONDS))},
    )
    logger.log_hyperparams(recipe.model_dump(mode="json"))
    begun = logger.experiment
    return Tool(begun.id, partial(_send_each, logger), lambda status: begun.finish(0 if status == "success" else 1))


def _send_each(logger: Logger, rows: Sequence[Row]) -> None:
    for row in rows:
        logger.log_metrics(dict(row.metrics), row.step)


def _send_together(logger: MLFlowLogger, rows: Sequence[Row]) -> None:
    """Send rows in one request: with SQLite, and over a network, a request costs more than a training step."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    metrics = [Metric(name, value, now, row.step) for row in rows for name, value in row.metrics.items()]
    logger.experiment.log_batch(logger.run_id, metrics)
