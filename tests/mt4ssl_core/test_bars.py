"""Bars on terminals of several widths and elsewhere: never wrapped, never a carriage return."""

import re
import subprocess
import sys

import pytest
from terminal import drawn, on_terminal, screen

from mt4ssl_core import bars
from mt4ssl_core.bars import Bar

WORK = """
import sys, time
from mt4ssl_core.bars import Bar
from mt4ssl_core.lines import say
from mt4ssl_core.command_line import guarded
def work():
    with Bar("update", 400_000, done=123_450, timed=False) as bar:
        for step in range(6):
            time.sleep(0.12)
            bar.advance()
            if step % 3 == 2:
                bar.speed = 38.1
                bar.show(now=True, loss="5.512", acc="0.231", lr="5.0e-04", valid="4.321")
                for _ in Bar("validation batch", 3).over(range(3)):
                    time.sleep(0.11)
        say("a note")
        if "wait" in sys.argv:
            print("waiting", flush=True)
            time.sleep(60)
sys.exit(guarded("work", work))
"""
ARGV = [sys.executable, "-c", WORK]


@pytest.mark.parametrize("columns", [20, 60, 80, 120])
def test_on_a_terminal_a_line_never_wraps_and_one_stays(columns):
    code, written = on_terminal(ARGV, columns)
    assert code == 0
    assert max(map(len, drawn(written))) < columns
    note, line = screen(written)
    assert note == "a note" and line.startswith("update 123456/4")
    assert "validation batch 2/3" in written or columns == 20
    measures = {20: "", 60: "loss 5.512", 80: "lr 5.0e-04", 120: "valid 4.321"}
    assert measures[columns] in line and ("real time" in line) == (columns == 120)
    assert columns == 20 or re.search(r"38.1x.*  took \d\d:\d\d$", line)


def test_elsewhere_there_is_a_line_when_something_was_measured_and_nothing_is_redrawn():
    done = subprocess.run(ARGV, capture_output=True, text=True, check=True)
    assert done.stdout == "a note\n" and "\r" not in done.stderr and "\x1b" not in done.stderr
    lines = done.stderr.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "update 123453/400000",
        "update 123456/400000",
    ]
    told = "  loss 5.512  acc 0.231  lr 5.0e-04  valid 4.321  38.1x real time  ETA "
    assert all(told in line for line in lines)


def test_ctrl_c_leaves_the_terminal_clean():
    code, written = on_terminal([*ARGV, "wait"], 80, b"waiting")
    assert code == 130
    line, said = screen(written)[-2:]
    assert line.startswith("update 123456/400000") and "took" in line
    assert said == "work: interrupted; the same command goes on where it stopped"
    assert written.endswith("\r\n")


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(bars.time, "monotonic", lambda: now[0])
    return now


def test_lines_come_at_times_that_double_up_to_ten_minutes(clock, capsys):
    with Bar("label", 7200, unit=" s", audio=True) as bar:
        for _ in range(3600):
            clock[0] += 1
            bar.advance(2)
    lines = capsys.readouterr().err.splitlines()
    done = [int(re.match(r"label (\d+)/7200 s  2x real time  ", line)[1]) // 2 for line in lines]
    assert done == [10, 30, 70, 150, 310, 630, 1230, 1830, 2430, 3030, 3600]
    assert lines[0].endswith("ETA 59:50") and lines[-1].endswith("took 1:00:00")


def test_what_is_quick_says_nothing_elsewhere(clock, capsys):
    for _ in Bar("corpora", 3).over(range(3)):
        clock[0] += 1
    assert capsys.readouterr().err == ""


def test_the_time_left_follows_the_speed_of_late(clock):
    bar = Bar("batch", 1000, show=False)
    for seconds in (10, 1):
        for _ in range(100):
            clock[0] += seconds
            bar.advance()
    assert bar.left() == pytest.approx(800, rel=0.03)
    bar.close()


def test_what_is_shown_can_be_watched_from_outside():
    with Bar("outer", 2, show=False), bars.watched() as status:
        assert status() == []
        with Bar("train", 10, show=False) as bar:
            bar.advance(3)
            bar.show(loss="1.5")
            for _ in Bar("dev", 4, show=False).over([1]):
                assert [found["what"] for found in status()] == ["train", "dev"]
            expected = {"what": "train", "done": 3, "total": 10, "measures": {"loss": "1.5"}}
            assert status() == [expected]
    assert status() == []


@pytest.mark.parametrize(("key", "value"), [("TQDM_DISABLE", "1"), ("RANK", "1")])
def test_the_environment_can_hide_it_all(monkeypatch, clock, capsys, key, value):
    monkeypatch.setenv(key, value)
    with Bar("label", 100) as bar:
        clock[0] += 1000
        bar.advance(50)
        assert bar.done == 50
    assert capsys.readouterr().err == ""


def test_text_that_could_steer_the_terminal_is_escaped(capsys):
    with Bar("downloading \x1b[2J", 1, timed=False) as bar:
        bar.show(now=True)
    assert capsys.readouterr().err.startswith(r"downloading \x1b[2J 0/1")


PRINTING = """
import time
from mt4ssl_core.bars import Bar, printing
with printing():
    bar = Bar("step", 40)
    for step in range(4):
        bar.advance()
        time.sleep(0.11)
        print("acc:", step)
    print("begun", end="")
    raise SystemExit(3)
"""


def test_what_others_print_comes_above_and_their_bars_end():
    code, written = on_terminal([sys.executable, "-c", PRINTING], 60)
    *said, line, begun = screen(written)
    assert code == 3 and said == [f"acc: {step}" for step in range(4)]
    assert line.startswith("step 4/40  took") and begun == "begun"
    done = subprocess.run([sys.executable, "-c", PRINTING], capture_output=True, text=True)
    assert done.stdout == "acc: 0\nacc: 1\nacc: 2\nacc: 3\nbegun" and done.stderr == ""
