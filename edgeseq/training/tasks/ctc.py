"""Words, by connectionist temporal classification (Graves et al. 2006): tokens in order, not where they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import ctc_loss

from edgeseq.data.manifest import Recording
from edgeseq.decoding.ctc import rows_needed
from edgeseq.evaluation.clip_results import ClipResult
from edgeseq.evaluation.evaluate import compare_texts
from edgeseq.evaluation.reference_clips import Clip
from edgeseq.model.metadata import FORMATS, CtcMetadata, ModelMetadata
from edgeseq.stream.recognizer import usual_decoder
from edgeseq.tokens.table import TokenTable
from edgeseq.training.clips import ClipReader
from edgeseq.training.flush import measure_flush
from edgeseq.training.manifest_index import ManifestIndex
from edgeseq.training.phone_errors import phone_errors, phones_of, pronunciations_of_text
from edgeseq.training.recipe import Recipe, TaskRecipe
from edgeseq.training.resuming import token_changes
from edgeseq.training.tasks.task import PlacedClip, Rows
from edgeseq.training.tokens import make_tokens
from edgeseq.training.valid import WordValidator, collapse

TEXT_NORMALIZATION = "NFC, lower case, single spaces"


class Settings(TaskRecipe):
    """Nothing of its own: `tokens` of a recipe says what is written."""


class Task:
    """Rows of log-probabilities over tokens, one of them blank."""

    reader = "ctc"
    activation = "log_softmax"

    def __init__(self, tokens: TokenTable, seconds_per_token: float = 0.0) -> None:
        """Write `tokens`; recordings said faster than `seconds_per_token` are left out."""
        self.tokens, self.seconds_per_token = tokens, seconds_per_token

    @classmethod
    def prepare(cls, recipe: Recipe, manifests: Sequence[ManifestIndex]) -> Task:
        """Make the tokens of the texts."""
        tokens = make_tokens(recipe.tokens, (text for manifest in manifests for text in manifest.texts()), recipe.language)
        return cls(tokens, recipe.data.min_rows_per_token * recipe.row_units / recipe.frontend.sample_rate)

    @classmethod
    def restore(cls, recipe: Recipe, details: Mapping[str, Any]) -> Task:
        """Read what `details` gave."""
        tokens = TokenTable.from_details(details["tokens"], details.get("token_details", {}))
        return cls(replace(tokens, language=recipe.language))

    @property
    def details(self) -> dict[str, Any]:
        """The symbols, and how words are spelled by them."""
        more = {"token_details": self.tokens.details} if self.tokens.details else {}
        return {"tokens": list(self.tokens.symbols), **more}

    @property
    def symbols(self) -> Sequence[str]:
        """What each output stands for."""
        return self.tokens.symbols

    @property
    def n_outputs(self) -> int:
        """Count the tokens."""
        return len(self.tokens)

    def describe(self) -> str:
        """List the tokens."""
        return f"{len(self.tokens)} tokens: {' '.join(self.tokens.symbols)}"

    def changes(self, wanted: Task) -> list[str]:
        """Say in what the tokens differ."""
        return [f"tokens: {change}" for change in token_changes(self.tokens, wanted.tokens)]

    def accepts(self, recording: Recording) -> bool:
        """Whether there is a row for each token. Raises ManifestError for a text that cannot be spelled."""
        return recording.duration >= self.seconds_per_token * rows_needed(self.tokens.encode(recording.text))

    def why_none(self) -> str:
        """Say what keeps all recordings from being used."""
        return (
            f"every clip is said faster than {self.seconds_per_token:.3f} s a token.\n"
            "  Lower data.min_rows_per_token, or network.subsampling."
        )

    def target(self, clips: Sequence[PlacedClip], _n_rows: int) -> list[int]:
        """Give the token ids of all that is said in a row."""
        return [token for clip in clips for token in self.tokens.encode(clip.recording.text)]

    def count(self, target: list[int]) -> int:
        """Count the tokens."""
        return len(target)

    def collate(self, targets: Sequence[list[int]]) -> dict[str, Tensor]:
        """Put token ids one after the other, int64 `[sum(lengths)]`, with their `lengths` `[n_rows]`."""
        ids = [token for target in targets for token in target]
        lengths = [len(target) for target in targets]
        return {"ids": torch.tensor(ids, dtype=torch.int64), "lengths": torch.tensor(lengths, dtype=torch.int64)}

    def loss(self, rows: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Sum the negative natural-log likelihoods of all rows' texts, given `[batch, n_rows, n_tokens]`."""
        lengths = targets["lengths"].cpu()  # where ctc_loss reads them
        return ctc_loss(
            rows.transpose(0, 1),  # CTC wants time first
            targets["ids"],
            lengths.new_full((len(lengths),), rows.shape[1]),
            lengths,
            blank=self.tokens.blank_id,
            reduction="sum",
            zero_infinity=True,  # rows whose text is too long for their audio teach nothing
        )

    def validator(self, recipe: Recipe, valid: Mapping[str, Sequence[Recording]], reader: ClipReader) -> WordValidator:
        """Measure words, and phones where tokens are phones."""
        return WordValidator(recipe, self.tokens, valid, reader)

    def flush_seconds(self, trained: Any) -> float:
        """Measure after how much silence the last token is out."""
        return measure_flush(trained)

    def metadata(self, trained: Any, common: Mapping[str, Any]) -> ModelMetadata:
        """Say what a file's tokens are and how its words are spelled and searched for."""
        recipe, files, tokens = trained.recipe, trained.companion_files, self.tokens
        in_a_file = "lexicon" in files and tokens.kind == "phones"
        return CtcMetadata(
            **common,
            format=FORMATS[tokens.kind],
            sample_rate=recipe.frontend.sample_rate,
            chunk_samples=recipe.chunk_units,
            hop_samples=recipe.frontend.hop_samples,
            subsampling=recipe.network.subsampling // recipe.network.rows_per_step,
            tokens=tokens.symbols,
            token_details={"kind": "phones"} if in_a_file else tokens.details,
            blank_id=tokens.blank_id,
            text_normalization=TEXT_NORMALIZATION,
            **trained.measured,
        )

    def judge(self, metadata: ModelMetadata) -> WordJudge:
        """Compare words, and phones where tokens are phones."""
        return WordJudge(CtcMetadata.of(metadata))


