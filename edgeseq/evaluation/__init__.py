"""How good is it? Error rates, word times, understanding, calibration, with intervals."""
