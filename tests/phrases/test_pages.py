"""The phrase files of the recipes and of the docs are what they say."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgeseq.phrases import load_phrases
from edgeseq.phrases.checking import ambiguities, unused
from edgeseq.phrases.compiling import compile_phrases, to_tokens, to_words
from edgeseq.phrases.file import parse_phrases, read_phrases
from edgeseq.tokens.table import TokenTable

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes" / "phrases"
LETTERS = TokenTable.of_characters(["abcdefghijklmnopqrstuvwxyz'"])
METADATA = SimpleNamespace(
    language="en",
    tokens=LETTERS.symbols,
    token_table=LETTERS,
    blank_id=0,
    step_samples=640,
    sample_rate=16000,
    phrase_threshold=None,
)

MEANINGS = [
    ("house", "turn on the kitchen lights", "lights", {"state": "on", "room": "kitchen"}),
    ("house", "turn the lights off in the dining room", "lights", {"state": "off", "room": "dining room"}),
    ("house", "please switch the lamp off", "lights", {"state": "off"}),
    ("house", "dim the living room lights to thirty five percent", "brightness", {"room": "living room", "percent": 35}),
    ("house", "make the office light brighter", "brightness", {"room": "office", "change": "brighter"}),
    ("house", "raise the bedroom blinds", "blinds", {"movement": "open", "room": "bedroom"}),
    ("house", "set the blinds to fifty percent", "blinds", {"percent": 50}),
    ("house", "stop the blinds", "blinds", {"movement": "stop"}),
    ("house", "set the kids room heating to twenty one degrees", "heating", {"room": "children's room", "degrees": 21}),
    ("house", "could you make it warmer in the garage", "heating", {"warmth": "warmer", "room": "garage"}),
    ("house", "play some music in the garden", "music", {"action": "play", "room": "garden"}),
    ("house", "skip this song", "music", {"action": "next"}),
    ("house", "turn down the volume", "volume", {"direction": "down"}),
    ("house", "set a timer for one hour and thirty minutes", "timer", {"hours": 1, "minutes": 30}),
    ("house", "timer ninety seconds", "timer", {"seconds": 90}),
    ("house", "how long is left", "timer_left", {}),
    ("house", "cancel the timer", "timer_cancel", {}),
    ("numbers", "minus four thousand and eighty six", "number", {"number": -4086}),
    ("numbers", "two hundred and five", "number", {"number": 205}),
    ("digits", "seven", "digit", {"digit": 7}),
    ("digit-strings", "three one four", "number", {"string": "three one four"}),
    ("letters", "x y l o p h o n e", "spelled", {"string": "x y l o p h o n e"}),
    ("icao", "alpha x ray nine zulu", "spelled", {"string": "alfa xray nine zulu"}),
    ("words", "stop", "command", {"word": "stop"}),
    ("words", "yes", "command", {"word": "yes"}),
    ("wakeword", "hey computer", "wake", {}),
    (
        "coffee",
        "i'd like a twelve ounce dark roast latte with skim milk and a bit of sugar",
        "orderDrink",
        {
            "size": "twelve ounce",
            "roast": "dark roast",
            "coffeeDrink": "latte",
            "milkAmount": "skim milk",
            "sugarAmount": "a bit of sugar",
        },
    ),
]


@pytest.mark.parametrize("file", sorted(RECIPES.glob("*.yaml")), ids=lambda file: file.name)
def test_phrase_files_of_the_recipes(file):
    phrases = read_phrases(file)
    assert compile_phrases(phrases, LETTERS).n_nodes > 10
    assert ambiguities(to_tokens(to_words(phrases), phrases, LETTERS), LETTERS) == []
    assert unused(phrases) == []
    assert file.stem in {name for name, *_ in MEANINGS}


@pytest.mark.parametrize(("name", "text", "intent", "slots"), MEANINGS, ids=[text for _, text, *_ in MEANINGS])
def test_what_sentences_of_the_recipes_mean(name, text, intent, slots):
    decoder = load_phrases(RECIPES / f"{name}.yaml", METADATA)
    ids = [id_ for token in LETTERS.encode(text) for id_ in (token, 0)]
    rows = np.full((len(ids), len(LETTERS)), -7.0, dtype=np.float32)
    rows[np.arange(len(ids)), ids] = -0.03
    final = decoder.final(decoder.step(rows, decoder.init_state()))
    assert (final.intent, dict(final.slots)) == (intent, slots)


def test_phrase_files_of_the_docs():
    text = (ROOT / "docs" / "phrases.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert blocks
    for block in blocks:
        graph = compile_phrases(parse_phrases(block), LETTERS)
        assert graph.n_nodes > 10
