import subprocess
import sys

import pytest
from command_line import run

from edgeseq.cli import app


def test_help_names_every_command():
    done = run("--help")
    assert done.returncode == 0
    for command in ("listen", "transcribe", "devices", "models"):
        assert f"\n  {command} " in done.stdout


@pytest.mark.parametrize("words", [["listen"], ["transcribe"], ["devices"], ["models", "info"]])
def test_help_has_examples(words):
    done = run(*words, "--help")
    assert done.returncode == 0 and "Example" in done.stdout
    assert "\b" not in done.stdout


def test_help_loads_nothing_heavy():
    code = "import sys; sys.argv[1:] = ['--help']\nfrom edgeseq.cli import app\n"
    code += "app(standalone_mode=False)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}
    heavy = {"torch", "torchaudio", "onnxruntime", "onnx", "numpy", "scipy", "pydantic", "sounddevice"}
    assert "typer" in loaded and not loaded & heavy


def test_a_command_loads_no_other_command():
    code = "import sys; sys.argv[1:] = ['models', 'list']\nfrom edgeseq.cli import app\n"
    code += "app(standalone_mode=False)\nprint(*(name for name in sys.modules if name.startswith('edgeseq.cli.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "edgeseq.cli.models" in loaded and not loaded & {
        f"edgeseq.cli.{name}" for name in ("train", "serve", "bench", "data")
    }


def test_version():
    done = run("--version")
    assert done.returncode == 0 and done.stdout.startswith("edgeseq 0.")


def test_nothing_or_nonsense_is_wrong_usage():
    assert run().returncode == 2
    done = run("lissen")
    assert done.returncode == 2 and "listen" in done.stderr


def test_faults_end_in_a_message_in_process_too():
    from typer.testing import CliRunner

    done = CliRunner().invoke(app, ["models", "info", "no/such.onnx"])
    assert done.exit_code == 2 and "no model 'no/such.onnx'" in done.output


def test_a_program_without_standard_output():
    code = "from edgeseq.cli import main; main()"
    done = subprocess.run(["sh", "-c", f"{sys.executable} -c '{code}' models list >&-"], stderr=subprocess.PIPE, text=True)
    assert "Traceback" not in done.stderr
