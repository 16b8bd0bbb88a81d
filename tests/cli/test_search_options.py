"""The beam search as programs use it: `edgeseq lm`, and --beam with its options in the other commands."""

import json

import pytest
import soundfile

pytest.importorskip("onnx")
import tone_language as tones
from command_line import run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sound, a text, its language models, lists of words, a manifest."""
    folder = tmp_path_factory.mktemp("search")
    for name, text in (("a", "one two"), ("b", "three")):
        soundfile.write(folder / f"{name}.wav", tones.say(text), tones.SAMPLE_RATE)
    (folder / "text.txt").write_text("one two\none two three\nthree two one\nthree\n" * 5)
    (folder / "words.txt").write_text("one\nthree\nzwei two\n")
    (folder / "names.txt").write_text("three:2\n")
    lines = [
        {"audio_filepath": "b.wav", "duration": soundfile.info(folder / "b.wav").duration, "text": "three", "speaker": "x"}
    ]
    (folder / "m.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = run("lm", "build", "text.txt", "--out", "words.lm", "--arpa", "words.arpa", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "20 sentences, 45 words" in done.stdout and "1 and 1.5 are used" in done.stderr
    return folder


def test_lm_compile_info_and_score(folder):
    done = run("lm", "compile", "words.arpa", "--out", "again.lm", cwd=folder)
    assert done.returncode == 0 and "order 3 over words: 6 1-grams" in done.stdout
    done = run("lm", "info", "again.lm", cwd=folder)
    assert done.returncode == 0 and "whole, from words.arpa" in done.stdout
    scores = [run("lm", "score", name, "one two", "four", "-v", cwd=folder) for name in ("words.lm", "again.lm")]
    assert scores[0].stdout == scores[1].stdout and "four  (unknown)" in scores[0].stdout
    assert "perplexity" in scores[0].stderr
    assert (
        run("lm", "score", "words.lm", input="one two\n", cwd=folder).stdout.splitlines() == scores[0].stdout.splitlines()[:1]
    )


def test_lm_of_letters(folder):
    options = ("--level", "char", "--order", "4", "--prune", "0,0,1", "--bits", "16")
    done = run("lm", "build", "text.txt", "--out", "letters.lm", *options, cwd=folder)
    assert done.returncode == 0 and "order 4 over letters" in done.stdout and "16 bits, off by at most" in done.stdout


@pytest.mark.parametrize(
    ("words", "message", "code"),
    [
        (("build", "text.txt", "--level", "byte", "--out", "x.lm"), "wanted word or char", 2),
        (("build", "text.txt", "--prune", "a", "--out", "x.lm"), "wanted counts between commas", 2),
        (("build", "none.txt", "--out", "x.lm"), "none.txt: No such file", 1),
        (("compile", "text.txt", "--out", "x.lm"), "there is no line \\data\\", 1),
        (("info", "text.txt"), "not a compiled language model", 1),
    ],
)
def test_lm_faults(folder, words, message, code):
    done = run("lm", *words, cwd=folder)
    assert (done.returncode, done.stdout) == (code, "") and message in done.stderr
    assert not (folder / "x.lm").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--beam", "8"),
        ("--lm", "words.lm", "--lm-weight", "0.8", "--word-bonus", "1"),
        ("--hotwords", "names.txt", "--hotword", "one two:3"),
    ],
)
def test_transcribe_with_a_beam(tone_model, folder, options):
    done = run("transcribe", "--model", tone_model, *options, "a.wav", "b.wav", cwd=folder)
    assert (done.stdout, done.stderr, done.returncode) == ("a.wav: one two\nb.wav: three\n", "", 0)


def test_a_lexicon_names_words(tone_model, folder):
    done = run("transcribe", "--model", tone_model, "--lexicon", "words.txt", "a.wav", cwd=folder)
    assert (done.stdout, done.returncode) == ("one zwei\n", 0)


def test_other_texts_are_told(tone_model, folder):
    done = run("transcribe", "--model", tone_model, "--beam", "4", "--nbest", "3", "--format", "jsonl", "a.wav", cwd=folder)
    final = json.loads(done.stdout)
    assert final["text"] == "one two" and "one two" not in final.get("alternatives", [])
    assert [word["word"] for word in final["words"]] == ["one", "two"]


def test_listen_and_eval_take_the_same_options(tone_model, folder):
    done = run("listen", "--model", tone_model, "--input", "a.wav", "--lm", "words.lm", "--hotwords", "names.txt", cwd=folder)
    assert (done.stdout, done.returncode) == ("one two\n", 0), done.stderr
    done = run("eval", "--model", tone_model, "--manifest", "m.jsonl", "--beam", "4", "--lm", "words.lm", "--json", cwd=folder)
    assert json.loads(done.stdout)["errors"] == 0, done.stderr


def test_bench_tells_what_the_search_costs(tone_model, folder):
    done = run("bench", "--model", tone_model, "--beam", "4", "--audio", "m.jsonl", "--json", cwd=folder)
    costs = json.loads(done.stdout)
    assert costs["utterances"] == 1 and costs["rows"] > 10 and costs["beam_us"] > 0 and costs["row_ms"] == 40
    done = run("bench", "--model", tone_model, "--beam", "4", cwd=folder)
    assert done.returncode == 2 and "give --audio a manifest" in done.stderr


@pytest.mark.parametrize(
    ("options", "message", "code"),
    [
        (("--lm-weight", "1"), "give --lm FILE.lm, too", 2),
        (("--beam", "0"), "Invalid value for '--beam'", 2),
        (("--lm", "words.arpa"), "edgeseq lm compile words.arpa --out words.lm", 1),
        (("--lm", "none.lm"), "none.lm: No such file", 1),
        (("--lexicon", "m.jsonl"), "no token of the model spells them", 1),
        (("--hotword", "r2"), "'r2': no token spells '2'", 1),
        (("--hotword", "a", "--phrases", "p.yaml"), "leave out --beam", 2),
        (("--lm", "words.lm", "--lm-weight", "-1"), "language model weight -1.0", 2),
    ],
)
def test_faults(tone_model, folder, options, message, code):
    done = run("transcribe", "--model", tone_model, *options, "a.wav", cwd=folder)
    assert (done.returncode, done.stdout) == (code, "") and message in done.stderr
