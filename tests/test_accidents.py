"""A full disk, killed processes, signals, damaged and foreign files: named, and nothing is lost."""

import argparse
import json
import os
import resource
import signal
from types import SimpleNamespace

import pytest
import torch
import toy_suite

from mt4ssl_core import files
from upstream.corpora import texts
from upstream.door import signals, tasks
from upstream.heads import results, s3prl_runner, states
from upstream.suite import protocol, run_folder, suite
from upstream.suite.suite import SuiteRequest

DEAD = f".{files.machine()}-99999999-0123abcd.tmp"


@pytest.fixture
def small_files():
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [0, 1, 20])
def test_an_evaluation_that_does_not_fit_leaves_no_half_line(tmp_path, small_files, room):
    results.log(tmp_path, "dev", 1, {"acc": 0.5})
    path = tmp_path / results.EVALUATIONS
    before = path.read_bytes()
    small_files(len(before) + room)
    with pytest.raises(OSError, match=rf"{results.EVALUATIONS}: cannot be written"):
        results.log(tmp_path, "dev", 2, {"acc": 0.75})
    small_files(1 << 20)
    assert path.read_bytes() == before
    results.log(tmp_path, "dev", 3, {"acc": 0.25})
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 3]


@pytest.mark.parametrize("write", ["results", "state", "jsonl"])
def test_results_and_states_that_do_not_fit_stay_what_they_were(tmp_path, small_files, write):
    record = {"task": "ks", "metric": "acc", "value": 0.5, "split": "test", "stage": "test"}
    do = {
        "results": lambda text: results.write(tmp_path, [{**record, "note": text}]),
        "state": lambda text: run_folder.write_state(tmp_path, "ks", {"state": "done", "a": text}),
        "jsonl": lambda text: run_folder.write_results(tmp_path, ["ks"], [{**record, "a": text}]),
    }[write]
    do("small")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    small_files(1000)
    with pytest.raises(OSError, match="cannot be written"):
        do("x" * 10_000)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "said",
    [
        "DataLoader worker (pid 12) is killed by signal: Killed. ",
        "DataLoader worker (pid(s) 12, 13) exited unexpectedly",
        "DataLoader worker (pid 12) is killed by signal: Bus error. It is possible that ...",
    ],
)
def test_a_killed_reader_is_named(said, tmp_path):
    runner = SimpleNamespace(args=SimpleNamespace(expdir=str(tmp_path)))
    named = s3prl_runner.Runner._named
    killed = pytest.raises(ChildProcessError, match=r"was killed \(DataLoader .*num_workers")
    with killed, named(runner):
        raise RuntimeError(said)
    with pytest.raises(RuntimeError, match="shapes"), named(runner):
        raise RuntimeError("shapes do not fit")
    with pytest.raises(OSError, match=rf"{tmp_path}: cannot be written"), named(runner):
        raise OSError(28, "No space left on device")
    small = tmp_path / "gone" / "a.ckpt"
    (tmp_path / "gone").write_text("a file")
    with pytest.raises(OSError, match=r"a\.ckpt") as raised, named(runner), files.writing(small):
        raise OSError(27, "File too large")
    assert str(raised.value).count("cannot be written") == 1


@pytest.mark.parametrize("number", signals.ENDING)
def test_a_closed_terminal_ends_a_run_as_ctrl_c_does(number):
    started_with = signal.signal(number, signal.SIG_DFL)  # ignored where tests run under nohup
    try:
        _ends_as_ctrl_c_does(number)
    finally:
        signal.signal(number, started_with)


def _ends_as_ctrl_c_does(number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), signals.like_ctrl_c():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before
    signal.signal(number, signal.SIG_IGN)  # nohup
    try:
        with signals.like_ctrl_c():
            os.kill(os.getpid(), number)
    finally:
        signal.signal(number, before)


