"""Pictures of a training and of traces, as matplotlib figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeseq.report.svg import COLORS, INK
from edgeseq.report.trace import Trace
from edgeseq.training.metrics import rate_curves

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = 300
"""Curves of more steps show the mean of stretches, and pale their range."""
SHOWN_TOKENS = 8
SPACIOUS_SECONDS = 4.0
"""Tokens of longer recordings are written smaller."""
POSITIVE, NEGATIVE = (0.90, 0.28, 0.30), (0.23, 0.51, 0.96)

Line = Mapping[str, Any]
"""One line of metrics.jsonl."""


def draw_training(figure: Figure, lines: Sequence[Line], grad_clip: float) -> None:
    """Draw loss, error rates, learning rate and norms of gradients over the steps."""
    steps = [line for line in lines if "loss" in line]
    numbers = [line["step"] for line in steps]
    loss, rates, lr, norms, layers, speed = figure.subplots(3, 2, sharex=True).flat
    _draw_curve(loss, numbers, [line["loss"] for line in steps], COLORS[0])
    loss.set(title="CTC loss, nats a token", yscale="log")
    _draw_rates(rates, rate_curves(lines))
    lr.plot(numbers, [line["lr"] for line in steps], color=COLORS[2])
    lr.set(title="learning rate")
    _draw_curve(norms, numbers, [line["gradient_norm"] for line in steps], COLORS[3])
    norms.axhline(grad_clip, color=INK, linewidth=0.7, linestyle=":")
    norms.set(title="norm of the gradient (dotted: cut to)", yscale="log")
    for name, color in zip(steps[-1].get("layer_norms", {}) if steps else (), COLORS, strict=False):
        _draw_curve(layers, numbers, [line.get("layer_norms", {}).get(name, np.nan) for line in steps], color, name)
    layers.set(title="norm of each layer's gradient", yscale="log", xlabel="step")
    if layers.lines:
        layers.legend(ncols=2)
    audio = [line["audio_seconds"] / max(1e-9, line["seconds"] + line["wait_seconds"]) for line in steps]
    _draw_curve(speed, numbers, audio, COLORS[5])
    speed.set(title="sound trained on, times real time", xlabel="step")
    for axes in (loss, rates, lr, norms, layers, speed):
        axes.grid(True)
        if axes.get_yscale() == "log":  # matplotlib's own labels are formulas, which no page can set
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_formatter("")


def _draw_rates(axes: Axes, curves: Mapping[str, Sequence[tuple[int, float]]]) -> None:
    for (label, points), color in zip(curves.items(), cycle(COLORS), strict=False):
        axes.plot(*zip(*points, strict=True), marker=".", color=color, label=label)
        axes.annotate(f"{points[-1][1]:.1f} %", points[-1], xytext=(0, 6), textcoords="offset points", ha="right", fontsize=8)
    axes.set(title="error rates, %", ylim=(0, None))
    if curves:
        axes.legend()
    else:
        axes.text(0.5, 0.5, "no validation recordings", transform=axes.transAxes, ha="center", va="center", color=INK)


def _draw_curve(axes: Axes, steps: Sequence[int], values: Sequence[float], color: str, label: str | None = None) -> None:
    """Draw means of stretches of steps and, paler, what they range over."""
    size = max(1, -(-len(steps) // POINTS))
    pieces = [np.asarray(values[first : first + size], dtype=float) for first in range(0, len(values), size)]
    finite = [piece[np.isfinite(piece)] for piece in pieces]
    kept = [(steps[min(n * size + size // 2, len(steps) - 1)], piece) for n, piece in enumerate(finite) if len(piece)]
    places = [place for place, _ in kept]
    axes.plot(places, [piece.mean() for _, piece in kept], color=color, linewidth=1.2, label=label)
    if size > 1 and label is None:
        low, high = [piece.min() for _, piece in kept], [piece.max() for _, piece in kept]
        axes.fill_between(places, low, high, color=color, alpha=0.2, linewidth=0)


def draw_trace(figure: Figure, trace: Trace, spans: Sequence[tuple[str, float, float]]) -> None:
    """Draw one recording's way through the network; `spans` are the words a stream reported, with start and end in seconds."""
    saliencies = [word.saliency for word in trace.words if word.saliency is not None]
    kinds = ["frames", *(["saliency"] if saliencies else []), "emissions", *(["gates", "states"] if trace.layers else [])]
    heights = {"frames": 1.5, "saliency": 1.2, "emissions": 1.2, "gates": 0.9, "states": 0.9}
    rows = figure.subplots(len(kinds), 1, sharex=True, squeeze=False, height_ratios=[heights[kind] for kind in kinds])
    by_kind: dict[str, Axes] = dict(zip(kinds, rows[:, 0], strict=True))
    _draw_frames(by_kind["frames"], trace, spans)
    if "saliency" in by_kind:
        _draw_saliency(by_kind["saliency"], trace, saliencies)
    _draw_emissions(by_kind["emissions"], trace)
    if trace.layers:
        _draw_gates(by_kind["gates"], trace)
        _draw_saturation(by_kind["states"], trace)
    rows[-1, 0].set(xlabel="seconds", xlim=(0, trace.seconds))


def trace_height(trace: Trace) -> float:
    """Inches that `draw_trace` needs."""
    return 2.6 + (1.1 if any(word.saliency is not None for word in trace.words) else 0) + (2.2 if trace.layers else 0)


def _extent(trace: Trace) -> tuple[float, float, float, float]:
    left = trace.first_frame_seconds - trace.frame_seconds / 2
    return left, left + len(trace.frames) * trace.frame_seconds, 0, trace.frames.shape[1]


