"""`edgeseq phrases`, and --phrases of the commands that hear, as programs."""

import json
import subprocess
import time

import numpy as np
import pytest
import soundfile

pytest.importorskip("onnx")
import tone_language as tones
from command_line import run, start

from edgeseq.phrases import load_phrases
from edgeseq.phrases.changing import POLL_SECONDS

LIGHTS = """\
intents:
  switch:
    - "turn (on | off) [the] {room} (light | lights)"
    - {say: good night, weight: 2, slots: {room: all}}
  dim: ["dim to {level:0..100}"]
slots:
  room: [hall, {say: bed room, mean: 2}]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phrases")
    (folder / "lights.yaml").write_text(LIGHTS)
    (folder / "broken.yaml").write_text(LIGHTS.replace("(on | off)", "(on | off").replace("{room} (", "{rom} ("))
    for name, text in {
        "on": "turn on the bed room lights",
        "dim": "dim to forty two",
        "other": "the quick brown fox jumps",
        "near": "turn the hall radio",
    }.items():
        soundfile.write(folder / f"{name}.wav", tones.say(text), tones.SAMPLE_RATE)
    return folder


def test_transcribe_gives_intent_and_typed_slots(tone_model, folder):
    done = run("transcribe", "--model", tone_model, "--phrases", "lights.yaml", "-f", "jsonl", "on.wav", "dim.wav", cwd=folder)
    on, dim = map(json.loads, done.stdout.splitlines())
    assert (on["text"], on["intent"], on["slots"]) == ("turn on the bed room lights", "switch", {"room": 2})
    assert (dim["text"], dim["intent"], dim["slots"]) == ("dim to forty two", "dim", {"level": 42})
    assert -0.2 <= on["phrase_score"] <= 0 < on["confidence"] <= 1
    assert [word["word"] for word in dim["words"]] == ["dim", "to", "forty", "two"]
    assert all(0 <= word["start"] <= word["end"] <= dim["end"] for word in dim["words"])
    assert done.returncode == 0


def test_two_phrases_of_a_recording_keep_their_intents(tone_model, folder, tmp_path):
    silence = np.zeros(2 * tones.SAMPLE_RATE, np.float32)
    sound = [tones.say("turn on the bed room lights"), silence, tones.say("dim to forty two"), silence]
    soundfile.write(tmp_path / "two.wav", np.concatenate(sound), tones.SAMPLE_RATE)
    options = ("transcribe", "--model", tone_model, "--phrases", "lights.yaml", tmp_path / "two.wav")
    finals = [json.loads(line) for line in run(*options, "-f", "jsonl", cwd=folder).stdout.splitlines()]
    assert [(final["intent"], final["slots"]) for final in finals] == [("switch", {"room": 2}), ("dim", {"level": 42})]
    assert finals[0]["end"] < finals[1]["start"]
    assert run(*options, cwd=folder).stdout.strip() == "turn on the bed room lights dim to forty two"


def test_other_speech_is_nothing_unless_rejection_is_off(tone_model, folder):
    options = ("transcribe", "--model", tone_model, "--phrases", "lights.yaml")
    assert run(*options, "other.wav", cwd=folder).stdout.strip() == ""
    assert run(*options, "--no-reject", "other.wav", cwd=folder).stdout.strip() != ""
    assert run(*options, "near.wav", cwd=folder).stdout.strip() == ""
    near = run(*options, "--phrase-threshold", "-9", "near.wav", cwd=folder).stdout.strip()
    assert near.startswith("turn o") and "hall light" in near


def test_the_streaming_path_gives_the_same_at_any_chunking(tone_recognizer, folder):
    recognizer = tone_recognizer.with_decoder(load_phrases(folder / "lights.yaml", tone_recognizer.metadata))
    pause = tones.silence(1.0)
    said = ["turn off hall light", "some other words", "good night", "dim to seven"]
    sound = np.concatenate([part for text in said for part in (tones.say(text), pause)])
    for n_chunk in (len(sound), 5000, 999):
        finals = [
            event
            for event in recognizer.follow(sound[i : i + n_chunk] for i in range(0, len(sound), n_chunk))
            if event.type == "final"
        ]
        assert [final.text for final in finals] == ["turn off hall light", "good night", "dim to seven"]
        if n_chunk == len(sound):
            whole = finals
        assert finals == whole
    assert [final.slots for final in whole] == [{"room": "hall"}, {"room": "all"}, {"level": 7}]


def test_a_saved_stream_goes_on_to_the_same_words(tone_recognizer, folder):
    recognizer = tone_recognizer.with_decoder(load_phrases(folder / "lights.yaml", tone_recognizer.metadata))
    sound = tones.say("turn on the bed room lights")
    _, state = recognizer.step(sound[:9000], recognizer.init_state())
    content = recognizer.save(state)
    again = tone_recognizer.with_decoder(load_phrases(folder / "lights.yaml", tone_recognizer.metadata))
    results = []
    for one, before in ((recognizer, state), (again, again.restore(content))):
        events, after = one.step(sound[9000:], before)
        results.append([*events, *one.flush(after)[0]])
    assert results[0] == results[1] and results[0][-1].slots == {"room": 2}


def test_a_broken_file_is_told_with_all_its_faults(tone_model, folder):
    for command in (("transcribe", "on.wav"), ("listen", "--input", "on.wav")):
        done = run(*command, "--model", tone_model, "--phrases", "broken.yaml", cwd=folder)
        assert done.returncode == 2 and done.stdout == ""
        assert "broken.yaml:3:13: '(' is never closed; wanted ')'" in done.stderr
    done = run("transcribe", "on.wav", "--model", tone_model, "--phrases", "none.yaml", cwd=folder)
    assert done.returncode == 1 and "none.yaml: No such file" in done.stderr
    done = run("transcribe", "on.wav", "--model", tone_model, "--no-reject", cwd=folder)
    assert done.returncode == 2 and "give --phrases FILE" in done.stderr
    done = run("transcribe", "on.wav", "--model", tone_model, "--phrases", "lights.yaml", "--phrase-threshold", "1", cwd=folder)
    assert done.returncode == 2 and "wanted a threshold of 0 or less" in done.stderr


def test_a_stream_takes_a_changed_file_and_keeps_its_phrases_when_it_breaks(tone_model, folder, tmp_path):
    file = tmp_path / "p.yaml"
    file.write_text("intents: {a: [one two]}")
    process = start("listen", "--input", "-", "--model", tone_model, "--phrases", file, text=False, stdin=subprocess.PIPE)

    def hear(text):
        sound = np.concatenate([tones.say(text), tones.silence(1.5)])
        process.stdin.write((sound * 32767).astype("<i2").tobytes())
        process.stdin.flush()

    def change(text):
        file.with_suffix(".new").write_text(text)
        file.with_suffix(".new").replace(file)
        time.sleep(POLL_SECONDS + 0.3)
        process.stdin.write(bytes(2 * tones.SAMPLE_RATE))
        process.stdin.flush()

    hear("one two")
    assert process.stdout.readline() == b"one two\n"  # it has begun, with the first file
    change("intents: {a: ['(one two']}")
    hear("one two")
    assert process.stdout.readline() == b"one two\n"
    change("intents: {a: [three]}")
    hear("three")
    out, errors = process.communicate(timeout=60)
    assert out == b"three\n"
    assert "p.yaml:1:16: '(' is never closed" in errors.decode() and "has changed" in errors.decode()


def line_of(path, **more):
    return {"audio_filepath": str(path), "duration": soundfile.info(path).duration, **more}


def test_eval_counts_what_was_rejected(tone_model, folder, tmp_path):
    texts = {"on": "turn on the bed room lights", "dim": "dim to forty two", "other": "the quick brown fox jumps"}
    manifest = tmp_path / "m.jsonl"
    lines = [line_of(folder / f"{name}.wav", text=text) for name, text in texts.items()]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    options = ("eval", "--manifest", manifest, "--model", tone_model, "--phrases", folder / "lights.yaml")
    figures = json.loads(run(*options, "--json").stdout)
    assert (figures["clips"], figures["right"], figures["rejected"]) == (3, 2, 1)
    assert json.loads(run(*options, "--json", "--no-reject").stdout)["rejected"] == 0
    assert "rejected      33.33 %  (1 of 3)" in run(*options).stdout

    options = ("phrases", "false-accepts", folder / "lights.yaml", "--manifest", manifest, "--model", tone_model)
    figures = json.loads(run(*options, "--json", "--without", "fox,hall").stdout)
    assert figures["given_out"] == 2 and len(figures["nearest"]) == 2 and figures["nearest"][0]["phrase_score"] >= -0.2
    assert "2 phrases heard in" in run(*options, "--without", "fox").stdout
    done = run(*options)
    assert done.returncode == 1 and "every recording holds one of the words" in done.stderr


@pytest.fixture
def meant(folder, tmp_path):
    """What is meant, without texts; one line has a slot too few, one recording is no phrase."""
    lines = [
        {"audio_filepath": "on.wav", "intent": "switch", "slots": {"room": 2}},
        {"audio_filepath": "dim.wav", "intent": "dim", "slots": {}},
        {"audio_filepath": "other.wav", "intent": "dim", "slots": {"level": 1}},
        {"audio_filepath": "near.wav", "text": ""},
    ]
    absolute = [line | line_of(folder / line["audio_filepath"]) for line in lines]
    (tmp_path / "meant.jsonl").write_text("".join(json.dumps(line) + "\n" for line in absolute))
    noise = np.random.default_rng(0).normal(0, 0.1, 8 * tones.SAMPLE_RATE)
    soundfile.write(tmp_path / "noise.wav", noise, tones.SAMPLE_RATE, subtype="FLOAT")
    return tmp_path / "meant.jsonl"


def test_eval_compares_intent_and_slots(tone_model, folder, meant):
    options = ("eval", "--manifest", meant, "--model", tone_model, "--phrases", folder / "lights.yaml")
    figures = json.loads(run(*options, "--json").stdout)
    assert figures["understanding"] == {
        "clips": 3, "intent_right": 2, "right": 1, "share": 0.33333, "ci95": [0.06149, 0.79234], "rejected": 1
    }  # fmt: skip
    assert (figures["wer"], figures["errors"], figures["without_words"]["accepted"]) == (None, 0, 0)
    assert (figures["clips"], figures["right"]) == (4, 2)
    shown = run(*options).stdout
    assert "intent right  66.67 %  (2 of 3)" in shown and "slots, too    33.33 %  (1 of 3;" in shown
    assert "level: (nothing) understood as 42" in shown and "intent: dim understood as (nothing)" in shown


def test_eval_mixes_noise(tone_model, folder, meant):
    options = ("eval", "--manifest", meant, "--model", tone_model, "--phrases", folder / "lights.yaml", "--json")
    noise = ("--noise", meant.parent / "noise.wav")

    def right(*more):
        return json.loads(run(*options, *more).stdout)["understanding"]["right"]

    assert right(*noise, "--snr", "30") == 1 and right(*noise, "--snr", "-20") == 0
    for wrong, says in ((noise, "belong together"), ((*noise, "--snr", "5", "--times"), "joined in silence")):
        done = run(*options, *wrong)
        assert done.returncode == 2 and says in done.stderr


def test_measure_suggests_a_threshold(tone_model, folder, tmp_path):
    said = {"on": "turn on the bed room lights", "dim": "dim to forty two"}
    lines = [line_of(folder / f"{name}.wav", text=text) for name, text in said.items()]
    (tmp_path / "said.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    lines = [line_of(folder / f"{name}.wav", text="") for name in ("other", "near")]
    (tmp_path / "other.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    options = ("phrases", "measure", folder / "lights.yaml", "--manifest", tmp_path / "said.jsonl")
    options = (*options, "--other", tmp_path / "other.jsonl", "--model", tone_model, "--accept", "0")
    figures = json.loads(run(*options, "--json").stdout)
    assert (figures["said"], figures["other"], figures["right_without_rejection"]) == (2, 2, 2)
    suggested = figures["suggested"]
    assert (suggested["right"], suggested["accepted"]) == (2, 0) and -3 < suggested["threshold"] < 0
    assert figures["measured"]["phrase_threshold"] == suggested["threshold"]
    shown = run(*options, "--limit", "1").stdout
    assert "1 recordings of phrases, 100.0 % right when nothing is rejected; 1 recordings of other speech" in shown
    assert "suggested: " in shown


def test_check(tone_model, folder):
    done = run("phrases", "check", "lights.yaml", "--model", tone_model, cwd=folder)
    assert done.returncode == 0
    assert "3 phrases of 2 intents: 118 sentences" in done.stdout  # 2 * 2 * 2 * 2 + 1 + 101
    assert "compiled in" in done.stdout and "warning" not in done.stdout
    done = run("phrases", "check", "broken.yaml", cwd=folder)
    assert done.returncode == 2 and "1 fault in broken.yaml" not in done.stdout
    (folder / "two.yaml").write_text("intents: {a: [go on], b: ['go [on]']}\nrules: {idle: x}\n")
    done = run("phrases", "check", "two.yaml", cwd=folder)
    assert "warning: 'go on' can be understood in two ways:" in done.stdout
    assert "warning: two.yaml:2:15: rule 'idle' is used by nothing" in done.stdout
    assert "was not checked against a model" in done.stderr


def test_import(folder, tmp_path):
    (tmp_path / "a.jsgf").write_text("#JSGF V1.0;\ngrammar a;\npublic <go> = go {tag} (left | right);\n")
    done = run("phrases", "import", "a.jsgf", cwd=tmp_path)
    assert 'go:\n    - "go (left | right)"' in done.stdout and "1 tags were left out" in done.stderr
    assert run("phrases", "import", "a.jsgf", "--out", "a.yaml", cwd=tmp_path).returncode == 0
    assert "2 sentences" in run("phrases", "check", "a.yaml", cwd=tmp_path).stdout
    (tmp_path / "b.txt").write_text("public <go> = go*;")
    done = run("phrases", "import", "b.txt", cwd=tmp_path)
    assert done.returncode == 2 and "wanted --from hassil, jsgf, rhino" in done.stderr
    done = run("phrases", "import", "b.txt", "--from", "jsgf", cwd=tmp_path)
    assert done.returncode == 2 and "b.txt:1:17: '*' repeats without end" in done.stderr
