"""Do training, streaming, export and quantization lose words? The same clips heard in four ways, one step further each time.

Torch hears whole clips, torch hears them chunk by chunk, the float file does, and each quantized file does. What differs
between two neighbours is what the step between them did: streaming, export, quantization. All ways decode a clip as one
utterance. Of phones the best path is compared, and the words that the model's lexicon makes of the same rows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from edgeseq.data.manifest import find_data, read_manifest
from edgeseq.decoding.decoder import Decoder
from edgeseq.errors import ExportError, ManifestError
from edgeseq.evaluation.evaluate import Comparison, Heard, Report, compare_heard, compare_texts, hear, report_on
from edgeseq.evaluation.reference_clips import Clip, single_clips
from edgeseq.export.beside import link_into
from edgeseq.export.torch_network import TorchNetwork
from edgeseq.model.metadata import ModelMetadata
from edgeseq.model.network import Network
from edgeseq.stream.recognizer import Recognizer, usual_decoder
from edgeseq.tokens.table import TokenTable
from edgeseq.training.phone_errors import phone_errors, phones_of, pronunciations_of_text
from edgeseq.training.recipe import Recipe
from edgeseq.training.sequence_model import SequenceModel
from edgeseq.training.valid import collapse

WHOLE, STREAMED = "torch_whole", "torch_streamed"
FLOAT = "float32"
ALWAYS_ALLOWED = 1
"""So many words or phones may differ whatever the bound: of few clips each is many percent."""

RATES = {"word": "wer", "phone": "per"}

FAULT = "This is a fault of edgeseq or onnxruntime; please report it with the recipe."
ADVICE = {"streaming": FAULT, "export": FAULT}
ADVICE_ON_QUANTIZATION = "Train longer or with quantization in training, or write only the float file: --bits 32."

Progress = Callable[[str, int, int], None]
"""Called with the way, the clips heard so and those to hear."""


class NotProvenError(ExportError):
    """The error rates differ by more than the recipe's bound."""

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
class Tally:
    """Errors of one kind, words or phones, in each way: the `Heard` of the same clips, by way."""

    unit: str
    heard: Mapping[str, Sequence[Heard]] = field(repr=False)

    @property
    def total(self) -> int:
        """Count the words or phones of the references; of phones, those of the whole clips' nearest pronunciations."""
        return sum(one.n_words for one in self.heard[WHOLE])

    def errors(self, way: str) -> int:
        """Count those that a way got wrong."""
        return sum(one.errors for one in self.heard[way])

    def rate(self, way: str) -> float | None:
        """Those wrong, in percent; None where the references hold none."""
        return 100 * self.errors(way) / self.total if self.total else None

    @property
    def difference(self) -> int:
        """Errors between the best way and the worst."""
        errors = [self.errors(way) for way in self.heard]
        return max(errors) - min(errors)

    @property
    def steps(self) -> list[Step]:
        """Compare each way with the one that it goes on from; quantized files all go on from the float file."""
        pairs = [("streaming", WHOLE, STREAMED), ("export", STREAMED, FLOAT)]
        pairs += [(f"quantization ({way})", FLOAT, way) for way in self.heard if way not in (WHOLE, STREAMED, FLOAT)]
        return [Step(*pair, compare_heard(self.heard[pair[2]], self.heard[pair[1]])) for pair in pairs if pair[2] in self.heard]

    def allows(self, most_difference: float) -> bool:
        """Whether the rates differ by at most so many percent of the references, or by a single error."""
        return self.difference <= max(ALWAYS_ALLOWED, most_difference / 100 * self.total + 1e-9)

    def to_dict(self) -> dict[str, Any]:
        """Give the figures; rates as fractions, no times."""
        rates = {way: self.rate(way) for way in self.heard}
        return {
            f"{self.unit}s": self.total,
            RATES[self.unit]: {way: None if rate is None else round(rate / 100, 5) for way, rate in rates.items()},
            "errors": {way: self.errors(way) for way in self.heard},
            "steps": {step.name: step.comparison.to_dict() for step in self.steps},
        }

    def to_text(self) -> str:
        """Give the figures as a table."""
        lines = [f"{'':16}{f'{self.unit}s wrong':>12}{'of':>8}"]
        for way in self.heard:
            rate = self.rate(way)
            percent = f"{'-':>12}" if rate is None else f"{rate:>10.2f} %"
            lines.append(f"{way:16}{percent}{self.total:>8,}  ({self.errors(way):,})")
        for step in self.steps:
            low, high = step.comparison.ci95
            net = step.comparison.net_extra_errors
            lines.append(f"{step.name}: net extra errors {net:+d} (95 % interval {low:+.1f} to {high:+.1f})")
        return "\n".join(lines)


