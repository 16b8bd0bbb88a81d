"""One's own voice: takes are judged, sessions keep what is good and go on where they ended."""

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeseq.data.manifest import read_manifest
from edgeseq.data.record import Listening, Over, Reviewing, Session, Waiting
from edgeseq.data.take import MARGIN_SECONDS, find_speech, judge
from edgeseq.errors import AudioError, UsageError
from edgeseq.sound.blocks import Lost

RATE = 16_000
BLOCK = 1280


def room(seconds, db=-65.0, seed=0):
    noise = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    return (10 ** (db / 20) * noise).astype(np.float32)


def voice(seconds=0.8, peak_db=-12.0):
    time = np.arange(round(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * 140 * k * time + k * k) / k for k in range(1, 12)) * (
        0.6 + 0.4 * np.sin(2 * np.pi * 4 * time)
    )
    return (wave / np.abs(wave).max() * 10 ** (peak_db / 20)).astype(np.float32)


def spoken(before=0.5, seconds=0.8, after=1.5, peak_db=-12.0, room_db=-65.0):
    sound = np.concatenate([np.zeros(round(before * RATE)), voice(seconds, peak_db), np.zeros(round(after * RATE))])
    return (sound + room(len(sound) / RATE, room_db)[: len(sound)]).astype(np.float32)


def test_a_good_take_is_cut_to_its_speech():
    take = judge(spoken(), RATE)
    assert take.faults == ()
    assert take.seconds == pytest.approx(0.8 + 2 * MARGIN_SECONDS, abs=0.05) and len(take.samples) == take.seconds * RATE
    assert take.peak_db == pytest.approx(-12, abs=0.5)


@settings(deadline=None, max_examples=30)
@given(before=st.floats(0.2, 2), seconds=st.floats(0.3, 3), peak_db=st.floats(-30, -2), room_db=st.floats(-90, -60))
def test_speech_is_found_where_it_is(before, seconds, peak_db, room_db):
    start, end = find_speech(spoken(before, seconds, 1.5, peak_db, room_db), RATE)
    assert start == pytest.approx(before, abs=0.06) and end == pytest.approx(before + seconds, abs=0.06)


@pytest.mark.parametrize(
    ("sound", "fault"),
    [
        (np.zeros(2 * RATE, np.float32), "nothing but zeros"),
        (room(2.0), "no speech was found"),
        (spoken(seconds=0.04), "no speech was found"),
        (np.clip(spoken(peak_db=6.0), -1, 1), "clipped"),
        (spoken(peak_db=-40.0, room_db=-80), "too quiet"),
        (spoken(peak_db=-20.0, room_db=-42), "noisy"),
        (spoken(before=0.0), "cut off at its beginning"),
        (spoken(after=0.0), "cut off at its end"),
    ],
)
def test_bad_takes_say_what_is_wrong(sound, fault):
    faults = judge(sound, RATE).faults
    assert len(faults) == 1 and fault in faults[0]


def hear(session, sound):
    for start in range(0, len(sound), BLOCK):
        session.step(sound[start : start + BLOCK])


def take(session, sound=None):
    """Begin a take, speak, and wait until it ends by itself."""
    hear(session, room(0.5))
    session.step(room(0.08), "\n")
    assert isinstance(session.state, Listening)
    hear(session, spoken() if sound is None else sound)
    assert isinstance(session.state, Reviewing)


def begin(folder, texts=("one two", "three"), **options):
    return Session(texts, folder, "anna", RATE, **options)


def test_a_session_from_beginning_to_end(tmp_path):
    session = begin(tmp_path, microphone="desk")
    assert session.prompt.text == "one two" and session.place == (1, 2)
    for _ in range(2):
        take(session)
        session.step(room(0.08), "\n")
    assert isinstance(session.state, Over) and session.kept == 2
    recordings = read_manifest(session.manifest)
    assert [(r.text, r.speaker, r.extra["microphone"]) for r in recordings] == [
        ("one two", "anna", "desk"),
        ("three", "anna", "desk"),
    ]
    for recording in recordings:
        samples, rate = soundfile.read(recording.path)
        assert rate == RATE and len(samples) / rate == pytest.approx(recording.duration, abs=1e-3)
        assert np.abs(samples).max() == pytest.approx(10 ** (-12 / 20), rel=0.1)


