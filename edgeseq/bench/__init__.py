"""`edgeseq bench`: what a model costs on this machine, and what other runtimes make of the same network.

`model` measures the whole path of a model file, from sound to words; `peers` a network of any size beside other runtimes;
`streams` many streams in a batch; `search` the beam search. docs/benchmarks.md says what each figure means.
"""
