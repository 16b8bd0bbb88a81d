import json

import pytest

from edgeseq.events import Final, Partial, Word

WORDS = (Word("drei", 0.3204, 0.71051, 0.98765), Word("‽", 1, 1.5, 1.0))


def test_the_jsonl_form():
    line = json.loads(Final("drei ‽", 0.3204, 1.5, 0.99, WORDS).to_json("a b.wav"))
    assert line == {
        "type": "final",
        "file": "a b.wav",
        "start": 0.32,
        "end": 1.5,
        "text": "drei ‽",
        "confidence": 0.99,
        "words": [
            {"word": "drei", "start": 0.32, "end": 0.711, "confidence": 0.988},
            {"word": "‽", "start": 1, "end": 1.5, "confidence": 1.0},
        ],
    }
    assert list(line) == ["type", "file", "start", "end", "text", "confidence", "words"]


def test_a_microphone_has_no_file_and_lines_have_no_breaks():
    line = Partial("a\nb", 0, 1, 0.5, ()).to_json()
    assert "file" not in json.loads(line) and "\n" not in line and json.loads(line)["type"] == "partial"


def test_events_are_frozen():
    with pytest.raises(AttributeError):
        WORDS[0].word = "vier"


def test_a_missing_extra_names_the_command_for_a_clone():
    from edgeseq.errors import CLONE, MissingExtraError

    assert str(MissingExtraError("x: pip install 'edgeseq[serve]'")).endswith(f"pip install -e '{CLONE}[serve]'")
    assert str(MissingExtraError("no command")) == "no command"