def test_a_suite_removes_what_dead_writers_left(tmp_path, monkeypatch):
    root = toy_suite.make_tasks(tmp_path, monkeypatch)
    monkeypatch.setattr(suite.jobs, "_launch", toy_suite.Launcher())
    out = tmp_path / "run"
    asked = SuiteRequest(out, str(root), upstream="fbank", tasks="none", executor="inline")
    assert suite.run(asked) == 0
    living = f".{files.machine()}-{os.getpid()}-0123abcd.tmp"
    for place in (out, out / run_folder.JOBS):
        for name in (DEAD, living, ".users.tmp"):
            (place / name).touch()
    assert suite.run(asked) == 0
    for place in (out, out / run_folder.JOBS):
        assert {path.name for path in place.glob(".*.tmp")} == {living, ".users.tmp"}


DEEP = "[" * 100_000
RECORD = '{"task": "ks", "metric": "acc", "value": 1, "split": "a", "stage": "b"}'


@pytest.mark.parametrize(
    "text", ["{", "[3]", "{}", DEEP, '[{"task": 1}]', f"[{RECORD.replace('1', '[]')}]", "[null]"]
)
def test_foreign_results_are_named(text, tmp_path):
    (tmp_path / results.RESULTS).write_text(text)
    with pytest.raises(ValueError, match=r"results\.json: .*; remove it and evaluate"):
        results.read(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[3]", "{}", DEEP, "null", '{"state": 3}', '{"state": "done", "result": 3}'),
        *('{"state": "done", "seconds": "x"}', '{"state": "done", "settings": []}'),
    ],
)
def test_foreign_states_of_jobs_are_named(text, tmp_path):
    path = run_folder.state_path(tmp_path, "ks/test")
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(ValueError, match=r"ks\.test\.json: .*; remove it to do ks/test again"):
        run_folder.read_state(tmp_path, "ks/test")


@pytest.mark.parametrize(
    "line", ["{", "3", DEEP, RECORD.replace("1", '"x"'), RECORD.replace('"ks"', "[]")]
)
def test_foreign_lines_of_results_are_named(line, tmp_path):
    (tmp_path / run_folder.RESULTS).write_text(f"{RECORD}\n{line}\n")
    with pytest.raises(ValueError, match=r"results\.jsonl:2: not .*written anew from jobs"):
        run_folder.read_results(tmp_path)
    (tmp_path / run_folder.RESULTS).write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"results\.jsonl: cannot be read .*written anew"):
        run_folder.read_results(tmp_path)


def test_foreign_lines_while_training_choose_nothing(tmp_path):
    lines = [
        '{"split": "dev", "acc": "best"}',
        "3",
        "[]",
        DEEP,
        '{"split": "dev", "acc": 0.5}',
        "{",
    ]
    (tmp_path / results.EVALUATIONS).write_text("\n".join(lines))
    dev = protocol.Dev("dev", "acc", "acc", "max")
    assert protocol.dev_while_training(tmp_path, dev) == 0.5
    results.forget_after(tmp_path, 3)
    assert protocol.dev_while_training(tmp_path, dev) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"Config": {}},
        {"Config": {"runner": 3, "downstream_expert": {}}},
        {"Config": {"runner": {}, "downstream_expert": {}, "superb": {"code": 3}}},
        {"upstream": 3},
    ],
)
def test_foreign_heads_are_named(changes, tmp_path):
    config = tasks.read(tasks.path_of("ks"))
    args = argparse.Namespace(downstream="speech_commands", upstream="fbank")
    if "upstream" in changes:
        args.upstream = changes.pop("upstream")
    torch.save(
        {"Args": args, "Config": config, "Downstream": {"w": torch.zeros(1)}, **changes},
        tmp_path / "states-2.ckpt",
    )
    (tmp_path / "states-last.ckpt").touch()  # none of s3prl's
    with pytest.raises(ValueError, match=r"-e .*states-2\.ckpt: "):
        states.read(tmp_path)


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"a,b\n" + b"x" * 200_000, b'a\n"\x00'])
def test_texts_of_a_corpus_are_named(data, tmp_path):
    path = tmp_path / "train_data.csv"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"train_data\.csv: cannot be read .*; copy it again"):
        texts.read_rows(path, strict=True)
    path.write_bytes(b"\xff")
    with pytest.raises(ValueError, match=r"train_data\.csv: cannot be read .*; unpack it"):
        texts.read_text(path, "unpack it")
