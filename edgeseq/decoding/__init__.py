"""Rows of log-probs to words: greedy, beam and dictation search, and what weighs their hypotheses."""
