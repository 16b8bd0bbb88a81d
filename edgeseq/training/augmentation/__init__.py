"""What is done to training sound on the fly: first drawn, as values that can be put in words, then applied.

Everything is drawn from a generator that is handed in, so that a batch is a pure function of (seed, step). Waveforms are
float32 `[n_samples]` in [-1, 1]; `chain` says in which order they are changed. Log-mel is changed in torch (`spec_augment`).
"""
