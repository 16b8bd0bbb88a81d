"""What a model made of clips: errors of each, sums, and how sure they are."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from edgeseq.evaluation.intervals import wilson_interval
from edgeseq.evaluation.understanding import Meaning, Understanding, compare_meanings, understood
from edgeseq.evaluation.word_times import Span
from edgeseq.events import Event, Final, Word


@dataclass(frozen=True)
class ClipResult:
    """What a model made of one clip."""

    reference: str
    hypothesis: str
    errors: int
    """words substituted, deleted, inserted"""
    n_words: int
    """of the reference"""
    edits: tuple[tuple[str, str], ...]
    """(said, heard), "" where a word was inserted or deleted"""
    seconds: float
    """of sound"""
    compute_seconds: float
    """in step and flush, without reading and resampling"""
    chunk_ms: tuple[float, ...] = field(default=(), repr=False)
    """time of each step of 80 ms"""
    events: tuple[Event, ...] = field(default=(), repr=False)
    """all that was reported, in order"""
    spans: tuple[Span, ...] = field(default=(), repr=False)
    """when the words of the reference are said, where that is known; seconds"""
    meaning: Meaning | None = None
    """what is meant, where that is known"""

    @property
    def words(self) -> tuple[Word, ...]:
        """List the words of finals."""
        return tuple(word for event in self.events if isinstance(event, Final) for word in event.words)

    @property
    def is_right(self) -> bool:
        """Tell whether the text is the reference; where there is only a meaning, whether that was understood."""
        if self.meaning is not None and not self.reference:
            return self.meaning.is_like(understood(self.events))
        return self.hypothesis == self.reference

    @property
    def is_wordless(self) -> bool:
        """Tell whether nothing is said in the clip."""
        return not self.n_words and self.meaning is None


@dataclass(frozen=True)
class WithoutWords:
    """What was made of clips in which nothing is said."""

    clips: int
    accepted: int
    """those in which words were heard"""
    inserted: int
    """words heard in them"""

    @property
    def share(self) -> float:
        """Fraction of the clips that was accepted."""
        return self.accepted / self.clips

    @property
    def ci95(self) -> tuple[float, float]:
        """The 95 % interval of `share` ."""
        return wilson_interval(self.accepted, self.clips)

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as `edgeseq eval --json` prints them."""
        return {
            "clips": self.clips,
            "accepted": self.accepted,
            "share": round(self.share, 5),
            "ci95": [round(bound, 5) for bound in self.ci95],
            "inserted": self.inserted,
        }


@dataclass(frozen=True)
class EvalReport:
    """Figures of one model over some clips."""

    heard: tuple[ClipResult, ...] = field(repr=False)
    failed: tuple[str, ...]
    """clips that could not be heard, and why"""
    wer: float | None
    """fraction, not percent; None where the references hold no word"""
    cer: float | None
    """fraction, spaces counted; None where the references hold no letter"""
    errors: int
    words: int
    right: int
    """clips whose text is exactly the reference"""
    clips: int
    ci95: tuple[float, float] | None
    """of `wer`, by bootstrap over clips"""
    rtf: float
    """compute time by time of sound, reading and resampling excluded"""
    p99_ms: float
    """99 % of 80 ms chunks take less"""
    rss_mb: float
    """largest memory of this process so far, in 10^6 bytes"""

    @property
    def silent(self) -> int:
        """Count the clips for which nothing was reported."""
        return sum(not heard.hypothesis for heard in self.heard)

    @property
    def without_words(self) -> WithoutWords | None:
        """What was made of the clips without words; None where there are none."""
        wordless = [heard for heard in self.heard if heard.is_wordless]
        if not wordless:
            return None
        accepted = sum(bool(heard.hypothesis) for heard in wordless)
        return WithoutWords(len(wordless), accepted, sum(heard.errors for heard in wordless))

    @property
    def understanding(self) -> Understanding | None:
        """How many of the clips whose meaning is known were understood; None where there are none."""
        return compare_meanings([(one.meaning, understood(one.events)) for one in self.heard if one.meaning is not None])

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as `edgeseq eval --json` prints them."""
        digits = {"wer": 5, "cer": 5, "rtf": 5, "p99_ms": 3, "rss_mb": 1}
        keys = ("wer", "cer", "errors", "words", "right", "clips", "ci95", "rtf", "p99_ms", "rss_mb")
        figures = {key: getattr(self, key) for key in keys}
        wordless = self.without_words
        return {
            **{key: round(v, digits[key]) if key in digits and v is not None else v for key, v in figures.items()},
            "ci95": None if self.ci95 is None else [round(bound, 5) for bound in self.ci95],
            "failed": len(self.failed),
            **({} if wordless is None else {"without_words": wordless.to_dict()}),
            **({} if self.understanding is None else {"understanding": self.understanding.to_dict()}),
        }

    def confusions(self, most: int = 10) -> list[tuple[str, str, int]]:
        """List the most frequent errors: said, heard, how often."""
        counts = Counter(edit for heard in self.heard for edit in heard.edits)
        return [(said, heard, n) for (said, heard), n in counts.most_common(most)]


@dataclass(frozen=True)
class Comparison:
    """Two models over the same clips."""

    errors: int
    """of the model"""
    other_errors: int
    """of the one it is compared with"""
    words: int
    ci95: tuple[float, float]
    """of the net extra errors, by paired bootstrap over clips"""

    @property
    def net_extra_errors(self) -> int:
        """Errors that the model makes beyond the other's; negative where it is better."""
        return self.errors - self.other_errors

    def to_dict(self) -> dict[str, Any]:
        """Give the figures as `edgeseq eval --compare --json` prints them."""
        return {
            "errors": self.errors,
            "other_errors": self.other_errors,
            "words": self.words,
            "net_extra_errors": self.net_extra_errors,
            "net_extra_ci95": [round(bound, 2) for bound in self.ci95],
        }
