"""Every file from elsewhere is read, or refused in one message: mutations of each format never end in anything else."""

from __future__ import annotations

import gzip
import json
import struct
import zlib

import pytest
from hostile import BOUNDED, LONG_NUMBER, NESTED_TEXT, broken, mutated
from hypothesis import example, given
from hypothesis import strategies as st

from edgeseq.data.manifest import read_manifest
from edgeseq.errors import EdgeseqError, LanguageModelError
from edgeseq.lm.arpa import read_arpa
from edgeseq.lm.binary import MAGIC, VERSION, write_compiled
from edgeseq.lm.corpus import read_sentences
from edgeseq.lm.kneser_ney import estimate
from edgeseq.lm.model import LanguageModel
from edgeseq.model.metadata import ModelMetadata
from edgeseq.phrases.compiling import compile_phrases
from edgeseq.phrases.faults import PhraseError
from edgeseq.phrases.file import parse_phrases
from edgeseq.phrases.graph import PhraseGraph
from edgeseq.phrases.importers.jsgf import read as read_jsgf
from edgeseq.tokens.packed_lexicon import load_lexicon, pack, write_packed
from edgeseq.tokens.table import TokenTable
from edgeseq.untrusted import parse_json, parse_yaml, printable

JSON_BOMBS = [NESTED_TEXT, '{"a":' * 5000, LONG_NUMBER, f"[{LONG_NUMBER}]", "{", "", "\ufeff{}", '"\\ud800"', "[1e400]"]
ALIASES = "a: &a [x,x]\n" + "".join(f"a{n + 1}: &a{n + 1} [*a{n or ''},*a{n or ''}]\n" for n in range(40))
"""Two to the 40th values."""


def settled(work):
    """Do what may be refused; anything but an EdgeseqError fails the test. One whose message is empty, too."""
    try:
        return work()
    except EdgeseqError as fault:
        assert str(fault).strip()
        return None


@pytest.mark.parametrize("text", JSON_BOMBS)
def test_json_is_parsed_or_refused(text):
    try:
        json.dumps(parse_json(text), ensure_ascii=False).encode()
    except ValueError as fault:
        assert str(fault)


@BOUNDED
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(), st.lists))
def test_what_json_writes_is_read(value):
    assert parse_json(json.dumps(value)) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


@BOUNDED
@given(st.text() | st.text("[]{}:,-&*!<\"' \n\tabc019", max_size=60))
@example("a: &a [*a]")
@example('!!int ""')
@example("2001-99-99")
@example("{a: 1, [b]: 2, {c: d}: 3}")
@example("k: " + LONG_NUMBER)
@example("[" * 5000 + "]" * 5000)
@example(ALIASES)
def test_yaml_is_parsed_or_refused(text):
    try:
        parse_yaml(text)
    except ValueError as fault:
        assert str(fault)


@BOUNDED
@given(st.text())
def test_what_is_shown_steers_no_terminal(text):
    shown = printable(text)
    assert len(shown) == len(text) and shown.encode() is not None
    assert not any((letter < " " and letter not in "\n\t") or "\x7f" <= letter < "\xa0" for letter in shown)


# Language models


@pytest.fixture(scope="module")
def lm_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("lm") / "model.lm"
    sentences = [["a", "b"], ["b", "c", "a"], ["été", "a"]] * 5
    for bits in (32, 16):
        write_compiled(estimate(sentences, 3, (0, 0, 0)).ngrams, path.with_name(f"{bits}.lm"), bits, source="a text")
    return path.parent


def split(content):
    start = len(MAGIC) + 9
    n_header = struct.unpack_from("<I", content, start - 8)[0]
    return json.loads(content[start : start + n_header]), content[start + n_header :]


def joined(text, body):
    text += b" " * (-(len(MAGIC) + 9 + len(text)) % 8)
    return MAGIC + VERSION + struct.pack("<II", len(text), zlib.crc32(text)) + text + body


def ask(path):
    model = LanguageModel(path)
    model.sentence(["a", "b", "x", "été"])
    words = [model.word(number) for number in range(len(model))]
    assert [model.word_id(word) for word in words] and len(model.word_ids(words)) == len(words)
    model.best_unigram(0, len(model))
    assert len(model.unigrams()) == len(model) and model.span("a") and model.identity and printable(model.header["source"])


@BOUNDED
@given(st.data())
@pytest.mark.parametrize("bits", [16, 32])
def test_language_models_with_hostile_headers(lm_file, bits, data):
    header, body = split((lm_file / f"{bits}.lm").read_bytes())
    header = data.draw(mutated(header))
    (lm_file / "hostile.lm").write_bytes(joined(json.dumps(header).encode(), body))
    settled(lambda: ask(lm_file / "hostile.lm"))


