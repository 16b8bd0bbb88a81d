"""How the words of texts sound: by pronouncing dictionaries, or as espeak-ng would say them."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from edgeseq.decoding.lexicon import lexicon_entries, words_by_count
from edgeseq.errors import MissingExtraError, UsageError, WordListError
from edgeseq.lm.corpus import read_sentences
from edgeseq.tokens.pronunciations import Phones, pronunciations_of

BATCH = 200
"""Words that one run of espeak-ng is given."""
SECONDS = 60.0
"""Longest that a run may take before it is taken for stuck."""

STRESS = re.compile(r"[ˈˌ]|(?<=[A-Z])[012]$")
"""In a phone: IPA's marks, and CMUdict's digits behind a vowel."""
SWITCH = re.compile(r"\([\w-]+\)")
"""espeak-ng says a foreign word in its own language: `(en) ... (fr)`."""

Entry = tuple[str, Phones]
Progress = Callable[[int, int], None]
Guess = Callable[[Sequence[str], Sequence[Entry]], Mapping[str, tuple[Phones, ...]]]
"""Takes words, and the entries of dictionaries; gives the words' pronunciations, none for one that it cannot pronounce."""


def count_words(texts: Iterable[Path]) -> Counter[str]:
    """Count the words of texts and manifests; see `read_sentences`."""
    return Counter(word for path in texts for sentence in read_sentences(path) for word in sentence)


def without_stress(phones: Phones) -> Phones:
    """Leave out how strongly phones are said.

    >>> without_stress(("T", "IY1")), without_stress(("t", "ˈiː"))
    (('T', 'IY'), ('t', 'iː'))
    """
    return tuple(kept for phone in phones if (kept := STRESS.sub("", phone)))


def read_dictionaries(dictionaries: Iterable[Path], *, stress: bool = False) -> dict[str, tuple[Phones, ...]]:
    """Read dictionaries, packed or in lines; each word's pronunciations are those of the first that has it."""
    found: dict[str, tuple[Phones, ...]] = {}
    for path in dictionaries:
        entries = [(word, phones if stress else without_stress(phones)) for _, word, phones in lexicon_entries(path)]
        found = pronunciations_of(entry for entry in entries if entry[1]) | found
    return found


def look_up(
    words: Mapping[str, int], known: Mapping[str, tuple[Phones, ...]], guess: Guess | None = None
) -> tuple[list[Entry], list[str]]:
    """Take each word's pronunciations from dictionaries, and guess those that they lack, words in order of the alphabet.

    Returns them and the words that were guessed. Raises WordListError that lists words that have none, those first that are
    said most often.
    """
    missing = sorted(word for word in words if word not in known)
    if missing and guess is None:
        advice = "Let them be guessed with --guess letters; write"
        _refuse_missing(missing, words, "the dictionaries lack", advice)
    guessed = guess(missing, [(word, way) for word, ways in known.items() for way in ways]) if missing and guess else {}
    silent = [word for word in missing if not guessed.get(word)]
    _refuse_missing(silent, words, "nothing can be guessed of")
    found = {**guessed, **{word: known[word] for word in words if word in known}}
    return [(word, phones) for word in sorted(words) for phones in found[word]], missing


def speak(
    words: Mapping[str, int], language: str, *, stress: bool = False, on_progress: Progress = lambda done, total: None
) -> list[Entry]:
    """Let espeak-ng pronounce each word, in IPA, words in order of the alphabet.

    Raises MissingExtraError where it is not installed, UsageError for a language that it does not know, WordListError that
    lists words of which it says nothing.
    """
    if not shutil.which("espeak-ng"):
        raise MissingExtraError("Pronouncing words needs espeak-ng, which is not installed: sudo apt install espeak-ng")
    ordered = sorted(words)
    entries: list[Entry] = []
    for first in range(0, len(ordered), BATCH):
        batch = ordered[first : first + BATCH]
        spoken = _speak_together(batch, language) or [_phones(_run_espeak([word], language)) for word in batch]
        entries += zip(batch, spoken if stress else map(without_stress, spoken), strict=True)
        on_progress(len(entries), len(ordered))
    _refuse_missing([word for word, phones in entries if not phones], words, "espeak-ng says nothing to")
    return entries


def _speak_together(words: Sequence[str], language: str) -> list[Phones]:
    """Pronounce words, a paragraph each; nothing where lines and words do not match, as with `e.g.`."""
    lines = [line for line in _run_espeak(words, language).splitlines() if line.strip()]
    return [_phones(line) for line in lines] if len(lines) == len(words) else []


def _phones(line: str) -> Phones:
    return tuple(SWITCH.sub(" ", line).split())


def _run_espeak(words: Sequence[str], language: str) -> str:
    command = ["espeak-ng", "-q", "--ipa", "--sep= ", "-v", language, "--stdin"]
    text = "".join(f"{word}\n\n" for word in words)
    try:
        done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as fault:
        raise WordListError(f"espeak-ng hangs with {words[0]!r} and what follows; leave such words out.") from fault
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise UsageError(f"espeak-ng -v {language}: {said}\n  `espeak-ng --voices` lists the languages it knows.")
    return done.stdout.decode(errors="replace")


def _refuse_missing(missing: Sequence[str], words: Mapping[str, int], what: str, advice: str = "Write") -> None:
    if missing:
        raise WordListError(
            f"{what} {len(missing):,} words:{words_by_count(missing, words)}\n"
            f"  {advice} them with their phones into a file, and name that with --dictionary, too; "
            "or leave them out of the text."
        )
