"""What recipes/english brings: spelled prompts, and manifests without the people kept for judging."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from edgeseq.data.corpora import ImportRequest, importer
from edgeseq.data.manifest import read_manifest

ENGLISH = Path(__file__).parent.parent / "recipes" / "english"


def spell(folder):
    program = [sys.executable, ENGLISH / "spelled_table.py", folder]
    return subprocess.run(program, capture_output=True, text=True, check=False)


def test_prompts_are_spelled_as_they_are_said(tmp_path):
    rows = ["Response_ID,file_name,Age,Gender,Nationality,Name,Number,Address"]
    for kind in ("Names", "Addresses", "Numbers"):
        path = f"audio_data/{kind}/R_1.wav"
        (tmp_path / path).parent.mkdir(parents=True)
        soundfile.write(tmp_path / path, np.zeros(1600), 16_000)
        rows.append(f'R_1,{path},24,Female,Indian,Zoë-Ann Li,+91 20,"48 Ridge Road"')
    (tmp_path / "metadata.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    assert spell(tmp_path).stdout == f"{tmp_path / 'train.csv'}: 2 recordings\n"
    imported = importer("folder")(ImportRequest("folder", tmp_path / "out", tmp_path / "train.csv"))
    lines = read_manifest(next(iter(imported.manifests)))
    assert [line.text for line in lines] == ["z o e a n n l i", "nine one two zero"]
    assert {(line.speaker, line.extra["age"], line.extra["gender"]) for line in lines} == {("R_1", "24", "female")}


def test_a_folder_without_metadata_is_refused(tmp_path):
    done = spell(tmp_path)
    assert done.returncode == 1 and "holds metadata.csv" in done.stderr


@pytest.mark.parametrize("kept", [True, False])
def test_the_command_of_the_page_leaves_people_out(tmp_path, kept):
    page = (ENGLISH / "README.md").read_text(encoding="utf-8")
    (command,) = (line.strip() for line in page.splitlines() if line.startswith("    sed "))
    people = [line for line in (ENGLISH / "an4-dev.txt").read_text(encoding="utf-8").splitlines() if line[0] != "#"]
    assert len(people) == len(set(people)) == 10
    speaker = "an4_fcaw" if kept else people[3]
    (tmp_path / "data" / "an4").mkdir(parents=True)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "english").symlink_to(ENGLISH)
    line = json.dumps({"audio_filepath": "a.wav", "duration": 1.0, "text": "yes", "speaker": speaker, "licence": "MIT"})
    (tmp_path / "data/an4/train.jsonl").write_text(line + "\n", encoding="utf-8")
    subprocess.run(command, shell=True, cwd=tmp_path, check=False)
    assert (tmp_path / "data/an4/train-others.jsonl").read_text(encoding="utf-8") == (line + "\n" if kept else "")