@BOUNDED
@given(st.data())
@pytest.mark.parametrize("bits", [16, 32])
def test_language_models_with_hostile_arrays(lm_file, bits, data):
    header, body = split((lm_file / f"{bits}.lm").read_bytes())
    body = data.draw(broken(body))[: len(body)].ljust(len(body), b"\xff")
    (lm_file / "hostile.lm").write_bytes(joined(json.dumps(header).encode(), body))
    settled(lambda: ask(lm_file / "hostile.lm"))


@pytest.mark.parametrize("text", JSON_BOMBS)
def test_language_models_whose_headers_are_bombs(lm_file, text):
    _, body = split((lm_file / "32.lm").read_bytes())
    (lm_file / "hostile.lm").write_bytes(joined(text.encode("utf-8", "replace"), body))
    with pytest.raises(EdgeseqError, match=r"hostile\.lm"):
        LanguageModel(lm_file / "hostile.lm")


def test_whole_models_are_read(lm_file):
    ask(lm_file / "16.lm")
    ask(lm_file / "32.lm")


# Models' metadata


def use(strings):
    about = ModelMetadata.from_strings(strings, "m.onnx")
    assert about.token_table.ids and about.token_table.units and about.name is not None
    for kind in about.confidence_maps:
        about.confidence_map(kind)


@BOUNDED
@given(st.data())
def test_metadata_is_read_or_refused(data):
    tones = pytest.importorskip("tone_language")
    strings = tones.metadata(confidence_maps={"greedy": {"said": [0.1, 1.0], "right": [0.0, 0.9]}}).to_strings()
    for key in data.draw(st.lists(st.sampled_from(sorted(strings)), min_size=1, max_size=3)):
        if strings[key].startswith(("[", "{")) and data.draw(st.booleans()):
            strings[key] = json.dumps(data.draw(mutated(json.loads(strings[key]))))
        else:
            strings[key] = data.draw(st.sampled_from([*JSON_BOMBS, "nan", "inf", "-1", "²", "1" * 20]) | st.text(max_size=9))
    settled(lambda: use(strings))


# Saved states


def packed(plain, arrays):
    import hashlib

    from edgeseq.stream.serialization import MAGIC as STATE
    from edgeseq.stream.serialization import VERSION as FORMAT

    text = json.dumps(plain).encode() if not isinstance(plain, bytes) else plain
    body = len(text).to_bytes(8, "little") + text + arrays
    return STATE + f"{FORMAT} {hashlib.sha256(body).hexdigest()}\n".encode() + body


def unpacked(content):
    body = content[content.index(b"\n") + 1 :]
    n_text = int.from_bytes(body[:8], "little")
    return json.loads(body[8 : 8 + n_text]), body[8 + n_text :]


def go_on(recognizer, content):
    import tone_language as tones

    state = recognizer.restore(content)
    _, state = recognizer.step(tones.say("ab"), state)
    recognizer.flush(state)


@pytest.fixture(scope="module")
def saved(tone_recognizer):
    import tone_language as tones

    return tone_recognizer.save(tone_recognizer.step(tones.say("abba on"), tone_recognizer.init_state())[1])


@BOUNDED
@given(st.data())
def test_saved_states_whose_outer_fields_are_hostile(tone_recognizer, saved, data):
    plain, arrays = unpacked(saved)
    settled(lambda: go_on(tone_recognizer, packed(data.draw(mutated(plain)), arrays)))


@BOUNDED
@given(st.data())
def test_saved_states_that_are_hostile_within(tone_recognizer, saved, data):
    plain, arrays = unpacked(saved)
    inner, values = unpacked(arrays)
    hostile = packed(data.draw(mutated(inner)), data.draw(st.just(values) | broken(values)))
    fields = dict(map(tuple, plain["fields"]))
    fields["state"] = {**fields["state"], "array": [len(hostile)]}
    settled(lambda: go_on(tone_recognizer, packed({**plain, "fields": [list(pair) for pair in fields.items()]}, hostile)))


@pytest.mark.parametrize("text", JSON_BOMBS)
def test_saved_states_that_are_bombs(tone_recognizer, text):
    with pytest.raises(EdgeseqError):
        tone_recognizer.restore(packed(text.encode("utf-8", "replace"), b""))


# Manifests


LINE = {"audio_filepath": "a.wav", "duration": 1.5, "text": "one", "offset": 0.5, "speaker": "x", "within": [0, 9], "k": [1]}


