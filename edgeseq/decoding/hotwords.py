"""Hotwords: names and phrases that are recognized more easily, each with a boost.

The phrases form an automaton over letters, or over phones where those are the tokens (Aho and Corasick 1975); a token of
several letters takes several steps. While a phrase is being said, each letter earns its boost at
once, so that the search keeps it; when the phrase breaks off, what was earned is taken back; when it ends at the end of a word,
it stays. So only whole phrases change what is heard.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from edgeseq.decoding.lexicon import read_lines, report_faults
from edgeseq.errors import WordListError
from edgeseq.tokens.table import WORD_START, TokenTable, normalize_text

DEFAULT_BOOST = 1.5
"""Nats a letter: each makes the phrase e^1.5 = 4.5 times likelier than it was heard."""
LARGEST_BOOST = 20.0
MOST_PHRASES = 100_000

ROOT = 0


@dataclass(frozen=True)
class Hotword:
    """A phrase and how much likelier to take it."""

    phrase: str
    """in the form that tokens spell: lower case, single spaces"""
    boost: float = DEFAULT_BOOST
    """nats a letter, above 0"""


class Hotwords:
    """An automaton of phrases. Its nodes are numbers, so a stream's state can hold one. Read-only."""

    def __init__(self, hotwords: Iterable[Hotword], tokens: TokenTable) -> None:
        """Build it. Raises WordListError that lists empty, repeated and unspeakable phrases and boosts out of range."""
        chosen = list(hotwords)
        spelled = _spelled(chosen, tokens)
        self.hotwords = tuple(chosen)
        self._units = tokens.units
        self._children: list[dict[str, int]] = [{}]
        self._fallback = [ROOT]
        self._earned = [0.0]
        self._kept = [0.0]
        for hotword, ways in zip(chosen, spelled, strict=True):
            for units in ways:
                self._add(units, hotword.boost)
        self._link()
        content = "\n".join(sorted(f"{hotword.phrase}\t{hotword.boost}" for hotword in chosen))
        self.identity = sha256(content.encode()).hexdigest()[:8]

    def __len__(self) -> int:
        """Count the nodes."""
        return len(self._children)

    def step(self, node: int, token: int) -> tuple[float, int]:
        """Take a token; give what it adds to the log-probability (nats) and the next node."""
        added = 0.0
        for unit in self._units[token]:
            after = node
            while unit not in self._children[after] and after != ROOT:
                after = self._fallback[after]
            after = self._children[after].get(unit, ROOT)
            kept = self._kept[node] if unit == WORD_START else 0.0
            added += self._earned[after] - self._earned[node] + kept
            node = after
        return added, node

    def end(self, node: int) -> float:
        """Give what the end of the utterance adds: phrases that it completes stay, one begun is taken back."""
        return self._kept[node] - self._earned[node]

    def _add(self, units: Sequence[str], boost: float) -> None:
        """Lay a phrase from the root; an unfinished phrase has earned as the best of those it may become."""
        node, earned = ROOT, 0.0
        for unit in units:
            if unit not in self._children[node]:
                self._children[node][unit] = len(self._children)
                self._children.append({})
                self._fallback.append(ROOT)
                self._earned.append(0.0)
                self._kept.append(0.0)
            node = self._children[node][unit]
            earned += boost * (unit != WORD_START)
            self._earned[node] = max(self._earned[node], earned)
        self._kept[node] = max(self._kept[node], earned)

    def _link(self) -> None:
        """Bind each node to the longest other beginning that it ends with, the shorter nodes first."""
        queue = deque(self._children[ROOT].values())
        while queue:
            node = queue.popleft()
            for unit, child in self._children[node].items():
                fallback = self._fallback[node]
                while unit not in self._children[fallback] and fallback != ROOT:
                    fallback = self._fallback[fallback]
                self._fallback[child] = self._children[fallback].get(unit, ROOT)
                self._kept[child] += self._kept[self._fallback[child]]
                queue.append(child)


def _spelled(hotwords: list[Hotword], tokens: TokenTable) -> list[list[tuple[str, ...]]]:
    """Give the units of each phrase, in each way in which it is pronounced."""
    if len(hotwords) > MOST_PHRASES:
        raise WordListError(f"{len(hotwords):,} hotwords; wanted at most {MOST_PHRASES:,}.\n  Make a language model of them.")
    faults: list[str] = []
    spelled: list[list[tuple[str, ...]]] = []
    seen: set[str] = set()
    for hotword in hotwords:
        if not hotword.phrase.strip():
            faults.append(f"'{hotword.phrase}': no words")
        elif hotword.phrase in seen:
            faults.append(f"'{hotword.phrase}': given twice")
        if not 0 < hotword.boost <= LARGEST_BOOST:
            faults.append(f"'{hotword.phrase}': boost {hotword.boost}; wanted above 0, at most {LARGEST_BOOST:g}")
        seen.add(hotword.phrase)
        unknown = tokens.unknown(hotword.phrase)
        if unknown:
            missing = "the lexicon lacks" if tokens.kind == "phones" else "no token spells"
            faults.append(f"'{hotword.phrase}': {missing} {', '.join(map(repr, unknown))}")
        else:
            spelled.append(list(tokens.ways(hotword.phrase)))
    report_faults(faults, "wanted hotwords such as 'siobhan' or 'siobhan:2', each once.")
    return spelled


def parse_hotword(text: str, language: str = "") -> Hotword:
    """Read `phrase` or `phrase:boost`, in `language`.

    >>> parse_hotword("Siobhan : 2.5"), parse_hotword("new york").boost
    (Hotword(phrase='siobhan', boost=2.5), 1.5)
    """
    phrase, colon, boost = text.rpartition(":")
    if not colon:
        return Hotword(normalize_text(text, language))
    try:
        return Hotword(normalize_text(phrase, language), float(boost))
    except ValueError as fault:
        raise WordListError(f"'{text}': the boost is '{boost.strip()}'; wanted a number of nats a letter: name:1.5") from fault


def read_hotwords(path: Path, language: str = "") -> list[Hotword]:
    """Read a file with a hotword a line; `#` begins a comment. Raises WordListError that names the lines at fault."""
    lines = ((number, line.partition("#")[0].strip()) for number, line in enumerate(read_lines(path), start=1))
    hotwords: dict[str, tuple[int, Hotword]] = {}
    faults: list[str] = []
    for number, line in lines:
        if not line:
            continue
        try:
            hotword = parse_hotword(line, language)
        except WordListError as fault:
            faults.append(f"{path}:{number}: {fault}")
            continue
        if hotword.phrase in hotwords:
            faults.append(f"{path}:{number}: '{hotword.phrase}' is in line {hotwords[hotword.phrase][0]} already")
        elif not hotword.phrase:
            faults.append(f"{path}:{number}: a boost without a phrase")
        hotwords.setdefault(hotword.phrase, (number, hotword))
    report_faults(faults, "wanted one phrase per line, and perhaps its boost: siobhan:2")
    if not hotwords:
        raise WordListError(f"{path}: no hotwords in it; wanted one phrase per line.\n  Leave --hotwords out to have none.")
    return [hotword for _, hotword in hotwords.values()]
