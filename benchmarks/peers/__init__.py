"""Recognizers for `python -m benchmarks.recognizers`: a YAML file for each, and the program that it starts."""
