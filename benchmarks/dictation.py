"""What dictation over a large lexicon costs and how well it finds words, on simulated rows (see simulated_rows.py).

    python -m benchmarks.dictation --lexicon cmudict.dict --lm words.lm --sentences held-out.txt --words 20000 40000 60000

Each number of words runs in a process of its own. The figures: seconds until the search is ready, its memory, real-time factor
(all processor time of the search, row by row with a partial every second row, and the final), WER. With `--wrong 0` every phone
is right; the remaining errors are words that the lexicon lacks or the language model cannot tell apart.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

from benchmarks.simulated_rows import Rows, Simulator
from edgeseq.bench.processes import reason, rss_mb
from edgeseq.decoding.dictation import DictationDecoder, DictationOptions
from edgeseq.decoding.fusion import Weights
from edgeseq.decoding.lexicon_tree import LexiconTree, phone_entries
from edgeseq.decoding.word_ends import WordEnds
from edgeseq.errors import EdgeseqError
from edgeseq.evaluation.evaluate import compare_texts
from edgeseq.lm.model import LanguageModel
from edgeseq.tokens.pronunciations import Phones, pronunciations_of, read_entries
from edgeseq.tokens.table import TokenTable, normalize_text

STEP_SECONDS = 0.04
STRESS = re.compile(r"\d$")
"""Behind CMUdict's vowels."""
SEED = 0

Lexicon = dict[str, tuple[Phones, ...]]


@dataclass(frozen=True)
class DictationFigures:
    """What the search over a lexicon of some size was like."""

    words: int
    """of the lexicon"""
    nodes: int
    ready_seconds: float
    """processor time from pronunciations in memory to a search"""
    ready_mb: float
    """memory that took, 10^6 bytes"""
    used_mb: float
    """memory since, all that is remembered included"""
    sentences: int
    sound_seconds: float
    blank_rows: float
    """share of rows that are taken for nothing but blank"""
    rtf: float
    row_us: float
    """processor time of a row that is not, microseconds"""
    final_ms: float
    """of a final"""
    wer: float
    """fraction"""

    def to_line(self) -> str:
        """Give a line for people."""
        return (
            f"{self.words:7,} words  {self.nodes:8,} nodes  ready {self.ready_seconds:5.2f} s {self.ready_mb:5.1f} MB  "
            f"then {self.used_mb:5.1f} MB  real-time factor {self.rtf:.4f}  {self.row_us:5.0f} us a row with sound  "
            f"final {self.final_ms:4.1f} ms  {100 * self.wer:5.2f} % words wrong"
        )


def read_lexicon(path: Path) -> Lexicon:
    """Read pronunciations as CMUdict writes them, without stress."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return pronunciations_of(
        (word, tuple(STRESS.sub("", phone) for phone in phones)) for _, word, phones in read_entries(lines)
    )


def likeliest(lexicon: Lexicon, lm: LanguageModel, n: int) -> Lexicon:
    """Take the words that the language model thinks likeliest, and then such as it lacks, in the lexicon's order."""
    scores, numbers = lm.unigrams(), lm.word_ids(list(lexicon))
    known = numbers != lm.unknown_id
    order = sorted(range(len(numbers)), key=lambda place: (not known[place], -scores[numbers[place]], place))
    chosen = set(order[:n])
    return {word: ways for place, (word, ways) in enumerate(lexicon.items()) if place in chosen}


def spoken(sentences: Iterable[str], lexicon: Lexicon, most: int) -> list[str]:
    """Take the first sentences whose words the lexicon has."""
    normal = (normalize_text(sentence) for sentence in sentences)
    return list(islice((text for text in normal if text and all(word in lexicon for word in text.split())), most))


def simulate(sentences: Sequence[str], tokens: TokenTable, wrong: float, separated: bool) -> list[Rows]:
    """Give rows for each sentence."""
    simulator = Simulator(tokens.symbols, tokens.blank_id, tokens.word_start_id, wrong=wrong, separated=separated, seed=SEED)
    said = ([tokens.pronunciations[word][0] for word in sentence.split()] for sentence in sentences)
    return [simulator.rows([[tokens.ids[phone] for phone in phones] for phones in words]) for words in said]


