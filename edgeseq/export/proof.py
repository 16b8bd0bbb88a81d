"""Do training, streaming, export and quantization lose words? The same clips heard in four ways, one step further each time.

Torch hears whole clips, torch hears them chunk by chunk, the float file does, and each quantized file does. What differs
between two neighbours is what the step between them did: streaming, export, quantization.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from edgeseq.errors import ExportError, ManifestError
from edgeseq.evaluate import Clip, Comparison, Heard, Report, compare_heard, compare_texts, evaluate, single_clips
from edgeseq.export.beside import link_into
from edgeseq.export.torch_network import TorchNetwork
from edgeseq.manifest import find_data, read_manifest
from edgeseq.metadata import ModelMetadata
from edgeseq.network import Network
from edgeseq.recipe import Recipe
from edgeseq.recognizer import Recognizer, usual_decoder
from edgeseq.training.acoustic_model import AcousticModel

WHOLE, STREAMED = "torch_whole", "torch_streamed"
FLOAT = "float32"
ALWAYS_ALLOWED = 1
"""So many words may differ whatever the bound: of few clips each word is many percent."""

FAULT = "This is a fault of edgeseq or onnxruntime; please report it with the recipe."
ADVICE = {"streaming": FAULT, "export": FAULT}
ADVICE_ON_QUANTIZATION = "Train longer or with quantization in training, or write only the float file: --bits 32."

Progress = Callable[[str, int, int], None]
"""Called with the way, the clips heard so and those to hear."""


class NotProvenError(ExportError):
    """The four error rates differ by more than the recipe's bound."""

    def __init__(self, message: str, proof: Proof) -> None:
        """Say what broke; `proof` holds the figures."""
        super().__init__(message)
        self.proof = proof


@dataclass(frozen=True)
class Step:
    """What lies between two ways of hearing."""

    name: str
    before: str
    after: str
    comparison: Comparison


@dataclass(frozen=True)
class Proof:
    """What was made of the same clips in each way, in the order of `WHOLE`, `STREAMED`, `float32`, `int8`, ..."""

    manifests: tuple[str, ...]
    heard: Mapping[str, Sequence[Heard]] = field(repr=False)
    reports: Mapping[str, Report] = field(default_factory=dict, repr=False)
    """the same with times, of the ways that stream"""

    @property
    def words(self) -> int:
        """Count the words of the references."""
        return sum(one.n_words for one in self.heard[WHOLE])

    def errors(self, way: str) -> int:
        """Count the words that a way got wrong."""
        return sum(one.errors for one in self.heard[way])

    def rate(self, way: str) -> float:
        """Words wrong, in percent."""
        return 100 * self.errors(way) / self.words

    @property
    def difference(self) -> int:
        """Words between the best way and the worst."""
        errors = [self.errors(way) for way in self.heard]
        return max(errors) - min(errors)

    @property
    def steps(self) -> list[Step]:
        """Compare each way with the one that it goes on from; quantized files all go on from the float file."""
        pairs = [("streaming", WHOLE, STREAMED), ("export", STREAMED, FLOAT)]
        pairs += [(f"quantization ({way})", FLOAT, way) for way in self.heard if way not in (WHOLE, STREAMED, FLOAT)]
        return [Step(*pair, compare_heard(self.heard[pair[2]], self.heard[pair[1]])) for pair in pairs if pair[2] in self.heard]

    def allows(self, most_difference: float) -> bool:
        """Whether the rates differ by at most so many percent of the words, or by a single word."""
        return self.difference <= max(ALWAYS_ALLOWED, most_difference / 100 * self.words + 1e-9)

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as model files keep them and `edgeseq prove --json` prints them; no times, rates as fractions."""
        return {
            "manifests": list(self.manifests),
            "words": self.words,
            "wer": {way: round(self.rate(way) / 100, 5) for way in self.heard},
            "errors": {way: self.errors(way) for way in self.heard},
            "steps": {step.name: step.comparison.to_dict() for step in self.steps},
        }

    def to_text(self) -> str:
        """Give the figures as a table."""
        lines = [f"{'':16}{'words wrong':>12}{'of':>8}"]
        lines += [f"{way:16}{self.rate(way):>10.2f} %{self.words:>8,}  ({self.errors(way):,})" for way in self.heard]
        for step in self.steps:
            low, high = step.comparison.ci95
            net = step.comparison.net_extra_errors
            lines.append(f"{step.name}: net extra errors {net:+d} (95 % interval {low:+.1f} to {high:+.1f})")
        return "\n".join(lines)


@dataclass(frozen=True)
class Validation:
    """What exports are proven on."""

    manifests: tuple[str, ...]
    clips: tuple[Clip, ...]
    missing: str
    """why there are no clips"""


def find_validation(recipe: Recipe) -> Validation:
    """List the recordings of those manifests of the recipe's `data.valid` that are here."""
    found: dict[str, list[Clip]] = {}
    missing = "the recipe names no manifest under data.valid"
    for name in recipe.data.valid:
        try:
            found[name] = single_clips(read_manifest(find_data(name)))
        except ManifestError as fault:
            missing = f"the recipe's validation recordings are not here: {str(fault).splitlines()[0]}"
    return Validation(tuple(found), tuple(clip for clips in found.values() for clip in clips), missing)


