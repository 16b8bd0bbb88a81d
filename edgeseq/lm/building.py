"""From texts to a model: one estimate a text, mixed by weights tuned on another text, pruned to a size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeseq.errors import LanguageModelError
from edgeseq.lm.binary import file_bytes, ngram_bytes
from edgeseq.lm.corpus import read_sentences
from edgeseq.lm.kneser_ney import Estimate, estimate
from edgeseq.lm.mixture import mix, mixed_shares, weights_for
from edgeseq.lm.ngrams import SPECIAL, Level, Ngrams
from edgeseq.lm.pruning import prune_to
from edgeseq.lm.tables import Floats

Progress = Callable[[int, int], None]
"""Called with the number of sentences read, and 0 for their unknown total."""


@dataclass(frozen=True)
class Plan:
    """How a model is to be built."""

    order: int = 3
    level: Level = "word"
    prune: tuple[int, ...] = ()
    """see `estimate`"""
    vocabulary: Path | None = None
    """a file of the words that the model shall know, the first of each line; None: those of the texts"""
    tune: Path | None = None
    """text of the kind that will be spoken, which weighs the texts; None: they count as one"""
    size_mb: float | None = None
    """megabytes (10^6 bytes) of the compiled file; None: as large as it becomes"""
    bits: int = 32
    """of each number in the compiled file"""


@dataclass(frozen=True)
class BuildResult:
    """A model and what became of its texts."""

    ngrams: Ngrams
    weights: tuple[float, ...]
    """of each text; empty where they count as one"""
    fallbacks: tuple[int, ...]
    """orders whose discounts could not be estimated"""
    n_sentences: int
    n_units: int


def build(texts: Sequence[Path], plan: Plan, on_progress: Progress = lambda done, total: None) -> BuildResult:
    """Build a model. Raises LanguageModelError for texts without words, and for a size that the words alone exceed."""
    vocabulary = _vocabulary(texts, plan)
    groups = [[text] for text in texts] if plan.tune else [list(texts)]
    estimates = [_estimate(group, plan, vocabulary, on_progress) for group in groups]
    weights: tuple[float, ...] = (1.0,)
    ngrams, shares = estimates[0].ngrams, list(estimates[0].shares)
    if plan.tune and len(estimates) > 1:
        models = [one.ngrams for one in estimates]
        weights = tuple(weights_for(models, read_sentences(plan.tune, plan.level)))
        ngrams = mix(models, weights)
        shares = mixed_shares(ngrams, models, [one.shares for one in estimates], weights)
    if plan.size_mb is not None:
        ngrams = _prune(ngrams, shares, plan, plan.size_mb)
    fallbacks = sorted({order for one in estimates for order in one.fallbacks})
    n_sentences, n_units = (sum(getattr(one, name) for one in estimates) for name in ("n_sentences", "n_units"))
    return BuildResult(ngrams, weights if plan.tune else (), tuple(fallbacks), n_sentences, n_units)


def _vocabulary(texts: Sequence[Path], plan: Plan) -> list[str] | None:
    """Give the words that all models share; None where one model takes those of its text."""
    if plan.vocabulary is not None:
        words = list(dict.fromkeys(line[0] for line in read_sentences(plan.vocabulary)))
        if not words:
            raise LanguageModelError(f"{plan.vocabulary}: holds no words; wanted one a line.")
        return words
    if plan.tune is None:
        return None
    return sorted({unit for text in texts for sentence in read_sentences(text, plan.level) for unit in sentence})


def _estimate(texts: Sequence[Path], plan: Plan, vocabulary: list[str] | None, on_progress: Progress) -> Estimate:
    sentences = (sentence for text in texts for sentence in read_sentences(text, plan.level))
    return estimate(
        sentences,
        plan.order,
        plan.prune,
        on_progress,
        vocabulary=vocabulary,
    )


def _prune(ngrams: Ngrams, shares: Sequence[Floats], plan: Plan, size_mb: float) -> Ngrams:
    counts, wanted = [len(ngrams.vocabulary)] + [0] * (ngrams.order - 1), int(size_mb * 1e6)
    least = file_bytes(counts, ngrams.vocabulary, plan.bits)
    if least > wanted:
        raise LanguageModelError(
            f"{len(ngrams.vocabulary) - len(SPECIAL):,} words alone take {least / 1e6:.1f} MB; wanted at most {size_mb:g}.\n"
            "  Give a shorter --vocabulary, or a larger --size."
        )
    sizes = ngram_bytes(ngrams.order, len(ngrams.vocabulary), plan.bits)
    return prune_to(ngrams, shares, sizes, wanted - least + counts[0] * sizes[0])