def _draw_frames(axes: Axes, trace: Trace, spans: Sequence[tuple[str, float, float]]) -> None:
    low, high = np.percentile(trace.frames, (2, 99.8))
    extent = _extent(trace)
    axes.imshow(trace.frames.T, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=low, vmax=high)
    for text, start, end in spans:
        axes.axvspan(start, end, facecolor="none", edgecolor="white", linewidth=1)
        middle = (start + end) / 2
        axes.annotate(
            text, (middle, 1), xycoords=("data", "axes fraction"), xytext=(0, 2), textcoords="offset points", ha="center"
        )
    axes.set(ylabel="mel band" if trace.layers else "frequency", yticks=[])


def _label(axes: Axes, text: str, place: tuple[float, float], coordinates: Any, size: float = 8) -> None:
    """Write a text just above a place."""
    axes.annotate(text, place, xycoords=coordinates, xytext=(0, 2), textcoords="offset points", ha="center", fontsize=size)


def _draw_saliency(axes: Axes, trace: Trace, saliencies: Sequence[NDArray[np.float32]]) -> None:
    """Red speaks for the words that were understood, blue against them; each word at its own full strength."""
    together = np.sum([one / max(1e-9, float(np.abs(one).max())) for one in saliencies], axis=0)
    strength = np.clip(np.abs(together), 0, 1) ** 0.7
    picture = np.zeros((*together.shape, 4), dtype=np.float32)
    picture[..., :3] = np.where(together[..., None] > 0, POSITIVE, NEGATIVE)
    picture[..., 3] = strength
    axes.imshow(picture.transpose(1, 0, 2), origin="lower", aspect="auto", extent=_extent(trace))
    axes.set(ylabel="saliency", yticks=[])


def _draw_emissions(axes: Axes, trace: Trace) -> None:
    """Draw the probability of blank and of the tokens that the network comes nearest to saying."""
    probabilities = np.exp(trace.log_probs)
    times = (np.arange(len(probabilities)) + 0.5) * trace.row_seconds
    blank = trace.tokens.blank_id
    axes.fill_between(times, probabilities[:, blank], color="#8b8d98", alpha=0.25, linewidth=0, step="mid", label="blank")
    strongest = [token for token in np.argsort(-probabilities.max(axis=0)) if token != blank]
    spelled = {token for word in trace.words for token in word.tokens}
    shown = sorted(spelled) or strongest[:SHOWN_TOKENS]
    for number, token in enumerate(shown):
        axes.plot(
            times, probabilities[:, token], color=COLORS[number % (len(COLORS) - 1)], linewidth=1, marker=".", markersize=3
        )
    for word in trace.words:
        for row, token in zip(word.rows, word.tokens, strict=True):
            place = (times[row], float(probabilities[row, token]))
            _label(axes, trace.tokens.symbols[token], place, "data", size=8 if trace.seconds < SPACIOUS_SECONDS else 5)
    axes.set(ylabel="emissions", ylim=(0, 1.25), yticks=[0, 1])


def _draw_gates(axes: Axes, trace: Trace) -> None:
    times = (np.arange(len(trace.layers[0].outputs)) + 0.5) * trace.step_seconds
    styles = ("-", "--", ":")
    for number, (layer, color) in enumerate(zip(trace.layers, COLORS, strict=False), start=1):
        for (gate, opened), style in zip(layer.gates.items(), styles, strict=False):
            axes.plot(times, opened.mean(axis=1), style, color=color, linewidth=1, label=f"{gate} {number}")
    axes.set(ylabel="gates open", ylim=(0, 1))
    if trace.layers[0].gates:
        axes.legend(ncols=2, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=7)


def _draw_saturation(axes: Axes, trace: Trace) -> None:
    times = (np.arange(len(trace.layers[0].outputs)) + 0.5) * trace.step_seconds
    for number, (layer, color) in enumerate(zip(trace.layers, COLORS, strict=False), start=1):
        axes.plot(times, 100 * layer.saturation, color=color, linewidth=1, label=f"layer {number}")
    axes.set(ylabel="saturated, %", ylim=(0, None))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=7)


def draw_confusions(figure: Figure, pairs: Sequence[tuple[str, str, int]], most: int = 14) -> None:
    """Draw how often words were taken for others; of many, those with the most errors."""
    said = _most_frequent([(said, n) for said, _, n in pairs], most)
    heard = _most_frequent([(heard, n) for _, heard, n in pairs], most)
    table = np.zeros((len(said), len(heard)))
    for one, other, n in pairs:
        if one in said and other in heard:
            table[said.index(one), heard.index(other)] += n
    axes = figure.subplots()
    picture = np.zeros((*table.shape, 4))
    picture[..., :3], picture[..., 3] = NEGATIVE, 0.85 * (table / table.max()) ** 0.6
    axes.imshow(picture)
    for row, column in zip(*np.nonzero(table), strict=True):
        axes.text(column, row, f"{table[row, column]:.0f}", ha="center", va="center", fontsize=8)
    axes.set_xticks(range(len(heard)), [word or "(nothing)" for word in heard], rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(said)), [word or "(nothing)" for word in said])
    axes.set(xlabel="heard", ylabel="said")


def _most_frequent(counts: Sequence[tuple[str, int]], most: int) -> list[str]:
    """List the words with the largest sums of counts in alphabetical order, the empty one last."""
    sums = Counter[str]()
    for word, n in counts:
        sums[word] += n
    return sorted((word for word, _ in sums.most_common(most)), key=lambda word: (not word, word))
