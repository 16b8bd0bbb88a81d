"""Benchmarks that developers run from a checkout; `edgeseq bench` measures what users need."""