def bench_dictation(
    tokens: TokenTable,
    lm: LanguageModel,
    sentences: Sequence[str],
    utterances: Sequence[Rows],
    weights: Weights,
    options: DictationOptions,
) -> DictationFigures:
    """Make a search for the words of `tokens`, and decode the utterances."""
    entries = phone_entries(tokens)
    memory, began = rss_mb(), time.process_time()
    ends = WordEnds(LexiconTree(entries), lm, weights, tokens.word_start_id)
    decoder = DictationDecoder(tokens, STEP_SECONDS, ends, options)
    ready, ready_mb = time.process_time() - began, rss_mb()
    texts, took, finals = decode_live(decoder, utterances)
    heard = [compare_texts(said, text, 0.0, 0.0) for said, text in zip(sentences, texts, strict=True)]
    n_rows = sum(map(len, utterances))
    n_blank = sum(int((rows[:, tokens.blank_id] > decoder.log_certain_blank).sum()) for rows in utterances)
    return DictationFigures(
        words=ends.tree.n_words,
        nodes=len(ends.tree),
        ready_seconds=ready,
        ready_mb=ready_mb - memory,
        used_mb=rss_mb() - ready_mb,
        sentences=len(sentences),
        sound_seconds=n_rows * STEP_SECONDS,
        blank_rows=n_blank / n_rows,
        rtf=took / (n_rows * STEP_SECONDS),
        row_us=1e6 * (took - finals) / max(1, n_rows - n_blank),
        final_ms=1e3 * finals / len(utterances),
        wer=sum(one.errors for one in heard) / sum(one.n_words for one in heard),
    )


def decode_live(decoder: DictationDecoder, utterances: Sequence[Rows]) -> tuple[list[str], float, float]:
    """Decode row by row, with a partial every second row; returns the texts, and seconds of all and of the finals."""
    began, finals, texts = time.process_time(), 0.0, []
    for rows in utterances:
        state = decoder.init_state()
        for n in range(len(rows)):
            state = decoder.step(rows[n : n + 1], state)
            if n % 2 and decoder.last_token_step(state) >= 0:
                decoder.partial(state)
                decoder.stable_words(state)
        ended = time.process_time()
        final = decoder.final(state)
        finals += time.process_time() - ended
        texts.append("" if final is None else final.text)
    return texts, time.process_time() - began, finals


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a line for each size of the lexicon, from a process of its own."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    asked = _parser().parse_args(given)
    if len(asked.words) > 1:
        _in_processes(given, asked)
        return
    lexicon, lm = read_lexicon(asked.lexicon), LanguageModel(asked.lm)
    sizes = asked.sentences_of or asked.words
    speakable = likeliest(lexicon, lm, min(sizes))
    sentences = spoken(asked.sentences.read_text(encoding="utf-8").splitlines(), speakable, asked.n)
    if not sentences:
        raise EdgeseqError(
            f"{asked.sentences}: the {len(speakable):,} likeliest words of {asked.lexicon} spell no sentence of it."
        )
    tokens = TokenTable.of_phones((word, way) for word, ways in likeliest(lexicon, lm, asked.words[0]).items() for way in ways)
    utterances = simulate(sentences, tokens, asked.wrong, asked.separated)
    options = DictationOptions(asked.beam, joining_penalty=DictationOptions.joining_penalty if asked.separated else 0.0)
    figures = bench_dictation(tokens, lm, sentences, utterances, Weights(asked.lm_weight, asked.word_bonus), options)
    print(json.dumps(asdict(figures)) if asked.json else figures.to_line(), flush=True)


def _in_processes(given: list[str], asked: argparse.Namespace) -> None:
    least = str(min(asked.words))
    for n in map(str, asked.words):
        command = [sys.executable, "-m", "benchmarks.dictation", *given, "--words", n, "--sentences-of", least]
        done = subprocess.run(command, stdout=None, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            raise EdgeseqError(f"the search of {n} words {reason(done.returncode, done.stderr)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dictation", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--lexicon", type=Path, required=True, help="lines of words and CMUdict's phones")
    parser.add_argument("--lm", type=Path, required=True, help="a compiled language model of words")
    parser.add_argument("--sentences", type=Path, required=True, help="one sentence per line, not of the language model's text")
    parser.add_argument("--words", type=int, nargs="+", default=[20_000, 40_000, 60_000], help="sizes of the lexicon")
    parser.add_argument("--sentences-of", type=int, nargs=1, help="size of the lexicon that has the sentences' words")
    parser.add_argument("-n", type=int, default=100, help="sentences")
    parser.add_argument("--wrong", type=float, default=0.15, help="share of phones that are not the likeliest")
    parser.add_argument("--separated", action="store_true", help="words are separated by a token")
    parser.add_argument("--beam", type=int, default=DictationOptions.beam, help="hypotheses that are kept")
    parser.add_argument("--lm-weight", type=float, default=Weights.lm)
    parser.add_argument("--word-bonus", type=float, default=Weights.word_bonus)
    parser.add_argument("--json", action="store_true")
    return parser


if __name__ == "__main__":
    try:
        main()
    except EdgeseqError as fault:
        sys.exit(str(fault))
