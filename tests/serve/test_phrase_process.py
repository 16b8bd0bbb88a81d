"""The process that compiles a client's phrases."""

import json
import subprocess
import sys

import pytest
from spelling_language import dictionary

from edgeseq.data.graphones import write_guesser
from edgeseq.lm.guesser import load_guesser
from edgeseq.phrases.graph import PhraseGraph
from edgeseq.serve.biasing import spelled
from edgeseq.serve.phrase_process import FAULTY
from edgeseq.tokens.packed_lexicon import pack
from edgeseq.tokens.table import TokenTable

SYMBOLS = ("<blk>", "▁", "AA", "B", "D", "K", "M", "OW", "S", "SH", "UW")


@pytest.fixture(scope="module")
def tokens(tmp_path_factory):
    path = tmp_path_factory.mktemp("guesser") / "en.guesser"
    write_guesser(dictionary(300, seed=1).items(), path)
    return TokenTable.from_details(SYMBOLS, {"kind": "phones"}, pack([("go", ("D", "OW"))]), load_guesser(path))


def compiled(tokens, guesser):
    limits = {"seconds": 5.0, "nodes": 100, "states": 10_000}
    request = {
        "text": "intents: {x: [go shado]}",
        "tokens": tokens.symbols,
        "token_details": tokens.details,
        "language": "en",
        **limits,
    }
    return subprocess.run(
        [sys.executable, "-m", "edgeseq.serve.phrase_process"],
        input=json.dumps(request | {"guesser": guesser}).encode(),
        capture_output=True,
        timeout=60,
    )


def test_words_are_guessed_there_too(tokens):
    done = compiled(tokens, str(tokens.guesser.path))
    assert done.returncode == 0, done.stderr
    graph = PhraseGraph.from_bytes(done.stdout.partition(b"\n")[2])
    assert [graph.tokens[token] for token in graph.label[1:]] == ["D", "OW", "SH", "AA", "D", "OW"]
    refused = compiled(tokens, None)
    assert refused.returncode == FAULTY and "lacks 'shado'" in json.loads(refused.stdout)["faults"][0][2]


def test_names_that_a_guesser_reads_are_words(tokens):
    assert spelled("Go, Shado!", tokens) is None and spelled("Go, Shado!", tokens, guessing=True) == "go shado"
    assert spelled("go 4x4", tokens, guessing=True) is None
