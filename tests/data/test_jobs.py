"""Bulk work: spread over Ray's processes, ended by force, gone on with; results are those of one process."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tone_language

from edgeseq.data.jobs import Journal, Outcome, describe, run
from edgeseq.data.manifest import Recording, write_manifest
from edgeseq.errors import UsageError

WORDS = ("one", "two", "three", "four")
ASKED = {"command": "test"}


def double(number):
    return Outcome(2 * number) if number < 100 else Outcome(None, "too large")


def opener():
    return double


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "work.journal"


def test_what_is_in_the_journal_is_not_done_again(journal):
    first = Journal(journal, ASKED)
    assert dict(run(opener, {"a": 1, "b": 2}, journal=first)) == {"a": Outcome(2), "b": Outcome(4)}
    first.close()

    def only_c():
        def function(number):
            assert number == 3
            return Outcome("anew")

        return function

    outcomes = dict(run(only_c, {"b": 2, "c": 3, "a": 1}, journal=Journal(journal, ASKED)))
    assert {key: one.result for key, one in outcomes.items()} == {"a": 2, "b": 4, "c": "anew"}


def test_what_failed_is_tried_again(journal):
    outcomes = dict(run(opener, {"a": 100, "b": 1}, journal=Journal(journal, ASKED)))
    assert outcomes["a"].fault == "too large"
    assert list(Journal(journal, ASKED).done) == ["b"]


def test_a_line_that_a_crash_cut_off_is_dropped(journal):
    written = Journal(journal, ASKED)
    written.add("a", "ä")
    written.close()
    whole = journal.read_bytes()
    for length in range(len(whole)):
        journal.write_bytes(whole[:length])
        again = Journal(journal, ASKED)
        assert again.done == {}
        again.add("b", 1)
        again.close()
        assert Journal(journal, ASKED).done == {"b": 1}


def test_the_journal_of_other_work_is_refused_and_left_alone(journal, tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("one")
    Journal(journal, describe(lexicon=words, beam=8)).close()
    before = journal.read_bytes()
    words.write_text("two")
    with pytest.raises(UsageError, match=r"lexicon: was .*words\.txt \(sha256"):
        Journal(journal, describe(lexicon=words, beam=8))
    journal.write_bytes(b"something else\n")
    with pytest.raises(UsageError, match="not a journal"):
        Journal(journal, ASKED)
    assert journal.read_bytes() == b"something else\n" and before


def test_work_ends_when_asked(journal):
    done = []
    for key, _ in run(opener, {"a": 1, "b": 2, "c": 3}, stop=lambda: len(done) == 2):
        done.append(key)
    assert done == ["a", "b"]


@pytest.fixture
def archive(tmp_path):
    """Forty recordings and their manifest."""
    recordings = []
    for number in range(40):
        word = WORDS[number % 4]
        path = tmp_path / f"{number:02}.wav"
        samples = tone_language.say(word)
        soundfile.write(path, samples, tone_language.SAMPLE_RATE)
        recordings.append(Recording(path, len(samples) / tone_language.SAMPLE_RATE, word, speaker="anna"))
    write_manifest(tmp_path / "test.jsonl", recordings)
    return tmp_path


def edgeseq(folder, *words):
    command = [sys.executable, "-m", "edgeseq", *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=250, check=False)


def files(folder):
    return sorted(path.name for path in folder.glob("*.wav"))


def test_a_journal_gives_the_same_words(archive, tone_model):
    plain = edgeseq(archive, "transcribe", "-m", tone_model, "-f", "jsonl", *files(archive))
    assert plain.returncode == 0 and len(plain.stdout.splitlines()) == 40
    for _ in range(2):
        kept = edgeseq(archive, "transcribe", "-m", tone_model, "-f", "jsonl", "--journal", "j", *files(archive))
        assert (kept.returncode, kept.stdout) == (0, plain.stdout)
    other = edgeseq(archive, "transcribe", "-m", tone_model, "--journal", "j", *files(archive))
    assert other.returncode == 2 and "format: was 'jsonl', now 'text'" in other.stderr


def test_an_evaluation_with_a_journal_counts_the_same(archive, tone_model):
    options = ("eval", "--model", tone_model, "--manifest", "test.jsonl", "--json", "--times", "--partials")
    plain = edgeseq(archive, *options)
    figures = [edgeseq(archive, *options, "--journal", "j") for _ in range(2)]
    assert plain.returncode == 0, plain.stderr
    for kept in figures:
        assert kept.returncode == 0, kept.stderr
        assert steady(kept.stdout) == steady(plain.stdout)


def steady(figures):
    """What does not hang on speed."""
    return {key: value for key, value in json.loads(figures).items() if key not in ("rtf", "p99_ms", "rss_mb")}


def test_a_second_run_goes_on_after_the_driver_is_killed(archive, tone_model):
    """Killed by force while it works, in one process; the second run hears only what is left."""
    files_twice = files(archive)
    plain = edgeseq(archive, "transcribe", "-m", tone_model, *files_twice).stdout
    command = [sys.executable, "-m", "edgeseq", "transcribe", "-m", tone_model, "--journal", "j", *files_twice]
    with subprocess.Popen(command, cwd=archive, stdout=subprocess.PIPE, text=True) as driver:
        for _ in range(5):
            driver.stdout.readline()
        driver.send_signal(signal.SIGKILL)
    kept = len((archive / "j").read_bytes().splitlines())
    assert kept >= 5
    for name in files(archive)[:4]:
        (archive / name).unlink()  # not needed any more
    again = edgeseq(archive, "transcribe", "-m", tone_model, "--journal", "j", *files_twice)
    assert (again.returncode, again.stdout) == (0, plain)


ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'edgeseq[ray]'")


@ray
@pytest.mark.slow
def test_ray_spreads_and_goes_on_after_workers_and_driver_are_killed(archive, tone_model):
    """A worker is killed, then the driver; the second run ends the work; words and figures are those of one process."""
    long = np.tile(np.concatenate([tone_language.say(word) for word in WORDS]), 8)
    soundfile.write(archive / "00.wav", long, tone_language.SAMPLE_RATE)
    for number in range(100, 140):
        os.link(archive / "00.wav", archive / f"{number}.wav")
    names = files(archive)
    options = ["transcribe", "-m", tone_model, "--jobs", "2", "--journal", "j", *names]
    with subprocess.Popen([sys.executable, "-m", "edgeseq", *map(str, options)], cwd=archive, stdout=subprocess.PIPE) as driver:
        wait_for_lines(archive / "j", 5)
        for pid in workers(driver.pid):
            os.kill(pid, signal.SIGKILL)
            break
        else:
            pytest.fail("Ray has no workers")
        wait_for_lines(archive / "j", 15)  # the work goes on
        driver.send_signal(signal.SIGKILL)
    wait_until_gone(driver.pid)
    kept = len((archive / "j").read_bytes().splitlines())
    assert 15 <= kept < len(names)
    again = edgeseq(archive, *options)
    assert again.returncode == 0, again.stderr
    assert again.stdout == edgeseq(archive, "transcribe", "-m", tone_model, *names).stdout
    assert len((archive / "j").read_bytes().splitlines()) == len(names) + 1  # none twice
    figures = edgeseq(archive, "eval", "--model", tone_model, "--manifest", "test.jsonl", "--json", "--jobs", "2")
    assert steady(figures.stdout) == steady(
        edgeseq(archive, "eval", "--model", tone_model, "--manifest", "test.jsonl", "--json").stdout
    )


def workers(ancestor):
    """Ray's processes under `ancestor` that do work."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = []
    for pid in parents:
        line, above = command_line(pid), pid
        while above in parents and above != ancestor:
            above = parents[above]
        if above == ancestor and line.startswith("ray::_Worker"):
            found.append(pid)
    return found


def command_line(pid):
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""


def wait_for_lines(path, count, seconds=120):
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if path.exists() and len(path.read_bytes().splitlines()) >= count:
            return
        time.sleep(0.02)
    pytest.fail(f"{path} has no {count} lines after {seconds} s")


def wait_until_gone(pid, seconds=60):
    ends = time.monotonic() + seconds
    while time.monotonic() < ends and workers(pid):
        time.sleep(0.2)
