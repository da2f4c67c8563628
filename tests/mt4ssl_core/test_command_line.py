"""The guard around every command: one line and an exit code, whatever goes wrong."""

import errno
import pickle
import shlex
import subprocess
import sys
import zipfile

import pytest

import mt4ssl_cli
import run_downstream
from analysis import demo, exporting
from mini_superb import corpus
from mt4ssl_core.command_line import guarded, message_of, printable


def failing(error):
    def body():
        raise error

    return body


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("a.yaml: bad; mend it"), 2, "p: error: a.yaml: bad; mend it"),
        (OSError(errno.ENOSPC, "No space left on device", "f"), 2, "p: error: [Errno 28] No space"),
        (FileNotFoundError("none"), 2, "p: error: none"),
        (ValueError(), 2, "p: error: ValueError"),
        (MemoryError(), 1, "p: unexpected error: MemoryError; MT4SSL_DEBUG=1 shows where; please"),
        (KeyError("encoder"), 1, "p: unexpected error: KeyError: 'encoder'; MT4SSL_DEBUG=1"),
        (RecursionError("too deep"), 1, "p: unexpected error: RecursionError: too deep;"),
        (zipfile.BadZipFile("no zip"), 1, "p: unexpected error: BadZipFile: no zip;"),
        (pickle.UnpicklingError("x"), 1, "p: unexpected error: UnpicklingError: x;"),
        (RuntimeError("size\n\tmismatch\n" + "x" * 9999), 1, "RuntimeError: size mismatch xxx"),
        (ModuleNotFoundError("No module named 'pandas'", name="pandas"), 2, "pip install"),
        (
            ModuleNotFoundError("No module named 'analysis.x'", name="analysis.x"),
            1,
            "please report it",
        ),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 2, "p: error: [Errno 32] Broken pipe"),
        (KeyboardInterrupt(), 130, "p: interrupted; the same command goes on"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(capsys, monkeypatch, error, code, said):
    monkeypatch.delenv("MT4SSL_DEBUG", raising=False)
    assert guarded("p", failing(error)) == code
    shown = capsys.readouterr().err
    assert said in shown and shown.count("\n") == 1 and len(shown) < 800
    assert "Traceback" not in shown


@pytest.mark.parametrize("error", [ValueError("bad"), KeyError("x"), MemoryError()])
def test_debug_shows_the_traceback_too(capsys, monkeypatch, error):
    monkeypatch.setenv("MT4SSL_DEBUG", "1")
    assert guarded("p", failing(error)) in (1, 2)
    shown = capsys.readouterr().err
    assert "Traceback" in shown and "in body" in shown and shown.splitlines()[-1].startswith("p: ")


def test_an_exit_code_passes_and_so_does_system_exit():
    assert (guarded("p", lambda: None), guarded("p", lambda: 3)) == (0, 3)
    with pytest.raises(SystemExit):
        guarded("p", failing(SystemExit(2)))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("a\rmt4ssl: done", r"a\rmt4ssl: done"),
        ("a\nmt4ssl: done", r"a\nmt4ssl: done"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("a\x00\x7f\x9b", r"a\x00\x7f\x9b"),
        ("a\udcffb", r"a\udcffb"),
        ("2 problem(s):\n  one\n  two", "2 problem(s):\n  one\n  two"),
        ("Grüße 你好", "Grüße 你好"),
    ],
)
def test_foreign_text_cannot_steer_the_terminal(capsys, text, shown):
    assert printable(text) == shown
    for error in (ValueError(text), KeyError(text)):
        guarded("p", failing(error))
    assert not set(text) & set("\x1b\r\x00\x7f\x9b\u202e\udcff") & set(capsys.readouterr().err)


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("ValueError: a.wav: bad", "ValueError", "a.wav: bad"),
        ("upstream.x.SoundError: a.wav", "SoundError", "a.wav"),
        (
            "ValueError: 2 problem(s):\n  a: x\n  b: y",
            "ValueError",
            "2 problem(s):\n  a: x\n  b: y",
        ),
        ("MemoryError", "MemoryError", ""),
    ],
)
def test_an_error_out_of_a_loaders_worker_is_its_own(text, name, message):
    caught = "Caught X in DataLoader worker process 0.\nOriginal Traceback (most recent call last):"
    place = '  File "x.py", line 3, in f\n    raise ValueError(a)'
    assert message_of(ValueError(f"{caught}\n{place}\n{text}\n")) == (name, message)


@pytest.mark.parametrize("error", [KeyError("x"), TypeError("no"), RuntimeError("torch says")])
def test_every_command_is_guarded(capsys, monkeypatch, tmp_path, error):
    from upstream.heads import command

    monkeypatch.delenv("MT4SSL_DEBUG", raising=False)
    monkeypatch.setattr(exporting, "export", failing_with(error))
    monkeypatch.setattr(command, "resolve", failing_with(error))
    monkeypatch.setattr(demo, "demo", failing_with(error))
    monkeypatch.setattr(corpus, "make", failing_with(error))
    for main, words in (
        (mt4ssl_cli.main, ["export", "a", "b"]),
        (run_downstream.main, ["-m", "train"]),
        (mt4ssl_cli.main, ["demo"]),
        (mt4ssl_cli.main, ["mini", str(tmp_path)]),
    ):
        assert main(words) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert f"unexpected error: {type(error).__name__}" in line and "please report" in line


def failing_with(error):
    return lambda *_, **__: failing(error)()


PRINTS = (
    "import sys; from mt4ssl_core.command_line import guarded\n"
    "sys.exit(guarded('p', lambda: [print('x' * 99) for _ in range(9999)] and 0))"
)


@pytest.mark.parametrize(
    ("shell", "code", "said"),
    [
        ("{python} -c {code} | head -1 > /dev/null; exit ${{PIPESTATUS[0]}}", 141, ""),
        ("{python} -c {code} > /dev/full", 2, "p: error: [Errno 28] No space left on device"),
        ("{python} -c {short} > /dev/full", 2, "p: error: standard output: cannot be written (No"),
        ("{python} -c {code} >&-", 0, ""),
    ],
)
def test_an_output_that_cannot_be_written(shell, code, said):
    code_of = {"code": shlex.quote(PRINTS), "short": shlex.quote(PRINTS.replace("9999", "9"))}
    line = shell.format(python=sys.executable, **code_of)
    ended = subprocess.run(
        ["env", "-u", "PYTHONUNBUFFERED", "bash", "-c", line],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert ended.returncode == code
    assert ended.stderr.startswith(said) and len(ended.stderr.splitlines()) == bool(said)


def test_a_name_that_is_too_long_is_said_in_short(capsys):
    def body():
        raise OSError(errno.ENAMETOOLONG, "File name too long", "x" * 9000)

    assert guarded("p", body) == 2
    said = capsys.readouterr().err
    assert said.endswith("xxx ...: a longer name than files can have; shorten it\n")
