"""Other phrases while a stream runs."""

import os

import numpy as np
import pytest
from phrase_sentences import METADATA, say, sure

from edgeseq.phrases import load_phrases
from edgeseq.phrases.changing import ChangingPhrases, PhraseWatch
from edgeseq.phrases.compiling import compile_phrases
from edgeseq.phrases.faults import PhraseError
from edgeseq.phrases.file import parse_phrases
from edgeseq.phrases.search import DEFAULT_THRESHOLD, PhraseDecoder
from edgeseq.tokens.table import TokenTable

TOKENS = TokenTable(METADATA.tokens)


def _decoder(*phrases):
    return PhraseDecoder(compile_phrases(parse_phrases(f"intents: {{x: {list(phrases)}}}"), TOKENS), METADATA)


def _text(final):
    return final and " ".join(word.word for word in final.words)


def test_what_is_being_said_is_finished_with_the_phrases_it_began_with():
    changing = ChangingPhrases(_decoder("ab c"))
    state = changing.step(say("ab"), changing.init_state())
    changing.change(_decoder("b a"))
    state = changing.step(say("c"), state)
    assert _text(changing.final(state)) == "ab c" and changing.is_complete(state)
    assert _text(changing.partial(state)) == "ab c" and changing.stable_words(state) <= 2
    state = changing.follow(state)
    assert changing.n_steps(state) == 15 and changing.final(state) is None
    state = changing.step(say("b a"), state)
    assert _text(changing.final(state)) == "b a"
    assert changing.final(state).words[0].start == pytest.approx(15.5 * 0.04)


def test_a_stream_at_rest_changes_over_at_once():
    changing = ChangingPhrases(_decoder("ab c"))
    state = changing.step(sure([0] * 5), changing.init_state())
    changing.change(_decoder("b a"))
    state = changing.step(say("b a"), state)
    assert _text(changing.final(state)) == "b a" and changing.last_token_step(state) > 5


def test_a_state_older_than_two_changes_begins_anew():
    changing = ChangingPhrases(_decoder("ab c"))
    state = changing.step(say("ab"), changing.init_state())
    changing.change(_decoder("b a"))
    changing.change(_decoder("c c"))
    assert changing.partial(state) is None and changing.final(state) is None and not changing.is_complete(state)
    state = changing.step(say("c c"), state)
    assert _text(changing.final(state)) == "c c"
    assert changing.identity == _decoder("c c").identity


def test_a_changed_file_counts_and_a_broken_one_does_not(tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text("intents: {x: [ab c]}")
    changing = ChangingPhrases(load_phrases(file, _Metadata))
    told = []
    watch = PhraseWatch(file, lambda: load_phrases(file, _Metadata), changing, told.append)
    watch.poll()
    assert told == []
    before = changing.current
    _replace(file, "intents: {x: ['ab (c']}")
    watch.poll()
    assert changing.current is before
    assert "p.yaml:1:19: '(' is never closed" in told[-1] and told[-1].endswith("The phrases from before stay.")
    watch.poll()
    assert len(told) == 1, "told once"
    file.unlink()
    watch.poll()
    assert changing.current is before and len(told) == 1
    _replace(file, "intents: {x: [b a]}")
    watch.poll()
    assert "has changed" in told[-1]
    state = changing.step(say("b a"), changing.init_state())
    assert _text(changing.final(state)) == "b a"
    blocks = [np.zeros(3), np.ones(3)]
    assert [block.sum() for block in watch.during(blocks)] == [0, 3]


def _replace(file, text):
    """Write a file as editors do; its time is another even on coarse clocks."""
    new = file.with_suffix(".new")
    new.write_text(text)
    os.utime(new, ns=(1, hash(text) % 10**9))
    new.replace(file)


class _Metadata:
    tokens, blank_id, step_samples, sample_rate = METADATA.tokens, 0, 320, 8000
    phrase_threshold = None
    token_table = TOKENS
    language = "en"


def test_the_threshold_is_the_option_else_the_file_s_else_the_model_s(tmp_path):
    (tmp_path / "a.yaml").write_text("intents: {x: [ab]}\nthreshold: -0.7")
    (tmp_path / "b.yaml").write_text("intents: {x: [ab]}")
    assert load_phrases(tmp_path / "a.yaml", _Metadata).threshold == -0.7
    assert load_phrases(tmp_path / "a.yaml", _Metadata, threshold=-2.0).threshold == -2.0
    assert load_phrases(tmp_path / "b.yaml", _Metadata).threshold == DEFAULT_THRESHOLD
    assert load_phrases(tmp_path / "a.yaml", _Metadata, reject=False).threshold is None

    class _Measured(_Metadata):
        phrase_threshold = -0.3

    assert load_phrases(tmp_path / "a.yaml", _Measured).threshold == -0.7
    assert load_phrases(tmp_path / "b.yaml", _Measured).threshold == -0.3
    with pytest.raises(PhraseError):
        (tmp_path / "a.yaml").write_text("intents: {x: ['[ab]']}")
        load_phrases(tmp_path / "a.yaml", _Metadata)
