"""Text to estimate models from."""

import random


def text(seed, n_sentences=300, n_words=30):
    """Sentences whose words follow each other unevenly, so that discounts can be estimated."""
    rng = random.Random(seed)
    words = [f"w{n}" for n in range(n_words)]
    return [
        [words[min(int(rng.expovariate(0.15)) + (at % 3) * 2, n_words - 1)] for at in range(rng.randint(1, 9))]
        for _ in range(n_sentences)
    ]
