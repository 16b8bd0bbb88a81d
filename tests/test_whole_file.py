"""Files that appear whole or not at all."""

import pytest

from edgeseq.whole_file import write_whole, written_whole


def test_a_file_is_replaced_when_the_new_one_is_whole(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    write_whole(path, b"one")
    with written_whole(path) as half:
        half.write_text("two")
        assert path.read_text() == "one"
    assert path.read_text() == "two"
    assert list(path.parent.iterdir()) == [path]


def test_what_was_there_stays_when_writing_fails(tmp_path):
    path = tmp_path / "a.txt"
    write_whole(path, b"one")
    with pytest.raises(KeyboardInterrupt), written_whole(path) as half:
        half.write_text("tw")
        raise KeyboardInterrupt
    assert path.read_text() == "one"
    assert list(tmp_path.iterdir()) == [path]


def test_the_fault_is_told_where_nothing_could_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        write_whole(tmp_path / "file" / "a.txt", b"one")
