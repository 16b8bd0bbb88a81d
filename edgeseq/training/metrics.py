"""What a run writes down: one JSON line a step, a picture of the curves, and what loggers send elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from edgeseq.errors import EdgeseqError
from edgeseq.output.drawing import import_matplotlib
from edgeseq.training.checkpoint import latest_checkpoint
from edgeseq.training.loggers import begin_loggers, end_loggers
from edgeseq.training.metric import METRICS, Metric, is_validation
from edgeseq.training.recipe import Recipe
from edgeseq.whole_file import write_whole


@dataclass(frozen=True)
class StepReport:
    """One training step."""

    step: int
    loss: float
    """natural log; of CTC per target token, of labels per row"""
    gradient_norm: float
    """before clipping"""
    lr: float
    difficulty: float
    audio_seconds: float
    """of this step's batch"""
    seconds: float
    """that the step took, waiting left out"""
    wait_seconds: float
    """waited for the batch"""
    layer_norms: Mapping[str, float]
    """norm of each layer's gradient, before clipping"""


@dataclass(frozen=True)
class ValidReport:
    """What was measured on the way."""

    step: int
    metric: Metric
    """what picks the best weights and stops a training"""
    values: Mapping[Metric, dict[str, float]]
    """by metric and manifest, in the metric's unit; a manifest without words, say, has no error rate of words"""
    searched: dict[str, int] = field(default_factory=dict)
    """recordings whose words were searched, where those are not all"""

    @property
    def value(self) -> float:
        """The mean over manifests of what picks the best weights."""
        return mean(self.values[self.metric].values())

    def to_line(self) -> dict[str, Any]:
        """Give its line of metrics.jsonl."""
        by_key = {metric.key: values for metric, values in self.values.items()}
        return {"step": self.step, "metric": self.metric.key, **by_key, "searched": self.searched}


@dataclass(frozen=True)
class Notice:
    """Something that a person should know: a step that was skipped, a gradient that exploded."""

    step: int
    notice: str


Report = StepReport | ValidReport | Notice


class RunLog:
    """`metrics.jsonl` and `curves.png` in a run's folder, and the loggers; left by an exception, the run has failed."""

    def __init__(self, recipe: Recipe, folder: Path, first_step: int, report: Callable[[Report], None]) -> None:
        """Open the log; lines of steps from `first_step` on (of a run that went further before it ended) are dropped.

        `report` gets all that is written down, and what goes wrong with a logger. Raises EdgeseqError for one that cannot
        begin.
        """
        self._folder, self._report = folder, report
        self._step = first_step - 1
        self._path = folder / "metrics.jsonl"
        past = [line for line in read_lines(self._path) if line["step"] < first_step]
        with writing_to(folder):
            write_whole(self._path, "".join(json.dumps(line) + "\n" for line in past).encode())
            self._file = self._path.open("a", encoding="utf-8")
        self._loggers = begin_loggers(recipe, folder, first_step, past)

    def add(self, report: Report) -> None:
        """Write down and pass on whatever is reported. Raises EdgeseqError where it cannot be written."""
        self._write(report)
        for notice in filter(None, [logger.news() for logger in self._loggers]):
            self._write(Notice(report.step, notice))

    def __enter__(self) -> RunLog:
        """Nothing more: the log is open already."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End the loggers' runs as what has ended this one, and close."""
        status = "success" if kind is None else "KILLED" if issubclass(kind, KeyboardInterrupt) else "failed"
        try:
            for lack in end_loggers(self._loggers, status):
                self._write(Notice(self._step, lack))
        finally:
            with suppress(OSError):  # of a full disk, which has been reported
                self._file.close()

    def _write(self, report: Report) -> None:
        line = report.to_line() if isinstance(report, ValidReport) else asdict(report)
        self._step = report.step
        with writing_to(self._folder):
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
            if isinstance(report, ValidReport):
                draw_curves(read_lines(self._path), self._folder / "curves.png")
        for logger in self._loggers:
            logger.follow(line)
        self._report(report)


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Turn what keeps a run's files from being written, such as a full disk, into words."""
    try:
        yield
    except OSError as fault:
        kept = latest_checkpoint(folder / "checkpoints")
        raise EdgeseqError(
            f"{folder}: cannot be written to ({fault.strerror or fault}).\n"
            f"  {f'{kept} is kept. ' if kept else ''}Make room, then continue with --resume."
        ) from fault


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read metrics.jsonl as far as it is whole; none where there is no file."""
    if not path.exists():
        return []
    lines = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:  # the last line of a run that was cut off
            continue
    return lines


def rate_curves(lines: Iterable[Mapping[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """Give the points (step, percent) of each measure of each manifest, by its name for people.

    >>> rate_curves([{"step": 5, "wer": {"dev.jsonl": 40.0}, "per": {"dev.jsonl": 20.0}}])
    {'phones wrong, dev.jsonl': [(5, 20.0)], 'words wrong, dev.jsonl': [(5, 40.0)]}
    """
    curves: dict[str, list[tuple[int, float]]] = {}
    valids = [line for line in lines if is_validation(line)]
    for key, metric in METRICS.items():
        for name in sorted({name for line in valids for name in line.get(key, {})}):
            points = [(line["step"], line[key][name]) for line in valids if name in line.get(key, {})]
            curves[f"{metric.title}, {name}"] = points
    return curves


def draw_curves(lines: list[dict[str, Any]], path: Path) -> None:
    """Draw loss and error rates over steps to a PNG."""
    import_matplotlib()
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (losses, rates) = pyplot.subplots(2, 1, figsize=(8, 7), sharex=True)
    steps = [line for line in lines if "loss" in line]
    losses.plot([s["step"] for s in steps], [s["loss"] for s in steps], linewidth=0.6, color="tab:blue")
    losses.set(ylabel="loss", yscale="log")
    curves = rate_curves(lines)
    for label, points in curves.items():
        rates.plot(*zip(*points, strict=True), marker="o", label=label)
    units = {metric.unit for metric in METRICS.values() if any(metric.key in line for line in lines)}
    rates.set(xlabel="step", ylabel="%" if units <= {"%"} else "", ylim=(0, 105 if units <= {"%"} else None))
    if curves:
        rates.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