class WordJudge:
    """Decodes a clip as one utterance and counts what was not understood."""

    def __init__(self, metadata: CtcMetadata) -> None:
        """Decode as streams of such a model are."""
        self.tokens, self.decoder = metadata.token_table, usual_decoder(metadata)
        self.units = ("phone", "word") if self.tokens.kind == "phones" else ("word",)

    def __call__(self, clip: Clip, rows: Rows, seconds: float) -> list[ClipResult]:
        """Count phones, where tokens are phones, and words."""
        hypothesis = self.decoder.final(self.decoder.step(rows, self.decoder.init_state()))
        words = compare_texts(clip.text, "" if hypothesis is None else hypothesis.text, seconds, 0.0, self.tokens.language)
        return [compare_phones(words, rows, self.tokens), words] if len(self.units) > 1 else [words]


def compare_phones(heard: ClipResult, log_probs: Rows, tokens: TokenTable) -> ClipResult:
    """Count the phones of a clip that were not understood, in place of its words; none where the lexicon lacks a word."""
    pronounced = pronunciations_of_text(heard.reference, tokens)
    if pronounced is None:
        return replace(heard, errors=0, n_words=0, edits=())
    phones = phones_of(collapse(log_probs, tokens.blank_id), tokens)
    errors, n_phones = phone_errors(pronounced, phones)
    return replace(heard, hypothesis=" ".join(phones), errors=errors, n_words=n_phones, edits=())