def test_a_session_goes_on_where_it_ended(tmp_path):
    session = begin(tmp_path)
    take(session)
    session.step(room(0.08), "\n")
    session.step(room(0.08), "q")
    assert isinstance(session.state, Over)
    again = begin(tmp_path, texts=("zero", "one two", "three"))
    assert again.n_done_before == 1 and again.prompt.text == "zero" and again.place == (2, 3)
    (tmp_path / "anna/one-two-0.flac").unlink()
    assert begin(tmp_path).n_done_before == 0


def test_speakers_share_a_folder(tmp_path):
    for speaker in ("anna", "ben"):
        session = Session(["one"], tmp_path, speaker, RATE)
        take(session)
        session.step(room(0.08), "\n")
    assert sorted(r.speaker for r in read_manifest(tmp_path / "manifest.jsonl")) == ["anna", "ben"]
    assert len({r.path for r in read_manifest(tmp_path / "manifest.jsonl")}) == 2


def test_enter_keeps_no_bad_take_but_k_does(tmp_path):
    session = begin(tmp_path)
    take(session, spoken(peak_db=-40, room_db=-80))
    session.step(room(0.08), "\n")
    assert isinstance(session.state, Listening) and session.kept == 0
    hear(session, spoken(peak_db=-40, room_db=-80))
    session.step(room(0.08), "k")
    assert session.kept == 1 and session.prompt.text == "three"


def test_redo_skip_and_back(tmp_path):
    session = begin(tmp_path)
    take(session)
    session.step(room(0.08), "r")
    hear(session, spoken(seconds=1.2))
    session.step(room(0.08), "\n")
    assert len(read_manifest(session.manifest)) == 1
    assert read_manifest(session.manifest)[0].duration == pytest.approx(1.7, abs=0.1)
    session.step(room(0.08), "b")
    assert session.prompt.text == "one two"
    take(session)
    session.step(room(0.08), "\n")
    (recording,) = read_manifest(session.manifest)
    assert recording.duration == pytest.approx(1.3, abs=0.1)
    session.step(room(0.08), "s")
    assert isinstance(session.state, Over) and session.skipped == 1


def test_several_takes_of_a_prompt(tmp_path):
    session = begin(tmp_path, texts=("one",), takes=2)
    session.step(room(0.08), "s")
    take(session)
    session.step(room(0.08), "\n")
    again = begin(tmp_path, texts=("one",), takes=2)
    assert again.prompt.number == 0 and again.n_done_before == 1


def test_enter_ends_a_take_and_silence_ends_it_too(tmp_path):
    session = begin(tmp_path)
    session.step(room(0.4), "\n")
    hear(session, spoken(after=0.3))
    session.step(room(0.08), "\n")
    assert isinstance(session.state, Reviewing) and session.state.take.faults == ()
    session.step(room(0.08), "r")
    hear(session, room(8.0))
    assert isinstance(session.state, Reviewing) and "no speech" in session.state.take.faults[0]


def test_a_take_with_a_hole_is_begun_anew(tmp_path):
    session = begin(tmp_path)
    session.step(room(0.4), "\n")
    hear(session, voice(0.5))
    session.step(Lost(0.2, "the microphone has gone"))
    assert isinstance(session.state, Waiting) and session.prompt.text == "one two"


def test_a_disk_that_does_not_take_it_loses_no_take(tmp_path):
    session = begin(tmp_path)
    take(session)
    (tmp_path / "anna").write_text("no folder")
    with pytest.raises(AudioError, match="cannot be written"):
        session.step(room(0.08), "\n")
    (tmp_path / "anna").unlink()
    session.step(room(0.08), "\n")
    assert len(read_manifest(session.manifest)) == 1


@pytest.mark.parametrize("speaker", ["", "a/b", "../x", ".hidden", "a b"])
def test_names_that_are_no_names(tmp_path, speaker):
    with pytest.raises(UsageError, match="speaker's name"):
        Session(["one"], tmp_path, speaker, RATE)