@BOUNDED
@given(st.data())
def test_manifests_are_read_or_refused(tmp_path, data):
    path = tmp_path / "m.jsonl"
    good = json.dumps(LINE)
    lines = [data.draw(st.sampled_from(JSON_BOMBS) | mutated(LINE).map(json.dumps) | st.text(max_size=20)) for _ in range(3)]
    path.write_bytes(data.draw(st.just("\n".join([good, *lines]).encode("utf-8", "replace")) | broken(good.encode())))
    settled(lambda: [recording.where for recording in read_manifest(path, check_files=data.draw(st.booleans()))])


# Lexicons, phrases and graphs


@BOUNDED
@given(st.data())
def test_packed_lexicons_are_read_or_refused(tmp_path, data):
    path = tmp_path / "words.lexicon"
    write_packed(pack([("tea", ("T", "IY")), ("été", ("EH", "T", "EY")), ("a", ("AH",)), ("a", ("EY",))]), path)
    content = path.read_bytes()
    n_header = struct.unpack_from("<I", content, 17)[0]
    header = json.dumps(data.draw(mutated(json.loads(content[25 : 25 + n_header])))).encode()
    rebuilt = content[:17] + struct.pack("<II", len(header), zlib.crc32(header)) + header + content[25 + n_header :]
    path.write_bytes(data.draw(st.just(rebuilt) | broken(content)))
    settled(lambda: dict(load_lexicon(path).items()))


PHRASES = {
    "language": "en",
    "threshold": -0.5,
    "intents": {"x": ["(a | b) [c] {r}", {"say": "the {s:n}", "weight": 2, "slots": {"k": 1}}]},
    "rules": {"r": ["a b", "[c] a"]},
    "slots": {"s": ["c", {"say": "a", "mean": 8}], "n": "1..90"},
    "spellings": {"c": ["cee", "/K/"]},
}


@BOUNDED
@given(st.data())
def test_phrase_files_are_compiled_or_refused(data):
    text = json.dumps(data.draw(mutated(PHRASES)), ensure_ascii=False)
    halves = broken(text.encode("utf-8", "replace")).map(lambda content: content.decode(errors="replace"))
    text = data.draw(st.just(text) | halves)

    def compile_all():
        graph = compile_phrases(parse_phrases(text), TokenTable.of_characters(["abcdefghijklmnopqrstuvwxyz"]))
        assert PhraseGraph.from_bytes(graph.to_bytes()).n_nodes == graph.n_nodes

    settled(compile_all)


@pytest.mark.parametrize(
    "rule",
    ["{{r{0}}} {{r{0}}}", "(a {{r{0}}} x | b {{r{0}}} y)", "[{{r{0}}}] {{r{0}}}", "{{r{0}}} [{{r{0}}}] {{r{0}}}"],
)
def test_grammars_that_explode_are_refused_at_once(rule):
    import time

    rules = {"r0": "(one | two)"} | {f"r{n}": rule.format(n - 1) for n in range(1, 40)}
    text = json.dumps({"rules": rules, "intents": {"x": ["{r39}"]}})
    began = time.process_time()
    with pytest.raises(EdgeseqError, match=r"too large|more than [\d,]+ states"):
        compile_phrases(parse_phrases(text), TokenTable.of_characters(["onetwabxy"]))
    assert time.process_time() - began < 5


@BOUNDED
@given(st.data())
def test_graphs_are_read_or_refused(data):
    content = compile_phrases(parse_phrases("intents: {x: ['a [b] c']}"), TokenTable.of_characters(["abc"])).to_bytes()
    settled(lambda: PhraseGraph.from_bytes(data.draw(broken(content))))


# Recipes and weights


RECIPE = {
    "name": "tiny",
    "language": "en",
    "license": "CC0-1.0",
    "data_statement": "made up",
    "data": {"train": [{"manifest": "tiny/train.jsonl", "easy": True}]},
    "train": {"steps": 10},
    "network": {"layers": 2, "width": 8},
}


OVERRIDES = ["train.steps=1e9", "a.b=[", "=", "data.train.99999999999999999999=1", "name=" + LONG_NUMBER]


@BOUNDED
@given(st.data())
def test_recipes_are_read_or_refused(tmp_path, data):
    pytest.importorskip("pydantic")
    from edgeseq.training.recipe_file import load_recipe

    path = tmp_path / "recipe.yaml"
    text = json.dumps(data.draw(mutated(RECIPE))).encode()
    path.write_bytes(data.draw(st.just(text) | broken(text) | st.binary(max_size=30)))
    overrides = data.draw(st.lists(st.sampled_from(OVERRIDES), max_size=1))
    settled(lambda: load_recipe(path, overrides))


