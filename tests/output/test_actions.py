import json
import os
import shlex
import sys
import time

import pytest

from edgeseq.errors import UsageError
from edgeseq.output.actions import CommandRunner, split_command


def python(code, *arguments):
    return shlex.join([sys.executable, "-c", code, *map(str, arguments)])


APPEND = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read())"


def run(command, texts, **options):
    told = []
    with CommandRunner(command, told.append, **options) as runner:
        for text in texts:
            runner.hand_over(text)
    return told


def test_each_text_starts_the_command_in_order(tmp_path):
    texts = [json.dumps({"text": f"wörter {n}"}) for n in range(8)]
    assert run(python(APPEND, tmp_path / "told"), texts, end_seconds=60) == []
    assert (tmp_path / "told").read_text().splitlines() == texts


def test_there_is_no_shell(tmp_path):
    told = run(python("import sys; sys.exit(sys.argv[1] != '$(id); *')", "$(id); *"), ["{}"], end_seconds=60)
    assert told == []


def test_a_failure_is_told_once_for_each():
    told = run(python("import sys; sys.exit(3)"), ["a", "b"], end_seconds=60)
    assert len(told) == 2 and all("ended with exit code 3" in line for line in told)
    told = run(python("import os; os.kill(os.getpid(), 9)"), ["a"], end_seconds=60)
    assert len(told) == 1 and "ended with signal 9" in told[0]


def test_a_command_that_does_not_read():
    assert run(python("pass"), ["x" * 1_000_000], end_seconds=60) == []


def test_a_slow_command_holds_nothing_up(tmp_path):
    told = []
    with CommandRunner(
        python("import time; time.sleep(1)"), told.append, max_waiting=2, slow_seconds=0.2, end_seconds=60
    ) as runner:
        for n in range(6):
            runner.hand_over(str(n))
    assert sum("too slow; one is lost" in line for line in told) >= 3
    assert sum("takes more than 0.2 s" in line for line in told) >= 2


def test_what_never_ends_is_stopped(tmp_path):
    code = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
    told = run(python(code, tmp_path / "pid"), ["a", "b", "c"], end_seconds=3)
    assert len(told) == 1 and "was stopped; 3 finals were not handed over" in told[0]
    pid = int((tmp_path / "pid").read_text())
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            break
        time.sleep(0.05)
    else:
        pytest.fail("it still runs")


@pytest.mark.parametrize(
    ("command", "said"),
    [("", "is empty"), ("cat 'a", "No closing quotation"), ("no-such-program x", "no program 'no-such-program'")],
)
def test_commands_that_cannot_be(command, said):
    with pytest.raises(UsageError, match=said):
        split_command(command)