@dataclass(frozen=True)
class Proof:
    """What was made of the same clips in each way, in the order of `WHOLE`, `STREAMED`, `float32`, `int8`, ..."""

    manifests: tuple[str, ...]
    words: Tally
    phones: Tally | None = None
    """where tokens are phones; of recordings whose words the lexicon has"""
    reports: Mapping[str, Report] = field(default_factory=dict, repr=False)
    """of words, with times, of the ways that stream"""

    @property
    def tallies(self) -> list[Tally]:
        """What was counted, the surest first."""
        return [self.words] if self.phones is None else [self.phones, self.words]

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as model files keep them and `edgeseq prove --json` prints them; no times, rates as fractions."""
        phones = {} if self.phones is None else {"phone_figures": self.phones.to_dict()}
        return {"manifests": list(self.manifests), **self.words.to_dict(), **phones}

    def to_text(self) -> str:
        """Give the figures as tables."""
        return "\n".join(tally.to_text() for tally in self.tallies)


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
            found[name] = single_clips(read_manifest(find_data(name), allow_empty_text=True))
        except ManifestError as fault:
            missing = f"the recipe's validation recordings are not here: {str(fault).splitlines()[0]}"
    return Validation(tuple(found), tuple(clip for clips in found.values() for clip in clips), missing)


def prove(
    model: SequenceModel,
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
    words, phones = {}, {}
    words[WHOLE], phones[WHOLE] = hear_whole(model, metadata, clips, on_progress)
    with TemporaryDirectory(prefix="edgeseq-proof-") as folder:
        link_into(Path(folder), metadata.companion_files)
        networks: dict[str, Network] = {STREAMED: TorchNetwork(model, metadata)}
        for way, content in graphs.items():
            path = Path(folder) / f"{way}.onnx"
            path.write_bytes(content)
            networks[way] = Network(path)
    for way, network in networks.items():
        words[way], phones[way] = hear_streamed(network, clips, way, on_progress)
    reports = {way: report_on(words[way], ()) for way in networks}
    counts_phones = metadata.token_table.kind == "phones"
    return Proof(tuple(manifests), Tally("word", words), Tally("phone", phones) if counts_phones else None, reports)


@torch.inference_mode()
def hear_whole(
    model: SequenceModel,
    metadata: ModelMetadata,
    clips: Sequence[Clip],
    on_progress: Progress = lambda way, done, total: None,
) -> tuple[list[Heard], list[Heard]]:
    """Hear each clip in one piece, with as much silence behind it as a stream's flush has, and decode it as streams are.

    Returns what was made of each clip as words, and as phones.
    """
    rate, decoder = metadata.sample_rate, usual_decoder(metadata)
    heard, phones = [], []
    for n_done, clip in enumerate(clips, start=1):
        samples = clip.read(rate)
        n_rows = math.ceil((len(samples) + round(metadata.flush_seconds * rate)) / metadata.step_samples)
        n_steps = math.ceil(n_rows / model.head.rows_per_step)
        audio = torch.zeros(1, n_steps * model.head.rows_per_step * metadata.step_samples)
        audio[0, : len(samples)] = torch.from_numpy(samples)
        began = time.perf_counter()
        log_probs = model.step(audio, model.init_state(1))[0][0, :n_rows].numpy()
        hypothesis = decoder.final(decoder.step(log_probs, decoder.init_state()))
        text = "" if hypothesis is None else hypothesis.text
        heard.append(compare_texts(clip.text, text, len(samples) / rate, time.perf_counter() - began))
        phones.append(compare_phones(heard[-1], log_probs, metadata.token_table))
        on_progress(WHOLE, n_done, len(clips))
    return heard, phones


def hear_streamed(
    network: Network, clips: Sequence[Clip], way: str, on_progress: Progress = lambda way, done, total: None
) -> tuple[list[Heard], list[Heard]]:
    """Hear each clip chunk by chunk, as one utterance; returns what was made of it as words, and as phones."""
    decoder = KeepsRows(usual_decoder(network.metadata))
    recognizer = Recognizer(network, decoder, rules=())
    heard, phones = [], []
    for n_done, clip in enumerate(clips, start=1):
        decoder.rows = []
        heard.append(hear(recognizer, clip))
        log_probs = np.concatenate([np.zeros((0, len(network.metadata.tokens)), dtype=np.float32), *decoder.rows])
        phones.append(compare_phones(heard[-1], log_probs, network.metadata.token_table))
        on_progress(way, n_done, len(clips))
    return heard, phones


class KeepsRows:
    """A decoder that also keeps the rows it takes, of one stream."""

    def __init__(self, decoder: Decoder[Any]) -> None:
        """Decode as `decoder` does."""
        self._decoder = decoder
        self.rows: list[npt.NDArray[np.float32]] = []

    def step(self, log_probs: npt.NDArray[np.float32], state: Any) -> Any:
        """Take the next rows, and keep them."""
        self.rows.append(log_probs)
        return self._decoder.step(log_probs, state)

    def __getattr__(self, name: str) -> Any:
        """Do all else that a decoder does."""
        return getattr(self._decoder, name)


def compare_phones(heard: Heard, log_probs: npt.NDArray[np.float32], tokens: TokenTable) -> Heard:
    """Count the phones of a clip that were not understood, in place of its words.

    None are counted where tokens are no phones, or where the lexicon lacks a word of the clip.
    """
    pronounced = pronunciations_of_text(heard.reference, tokens) if tokens.kind == "phones" else None
    if pronounced is None:
        return replace(heard, errors=0, n_words=0, edits=())
    phones = phones_of(collapse(log_probs, tokens.blank_id), tokens)
    errors, n_phones = phone_errors(pronounced, phones)
    return replace(heard, hypothesis=" ".join(phones), errors=errors, n_words=n_phones, edits=())


def find_difference(proof: Proof, most_difference: float) -> str:
    """Say which step changed most, where the rates of words or phones differ by more than the bound; "" where none do."""
    for tally in proof.tallies:
        if not tally.allows(most_difference):
            broken = max(tally.steps, key=lambda step: abs(step.comparison.net_extra_errors))
            before, after, unit = broken.before, broken.after, tally.unit
            counts = f"{tally.errors(before):,} are wrong before it ({before}) and {tally.errors(after):,} after it ({after})"
            return (
                f"{broken.name} changed the {unit}s. Of {tally.total:,} {unit}s {counts}; all ways may differ by "
                f"{most_difference:g} % of the {unit}s (export.most_difference)."
            )
    return ""


def refuse_difference(proof: Proof, most_difference: float, name: str) -> None:
    """Raise NotProvenError, which names the step that changed most, if the rates differ by more than the bound."""
    difference = find_difference(proof, most_difference)
    if not difference:
        return
    table = "".join(f"    {line}\n" for line in proof.to_text().splitlines())
    step = difference.partition(" changed ")[0]
    raise NotProvenError(
        f"{name} is not released: {difference}\n{table}"
        f"  Nothing was written. {ADVICE.get(step, ADVICE_ON_QUANTIZATION)}\n"
        "  To have the files all the same, marked as unproven: edgeseq export --unproven.",
        proof,
    )
