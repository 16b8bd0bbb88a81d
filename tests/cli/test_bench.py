"""`edgeseq bench`."""

import json

from typer.testing import CliRunner

from edgeseq.cli import app


def test_rows_for_machines(tone_model):
    result = CliRunner().invoke(app, ["bench", "--model", str(tone_model), "--seconds", "2", "--json"])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert [row["model"] for row in figures["rows"]] == ["tones"] and figures["help_seconds"] > 0


def test_a_missing_model_ends_with_2():
    result = CliRunner().invoke(app, ["bench", "--model", "no-such-model"])
    assert result.exit_code == 2 and "no-such-model" in result.stderr
