"""Sizes of networks, as they are typed."""

import doctest

import pytest

from edgeseq.bench import shape
from edgeseq.bench.shape import Shape, parse_numbers, parse_shape
from edgeseq.errors import UsageError


def test_doctests():
    assert doctest.testmod(shape).failed == 0


@pytest.mark.parametrize("text", ["gru:4x512", "lstm:1x8", "rnn:64x8192", "gru:4x512p256"])
def test_a_shape_is_written_as_it_is_read(text):
    assert str(parse_shape(text)) == text


def test_its_parts():
    assert parse_shape("lstm:2x192") == Shape("lstm", 2, 192)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "such as gru:4x512"),
        ("gru", "such as gru:4x512"),
        ("gru:4", "such as gru:4x512"),
        ("gru:4x512x3", "such as gru:4x512"),
        ("gru:-4x512", "such as gru:4x512"),
        ("gru:4x5.5", "such as gru:4x512"),
        ("gru:4x512p", "gru:4x512p256 with a projection"),
        ("gru:4x512p0", "1 to 64 layers of 1 to 8192"),
        ("gru:٤x٥", "such as gru:4x512"),
        ("sru:4x512", "no cell 'sru'; wanted gru, lstm, rnn"),
        ("gru:0x512", "1 to 64 layers of 1 to 8192"),
        ("gru:65x512", "1 to 64 layers of 1 to 8192"),
        ("gru:4x99999", "1 to 64 layers of 1 to 8192"),
        ("gru:4x" + "9" * 5000, "such as gru:4x512"),
    ],
)
def test_what_is_no_shape(text, message):
    with pytest.raises(UsageError, match=message):
        parse_shape(text)


def test_numbers_keep_their_order():
    assert parse_numbers("--streams", "16, 1,4,16", 64) == [16, 1, 4]


@pytest.mark.parametrize("text", ["", ",", "1,", "a", "1.5", "-1", "0", "65", "٤", "9" * 5000])
def test_what_are_no_numbers(text):
    with pytest.raises(UsageError, match="--streams"):
        parse_numbers("--streams", text, 64)
