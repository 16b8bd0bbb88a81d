import doctest

import pytest

import edgeseq.stream.endpoint as endpoint
from edgeseq.errors import UsageError
from edgeseq.stream.endpoint import DEFAULT_RULES, EndpointRule, Pause, endpoint_rules, first_that_fires


def pause(silence, utterance=1.0, has_words=True, complete=False):
    return Pause(silence, utterance, has_words, lambda: complete)


def fires(*args, rules=DEFAULT_RULES, **kwargs):
    return first_that_fires(rules, pause(*args, **kwargs)) is not None


def test_doctests():
    assert doctest.testmod(endpoint).failed == 0


def test_the_usual_rules():
    assert not fires(0.76) and fires(0.8) and fires(20 * 0.04)
    assert not fires(100.0, has_words=False)
    assert not fires(0.36, complete=True) and fires(0.4, complete=True)
    assert not fires(0.2, 19.9) and fires(0.2, 20.0)
    assert not fires(0.0, 29.9) and fires(0.0, 30.0)
    assert not fires(0.0, 40.0, has_words=False)


def test_every_part_of_a_rule_counts():
    rule = EndpointRule(min_silence_seconds=0.5, min_utterance_seconds=2, needs_words=False, needs_complete=True)
    assert fires(0.5, 2, has_words=False, complete=True, rules=[rule])
    assert not fires(0.4, 2, complete=True, rules=[rule])
    assert not fires(0.5, 1.9, complete=True, rules=[rule])
    assert not fires(0.5, 2, complete=False, rules=[rule])


def test_no_rules_never_fire():
    assert not fires(1e9, 1e9, complete=True, rules=[])


def test_completeness_is_asked_only_when_it_matters():
    def explode():
        raise AssertionError

    assert first_that_fires(DEFAULT_RULES, Pause(0.1, 1.0, True, explode)) is None


@pytest.mark.parametrize("silence", [0, -1, float("nan"), float("inf")])
def test_rules_that_cannot_be(silence):
    with pytest.raises(UsageError, match="wanted numbers from 0, and more than 0"):
        endpoint_rules(silence_seconds=silence)
