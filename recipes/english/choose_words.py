"""The words of a language model: those that its texts use most and whose sound is known.

    python recipes/english/choose_words.py books.txt:1 talk.txt:8 --pronounced cmudict.dict --most 50000 --out words.txt

A text counts as often as the number behind its name says. A dictionary has a word and its phones a line; variants are marked
`word(2)`. Needs nothing but Python.
"""

from __future__ import annotations

import argparse
import re
from collections import Counter
from pathlib import Path


def main() -> None:
    """Write the words, the most used first."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("texts", nargs="+", metavar="TEXT:TIMES")
    parser.add_argument("--pronounced", nargs="+", required=True, type=Path, metavar="DICTIONARY")
    parser.add_argument("--most", required=True, type=int)
    parser.add_argument("--out", required=True, type=Path)
    options = parser.parse_args()
    lines = (line for path in options.pronounced for line in path.read_text().splitlines() if line.strip())
    pronounced = {re.sub(r"\(\d+\)$", "", line.split()[0]) for line in lines}
    counts: Counter[str] = Counter()
    for text in options.texts:
        name, _, times = text.rpartition(":")
        for word, count in Counter(Path(name).read_text().split()).items():
            counts[word] += int(times) * count
    words = [word for word, _ in counts.most_common() if word in pronounced and re.fullmatch("[a-z']+", word)]
    options.out.write_text("".join(f"{word}\n" for word in words[: options.most]))
    kept = sum(counts[word] for word in words[: options.most]) / counts.total()
    print(f"{options.out}: {min(len(words), options.most):,} words, {100 * kept:.2f} % of the (weighed) texts")


if __name__ == "__main__":
    main()