def test_recipes_whose_aliases_swell_are_refused(tmp_path):
    pytest.importorskip("pydantic")
    from edgeseq.training.recipe_file import load_recipe

    (tmp_path / "recipe.yaml").write_text(ALIASES)
    with pytest.raises(EdgeseqError, match="each alias counted"):
        load_recipe(tmp_path / "recipe.yaml")


@BOUNDED
@given(st.data())
def test_weights_are_read_or_refused(tmp_path, data):
    pytest.importorskip("torch")
    import torch
    from safetensors.torch import save

    from edgeseq.training.weights import METADATA_KEY, WEIGHTS_FILE, load_trained

    about = {
        "format": 2,
        "recipe": RECIPE,
        "tokens": ["<blk>", "▁", "a"],
        "flush_seconds": 0.2,
        "measured": {},
        "companions": {},
    }
    text = data.draw(
        st.sampled_from(JSON_BOMBS).map(lambda bomb: bomb.encode(errors="replace").decode()) | mutated(about).map(json.dumps)
    )
    path = tmp_path / WEIGHTS_FILE
    content = save({"weight": torch.zeros(2, 2)}, metadata={METADATA_KEY: text})
    path.write_bytes(data.draw(st.just(content) | broken(content)))
    settled(lambda: load_trained(path))


HUGE = [
    {"hidden_size": 60_000, "num_layers": 100},
    {"hidden_size": 60_000, "projection_size": 60_000},
    {"num_layers": 10**6},
    {"subsampling": 10**9},
    {"hidden_size": 10**30},
]


@pytest.mark.parametrize("network", HUGE, ids=str)
@pytest.mark.parametrize("name", ["trunk.layers.0.rnn.weight_ih_l0", "frontend.mean"])
def test_weights_whose_recipe_wants_what_no_memory_holds(tmp_path, monkeypatch, network, name):
    pytest.importorskip("torch")
    import torch
    from safetensors.torch import save

    from edgeseq.training import weights

    monkeypatch.setattr(weights, "build_model", None)  # never called: the shapes in the header do not fit
    about = {
        "format": 3,
        "recipe": RECIPE | {"network": network},
        "details": {"tokens": ["<blk>", "▁", "a"]},
        "flush_seconds": 0.2,
    }
    path = tmp_path / weights.WEIGHTS_FILE
    path.write_bytes(save({name: torch.zeros(32)}, metadata={weights.METADATA_KEY: json.dumps(about)}))
    with pytest.raises(EdgeseqError, match=r"do not fit the recipe|less than or equal|at most") as fault:
        weights.load_trained(path)
    assert len(str(fault.value)) < 600


FRONTENDS = [
    {"sample_rate": 10**12, "win_samples": 10**10},
    {"win_samples": 10**9, "n_mels": 10**6},
    {"kind": "kaldi", "sample_rate": 16_000, "win_samples": 10**9},
]


@pytest.mark.parametrize("frontend", FRONTENDS, ids=str)
def test_recipes_whose_frontends_swell_are_refused(tmp_path, frontend):
    pytest.importorskip("pydantic")
    from edgeseq.training.recipe_file import load_recipe

    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps(RECIPE | {"network": {}, "frontend": frontend}))
    with pytest.raises(EdgeseqError, match=r"less than or equal|is more than"):
        load_recipe(path)


def test_gzipped_texts_that_are_damaged_are_refused_at_their_line(tmp_path):
    whole = gzip.compress("".join(f"line {n} of many\n" for n in range(5000)).encode())
    cut, broken, faked = tmp_path / "cut.txt.gz", tmp_path / "broken.txt.gz", tmp_path / "faked.txt.gz"
    cut.write_bytes(whole[: len(whole) // 2])
    broken.write_bytes(whole[:500] + bytes(40) + whole[540:])
    faked.write_bytes(b"\x1f\x8b\x08\x00" + bytes(range(256)))
    for file in (cut, broken, faked):
        for read in (lambda path: list(read_sentences(path)), read_arpa):
            with pytest.raises(LanguageModelError, match=r"gz:\d+: the gzipped file is damaged or breaks off here|data"):
                read(file)


@pytest.mark.parametrize("rule", ["(" * 5000, "[" * 5000, "(" * 51 + "a" + ")" * 51])
def test_jsgf_grammars_nested_too_deeply_are_refused(rule):
    with pytest.raises(PhraseError, match="brackets within brackets"):
        read_jsgf(f"#JSGF V1.0;\ngrammar g;\npublic <a> = {rule};\n", "g.jsgf")
