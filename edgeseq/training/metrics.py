"""What a run writes down: one JSON line a step, TensorBoard, and a picture of the curves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeseq.whole_file import write_whole


@dataclass(frozen=True)
class StepReport:
    """One training step."""

    step: int
    loss: float
    """CTC, natural log, per target token"""
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
    """Error rates on the way."""

    step: int
    wer: Mapping[str, float]
    """words wrong, in percent, by manifest"""


@dataclass(frozen=True)
class Notice:
    """Something that a person should know: a step that was skipped, a gradient that exploded."""

    step: int
    notice: str


Report = StepReport | ValidReport | Notice


class RunLog:
    """`metrics.jsonl`, `tensorboard/` and `curves.png` in a run's folder."""

    def __init__(self, folder: Path, first_step: int) -> None:
        """Open the log; lines of steps from `first_step` on (of a run that went further before it ended) are dropped."""
        from torch.utils.tensorboard import SummaryWriter

        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / "metrics.jsonl"
        self._lines = [line for line in read_lines(path) if line["step"] < first_step]
        write_whole(path, "".join(json.dumps(line) + "\n" for line in self._lines).encode())
        self._file = path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=first_step)

    def add(self, report: Report) -> None:
        """Write down whatever is reported."""
        if isinstance(report, StepReport):
            self.add_step(report)
        elif isinstance(report, ValidReport):
            self.add_valid(report)
        else:
            self._write(asdict(report))

    def add_step(self, report: StepReport) -> None:
        """Write one step."""
        self._write(asdict(report))
        for key in ("loss", "gradient_norm", "lr", "difficulty", "wait_seconds"):
            self._board.add_scalar(f"train/{key}", getattr(report, key), report.step)

    def add_valid(self, report: ValidReport) -> None:
        """Write error rates and draw the picture anew."""
        self._write(asdict(report))
        for name, wer in report.wer.items():
            self._board.add_scalar(f"valid/{name}", wer, report.step)
        draw_curves(self._lines, self.folder / "curves.png")

    def close(self) -> None:
        """Flush and close."""
        self._file.close()
        self._board.close()

    def _write(self, line: dict[str, Any]) -> None:
        self._lines.append(line)
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


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


def draw_curves(lines: list[dict[str, Any]], path: Path) -> None:
    """Draw loss and error rates over steps to a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (losses, rates) = pyplot.subplots(2, 1, figsize=(8, 7), sharex=True)
    steps = [line for line in lines if "loss" in line]
    losses.plot([s["step"] for s in steps], [s["loss"] for s in steps], linewidth=0.6, color="tab:blue")
    losses.set(ylabel="CTC loss per token", yscale="log")
    valids = [line for line in lines if "wer" in line]
    for name in sorted({name for line in valids for name in line["wer"]}):
        points = [(line["step"], line["wer"][name]) for line in valids if name in line["wer"]]
        rates.plot(*zip(*points, strict=True), marker="o", label=name)
    rates.set(xlabel="step", ylabel="words wrong, %", ylim=(0, 105))
    if valids:
        rates.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