def prove(
    model: AcousticModel,
    metadata: ModelMetadata,
    graphs: Mapping[str, bytes],
    clips: Sequence[Clip],
    manifests: Sequence[str],
    *,
    on_progress: Progress = lambda way, done, total: None,
) -> Proof:
    """Hear `clips` in all ways. `graphs` are files to be, by quantization, `float32` first; `metadata` is the float file's.

    Raises AudioError when a clip cannot be heard.
    """
    heard: dict[str, Sequence[Heard]] = {WHOLE: hear_whole(model, metadata, clips, on_progress)}
    reports: dict[str, Report] = {}
    with TemporaryDirectory(prefix="edgeseq-proof-") as folder:
        link_into(Path(folder), metadata.companion_files)
        networks: dict[str, Network] = {STREAMED: TorchNetwork(model, metadata)}
        for way, content in graphs.items():
            path = Path(folder) / f"{way}.onnx"
            path.write_bytes(content)
            networks[way] = Network(path)
    for way, network in networks.items():
        report = evaluate(Recognizer(network), clips, on_progress=partial(on_progress, way))
        reports[way], heard[way] = report, report.heard
    return Proof(tuple(manifests), heard, reports)


@torch.inference_mode()
def hear_whole(
    model: AcousticModel,
    metadata: ModelMetadata,
    clips: Sequence[Clip],
    on_progress: Progress = lambda way, done, total: None,
) -> list[Heard]:
    """Hear each clip in one piece, with as much silence behind it as a stream's flush has, and decode it as streams are."""
    rate, decoder = metadata.sample_rate, usual_decoder(metadata)
    heard = []
    for n_done, clip in enumerate(clips, start=1):
        samples = clip.read(rate)
        n_rows = math.ceil((len(samples) + round(metadata.flush_seconds * rate)) / metadata.step_samples)
        n_steps = math.ceil(n_rows / model.encoder.rows_per_step)
        audio = torch.zeros(1, n_steps * model.encoder.rows_per_step * metadata.step_samples)
        audio[0, : len(samples)] = torch.from_numpy(samples)
        began = time.perf_counter()
        log_probs, _ = model.step(audio, model.init_state(1))
        hypothesis = decoder.final(decoder.step(log_probs[0, :n_rows].numpy(), decoder.init_state()))
        text = "" if hypothesis is None else " ".join(word.word for word in hypothesis.words)
        heard.append(compare_texts(clip.text, text, len(samples) / rate, time.perf_counter() - began))
        on_progress(WHOLE, n_done, len(clips))
    return heard


def refuse_difference(proof: Proof, most_difference: float, name: str) -> None:
    """Raise NotProvenError, which names the step that changed most, if the rates differ by more than the bound."""
    if proof.allows(most_difference):
        return
    broken = max(proof.steps, key=lambda step: abs(step.comparison.net_extra_errors))
    table = "".join(f"    {line}\n" for line in proof.to_text().splitlines())
    raise NotProvenError(
        f"{name} is not released: {broken.name} changed the words. Of {proof.words:,} words {proof.errors(broken.before):,} "
        f"are wrong before it ({broken.before}) and {proof.errors(broken.after):,} after it ({broken.after}); all ways may "
        f"differ by {most_difference:g} % of the words (export.most_difference).\n{table}"
        f"  Nothing was written. {ADVICE.get(broken.name, ADVICE_ON_QUANTIZATION)}",
        proof,
    )
