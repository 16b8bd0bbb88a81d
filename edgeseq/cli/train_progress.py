"""What a person judges a training by: a line that is rewritten on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from edgeseq.cli.progress import StatusLine, time_left

if TYPE_CHECKING:
    from edgeseq.training.metrics import Report, StepReport, ValidReport
    from edgeseq.training.recipe import Recipe

NEW_SHARE = 0.02
"""Weight of each step in the loss that is shown, a running mean."""


class TrainProgress:
    """Shows steps, error rates and notices."""

    def __init__(self, recipe: Recipe) -> None:
        """Show a training by `recipe`."""
        self._line, self._steps = StatusLine(), recipe.train.steps
        self._loss: float | None = None
        self._waited = 0.0
        self._began: tuple[int, float] | None = None

    def __enter__(self) -> TrainProgress:
        """Show at once that work has begun."""
        self._line.announce(f"preparing {self._steps:,} steps")
        return self

    def __exit__(self, *_: object) -> None:
        """Take the line away."""
        self._line.clear()

    def show(self, report: Report) -> None:
        """Show one step, error rates, or what a person should know."""
        from edgeseq.training.metrics import StepReport, ValidReport

        if isinstance(report, ValidReport):
            self._line.print(f"step {report.step}: {rates_in_words(report)}")
        elif isinstance(report, StepReport):
            self._show_step(report)
        else:
            self._line.print(f"step {report.step}: {report.notice}")

    def _show_step(self, report: StepReport) -> None:
        now = time.monotonic()
        self._began = self._began or (report.step - 1, now - report.seconds - report.wait_seconds)
        self._waited += report.wait_seconds
        self._loss = report.loss if self._loss is None else (1 - NEW_SHARE) * self._loss + NEW_SHARE * report.loss
        per_step = (now - self._began[1]) / (report.step - self._began[0])
        parts = [
            f"step {report.step}/{self._steps}",
            time_left(per_step * (self._steps - report.step)),
            f"loss {self._loss:.3f}",
            f"difficulty {report.difficulty:.2f}",
            f"{report.audio_seconds / per_step:,.0f}x real time",
            f"{100 * self._waited / (now - self._began[1]):.0f} % waiting for data",
            f"lr {report.lr:.1e}",
            f"gradient {report.gradient_norm:.2f}",
        ]
        self._line.show(parts, now=report.step == self._steps)


def rates_in_words(report: ValidReport) -> str:
    """Say every rate, and of how many recordings where those are not all."""
    from edgeseq.training.metric import PER

    parts = []
    for metric, values in report.values.items():
        counts = {} if metric == PER else report.searched
        rates = [
            f"{name} {metric.show(value)}" + (f" ({counts[name]:,} recordings)" if name in counts else "")
            for name, value in values.items()
        ]
        parts += [f"{metric.title}: {'  '.join(rates)}"] if rates else []
    return "; ".join(parts)
