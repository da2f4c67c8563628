import json
import multiprocessing
import os

import pytest

from upstream.suite.suite import run_folder

OWNER = {"upstream": "mt4ssl", "ckpt": "/a.pt", "fingerprint": "aa", "seed": 1, "smoke": False}


def claim(out, **changes):
    with run_folder.claimed(out, {**OWNER, **changes}, patience=0.2) as token:
        return token


def test_a_folder_belongs_to_one_checkpoint(tmp_path):
    out = tmp_path / "run"
    assert claim(out) != claim(out, ckpt="/moved/a.pt")  # the same by its content
    assert run_folder.read_owner(out)["ckpt"] == "/a.pt"
    with pytest.raises(ValueError, match=r"/a\.pt \(aa\), seed 1; asked.*/b\.pt \(bb\), seed 1\."):
        claim(out, ckpt="/b.pt", fingerprint="bb")
    with pytest.raises(ValueError, match=r"seed 1; asked for is .*, seed 1, smoke"):
        claim(out, smoke=True)
    with pytest.raises(ValueError, match="asked for is fbank, seed 1"):
        claim(out, upstream="fbank", ckpt=None, fingerprint=None)


def test_a_suite_that_was_killed_before_it_said_whose_it_is(tmp_path):
    for name in (run_folder.LOCK, ".suite.json.7.tmp"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    claim(tmp_path)
    assert run_folder.read_owner(tmp_path)["seed"] == 1


def test_folders_of_others_are_left_alone(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ValueError, match=r"holds other files and no suite\.json"):
        run_folder.check(tmp_path, OWNER)
    with pytest.raises(ValueError, match="a file; give a folder"):
        run_folder.check(tmp_path / "thesis.tex", OWNER)
    with pytest.raises(ValueError, match=r"no suite\.json here"):
        run_folder.read_owner(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"format": "mt4', "not valid JSON"),
        ('{"format": "other"}', "not written by"),
        ('{"format": "mt4ssl superb run", "version": 9}', "version 9"),
    ],
)
def test_damaged_or_foreign_suite_json(text, says, tmp_path):
    (tmp_path / "suite.json").write_text(text)
    with pytest.raises(ValueError, match=says):
        run_folder.check(tmp_path, OWNER)
    assert (tmp_path / "suite.json").read_text() == text


def test_one_suite_at_a_time(tmp_path):
    with run_folder.claimed(tmp_path / "run", OWNER) as token:
        assert not run_folder.abandoned(tmp_path / "run", token)
        assert run_folder.abandoned(tmp_path / "run", "another")
        with multiprocessing.get_context("spawn").Pool(1) as pool, pytest.raises(ValueError) as no:
            pool.apply(claim, (tmp_path / "run",))
        assert "run is in use by process " in str(no.value)
    assert run_folder.abandoned(tmp_path / "run", token)
    assert run_folder.abandoned(tmp_path / "gone", token)


def test_states(tmp_path):
    assert run_folder.read_state(tmp_path, "er/fold1/lr_0.1") == {}
    run_folder.write_state(tmp_path, "er/fold1/lr_0.1", {"state": "done"})
    assert run_folder.read_state(tmp_path, "er/fold1/lr_0.1") == {"state": "done"}
    path = run_folder.state_path(tmp_path, "er/fold1/lr_0.1")
    assert path == tmp_path / "jobs" / "er.fold1.lr_0.1.json"
    for text in ('{"state"', "[]"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"er\.fold1\.lr_0\.1\.json: not .*remove it to do er"):
            run_folder.read_state(tmp_path, "er/fold1/lr_0.1")


TESTED = {
    "task": "ks", "metric": "acc", "value": 0.5, "direction": "max", "split": "test",
    "stage": "test", "folder": "ks/lr_0.1",
}  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        *({"folder": folder} for folder in ("/etc", "../../mine", "ks/../../mine", 3)),
        *({"metric": None}, {"value": "0.5"}, {"stage": []}, {"direction": {}}),
    ],
)
def test_records_of_a_test_are_of_its_own_folder_and_form(changes, tmp_path):
    state = {"state": "done", "result": {"records": [TESTED]}}
    run_folder.write_state(tmp_path, "ks/test", state)
    assert run_folder.read_state(tmp_path, "ks/test") == state
    state["result"]["records"] = [TESTED, {**TESTED, **changes}]
    run_folder.write_state(tmp_path, "ks/test", state)
    with pytest.raises(ValueError, match=r"ks\.test\.json: not .*; remove it to do ks/test again"):
        run_folder.read_state(tmp_path, "ks/test")


def record(task, value):
    return {"task": task, "metric": "acc", "value": value}


def test_results_are_replaced_by_task(tmp_path):
    assert run_folder.read_results(tmp_path) == []
    run_folder.write_results(tmp_path, ["ks"], [record("ks", 1)])
    run_folder.write_results(tmp_path, ["er"], [record("er", 2)])
    path = run_folder.write_results(tmp_path, ["ks"], [record("ks", 3)])
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        record("er", 2),
        record("ks", 3),
    ]
    assert run_folder.read_results(tmp_path) == [record("er", 2), record("ks", 3)]


@pytest.mark.parametrize(
    ("tail", "says"),
    [('{"task": "er", "me', "not JSON"), ("[1]", "not a record"), ("3", "not a")],
)
def test_half_written_or_foreign_results_are_left_as_they_are(tail, says, tmp_path):
    path = tmp_path / "results.jsonl"
    text = json.dumps(record("ks", 1)) + "\n" + tail
    path.write_text(text)
    for call in (run_folder.read_results, lambda out: run_folder.write_results(out, ["ks"], [])):
        with pytest.raises(ValueError, match=rf"results\.jsonl:2: {says}"):
            call(tmp_path)
    assert path.read_text() == text
