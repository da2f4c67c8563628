import csv
import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mt4ssl_core import files


def writers():
    yield "torch", lambda path: torch.save({"a": torch.zeros(400_000)}, path)
    yield "safetensors", lambda path: save_file({"a": torch.zeros(400_000)}, path)
    yield "bytes", lambda path: path.write_bytes(np.zeros(400_000).tobytes())
    yield "text", lambda path: path.write_text("x" * 2_000_000)


@pytest.mark.parametrize(("name", "write"), writers())
def test_a_file_size_limit_is_one_clear_error_and_leaves_what_was_there(tmp_path, name, write):
    target = tmp_path / "out.bin"
    target.write_text("before")
    code = (
        "import resource, sys; sys.path[:0] = ['.', 'tests']\n"
        "from pathlib import Path; from mt4ssl_core import files; from test_files import writers\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try:\n"
        f"    with files.atomic_path({str(target)!r}) as path: dict(writers())[{name!r}](path)\n"
        "except OSError as error: print(error); sys.exit(7)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 7, ended.stderr
    assert f"{target}: cannot be written (File too large)" in ended.stdout
    assert target.read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["out.bin"]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (RuntimeError("unexpected pos 64 vs 0: No space left on device"), "No space left on"),
        (RuntimeError("[enforce fail at file_writer.cc] PytorchStreamWriter failed writing file "
                      "data/3: problem writing element 41984 to file"), "Input/output error"),
    ],
)  # fmt: skip
def test_a_full_disk_names_file_and_reason(tmp_path, error, reason):
    message = rf"out: cannot be written \({reason}"
    with pytest.raises(OSError, match=message), files.atomic_path(tmp_path / "out"):
        raise error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [ValueError("bad input"), RuntimeError("size mismatch"),
                                   FileNotFoundError(2, "No such file", "/elsewhere")])  # fmt: skip
def test_errors_about_something_else_pass_unchanged(tmp_path, error):
    with pytest.raises(type(error)) as caught, files.atomic_path(tmp_path / "out"):
        raise error
    assert caught.value is error


def test_a_parent_that_is_a_file_is_named(tmp_path):
    (tmp_path / "a").write_text("")
    with (
        pytest.raises(OSError, match=r"a/b: cannot be written"),
        files.atomic_path(tmp_path / "a" / "b"),
    ):
        pass


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_files_follow_the_umask_whoever_writes_them(tmp_path, mask):
    before = os.umask(mask)
    try:
        for name, write in writers():
            with files.atomic_path(tmp_path / name) as path:
                write(path)
            assert (tmp_path / name).stat().st_mode & 0o777 == 0o666 & ~mask
    finally:
        os.umask(before)


def test_the_longest_name_that_a_file_system_takes_can_be_written(tmp_path):
    for name in ("x" * 255, "é" * 127):
        files.write_text(tmp_path / name, "whole")
        assert (tmp_path / name).read_text() == "whole"


def dead_pid() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_leftovers_of_dead_writers_go_and_all_else_stays(tmp_path):
    here, there = files.machine(), "0123abcd"
    gone = [f".{here}-{dead_pid()}-00000000.tmp", f".{here}-{dead_pid()}-0000000f.tmp"]
    kept = [f".{here}-{os.getpid()}-00000000.tmp", ".mine.tmp", "a.tmp", ".a-b-c.tmp", "last.pt"]
    foreign = f".{there}-{os.getpid()}-00000000.tmp"
    for name in [gone[0], *kept, foreign]:
        (tmp_path / name).write_text("x")
    (tmp_path / gone[1]).mkdir()
    assert sorted(path.name for path in files.remove_leftovers(tmp_path)) == sorted(gone)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([*kept, foreign])
    files.remove_leftovers(tmp_path, all_hosts=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(kept)


@pytest.mark.parametrize("text", ["=1+1", "+x", "-x", "@SUM(A1)", "\t=1", "\r=1"])
def test_cells_of_a_table_are_no_formulas(tmp_path, text):
    with open(tmp_path / "t.csv", "w", encoding="utf-8", newline="") as file:
        for row in (["a", "b"], [text, -1.5], ["ok", "a=b"]):
            csv.writer(file, lineterminator="\n").writerow(map(files.plain_cell, row))
    lines = (tmp_path / "t.csv").read_bytes().decode().split("\n")
    assert lines[1].startswith("'") or lines[1].startswith("\"'")
    assert lines[1].endswith(",-1.5") and lines[2] == "ok,a=b"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 100_000, "nested too deeply"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[" + b" " * 2000 + b"]", "more than the 1,000"),
        (None, "no such file"),
    ],
)
def test_bad_json_is_named(tmp_path, content, message):
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    limit = 1000 if message.startswith("more") else files.JSON_LIMIT
    with pytest.raises(ValueError, match=rf"x\.json: .*{message}"):
        files.read_json(path, limit)


@pytest.mark.parametrize(
    "error",
    [TypeError("x"), KeyError("x"), AttributeError("x"), RecursionError(), MemoryError(),
     json.JSONDecodeError("x", "", 0), RuntimeError("x"), ValueError("x")],
)  # fmt: skip
def test_whatever_a_foreign_file_raises_names_the_file(error):
    message = r"/some/file: cannot be read .*; copy it"
    with pytest.raises(ValueError, match=message), files.reading("/some/file", "copy it"):
        raise error


def test_errors_that_name_the_file_already_pass(tmp_path):
    with pytest.raises(ValueError, match=r"^/some/file: is bad$"), files.reading("/some/file"):
        raise ValueError("/some/file: is bad")


def test_home_folders(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert files.user_path("~/a") == Path("/home/me/a")
    assert files.user_path("a/~") == Path("a/~")
    with pytest.raises(ValueError, match="no such home folder"):
        files.user_path("~nobody_of_this_name/a")


def test_a_place_where_no_folder_can_be_written_is_found_before_the_work(tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ValueError, match=rf"--out {file}: a file; give a folder"):
        files.check_out(file)
    with pytest.raises(ValueError, match=rf"/a/b: {file} is a file; give a folder"):
        files.check_out(file / "a" / "b")
    with monkeypatch.context() as closed:
        closed.setattr(files.os, "access", lambda *_: False)  # of root nothing is
        with pytest.raises(ValueError, match=rf"/a: {tmp_path} cannot be written; give another"):
            files.check_out(tmp_path / "a")
    for fine in (tmp_path, tmp_path / "new", None):
        files.check_out(fine)


def test_a_folder_of_others_is_refused(tmp_path):
    def look(folder=tmp_path):
        files.refuse_others(f"--out {folder}", folder, "mine.json", ("half.csv",))

    look()
    look(tmp_path / "new")
    (tmp_path / ".hidden").touch()
    (tmp_path / "half.csv").touch()
    look()
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(ValueError, match=rf"^--out {tmp_path}: holds other files and no mine"):
        look()
    (tmp_path / "mine.json").touch()
    look()
