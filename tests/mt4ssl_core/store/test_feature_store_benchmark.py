import json
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from superb_data import tiny_checkpoint

from benchmarks import feature_store, speed_corpora, store_rows, timed_training
from mt4ssl_core.files import write_json
from upstream import corpora
from upstream.door import tasks

ROW = store_rows.Row("ks", "pooled", "exact", batches=6, sweep=True)


def step(epoch, seconds, at=0.0, stored=0.0, crops=0.0):
    return {
        "epoch": epoch,
        "asked": at,
        "got": at + 0.1,
        "upstream": 0.5 * seconds,
        "encoded": at + 0.6 * seconds,
        "done": at + seconds,
        "stored": stored,
        "crops": crops,
    }


def answer(steps, parts, **more):
    given = {"steps": steps, "parts": parts, "accumulated": 2, "seconds": 30.0}
    return {**given, "memory_gb": 1.0, "store_gb": 0.5, **more}


PLAIN = answer([step(0, 20.0), *[step(0, 10.0)] * 3], {"load": 1.0})
OURS = answer(
    [*[step(0, 12.0, stored=36.0)] * 2, *[step(1, 0.5, crops=2.0)] * 4],
    {"read": 0.2, "head": 0.2},
)


def test_a_row_compares_batches_from_the_loader_on():
    row = store_rows.summary(ROW, PLAIN, OURS)
    assert row["plain_steps_per_s"] == pytest.approx(0.05)  # a step is two batches of 10 s
    assert row["cold_steps_per_s"] == pytest.approx(1 / 24)
    assert row["warm_steps_per_s"] == pytest.approx(1.0)
    assert row["ratio_warm"] == pytest.approx(20)
    assert row["limit"] == pytest.approx((1.0 + 5.0 + 4.0) / 0.4)
    assert row["fraction_of_limit"] == pytest.approx(20 / 25)
    assert row["sweep5_cost_ratio"] == pytest.approx(30 / (6 * 10))
    assert row["fill_x_real_time"] == pytest.approx(3.0)
    assert row["gb_per_hour_of_audio"] == pytest.approx(0.5 * 3600 / 72)
    assert row["crop_seconds_per_batch"] == 2.0


def test_five_rates_of_a_frames_task_follow_from_the_speeds():
    row = store_rows.summary(replace(ROW, task="pr", kind="frames", sweep=False), PLAIN, OURS)
    batches = 20 * 2  # epochs of two batches
    assert row["sweep5_cost_ratio"] == pytest.approx((24 + (5 * batches - 2) * 0.5) / (400))
    assert row["sweep5"] == "from the speeds"
    row = store_rows.summary(replace(ROW, task="sd", sweep=False), PLAIN, OURS)
    assert row["sweep5_cost_ratio"] is None


def test_every_task_is_a_row_with_whole_epochs():
    for row in store_rows.ROWS:
        accumulated = tasks.read(tasks.path_of(row.task))["runner"]["gradient_accumulate_steps"]
        assert row.batches % accumulated == 0, row
        assert store_rows.PLAIN_BATCHES[row.task] % accumulated == 0, row
        assert feature_store.workers_key(row.task).endswith(".num_workers")
        assert row.task in speed_corpora.LAYOUTS
        pooled = tasks.header(row.task)["pooled"]
        assert row.kind == ("pooled" if pooled else "frames")


@pytest.mark.parametrize(
    ("kind", "mean"),
    [
        (speed_corpora.COMMANDS, 2.3),
        (speed_corpora.TURNS, 4.5),
        (speed_corpora.REQUESTS, 2.8),
        (speed_corpora.READ, 12.7),
        (speed_corpora.CELEBRITIES, 8.2),
    ],
)
def test_lengths_are_those_of_the_real_corpora(kind, mean):
    seconds = speed_corpora.lengths(kind, 48, np.random.default_rng(0))
    assert np.mean(seconds) == pytest.approx(mean, rel=0.02)
    again = speed_corpora.lengths(kind, 48, np.random.default_rng(1))
    assert seconds != again and sorted(seconds) == sorted(again)


def test_noise_is_heard_throughout():
    wave = speed_corpora.wave(2.5, np.random.default_rng(0))
    assert wave.dtype == np.float32 and wave.shape == (40000,)
    loud = np.sqrt((wave.reshape(-1, 400) ** 2).mean(1))  # in 25 ms
    assert loud.min() > 0.01 and 0.2 < abs(wave).max() <= 0.3


@pytest.mark.parametrize("task", speed_corpora.LAYOUTS)
def test_corpora_of_noise_are_complete(task, tmp_path):
    root = speed_corpora.write(task, tmp_path, 16)
    found = corpora.survey(task, root, tasks.header(task))
    assert found.problems == []
    files = [path for path in root.rglob("*") if path.suffix in (".wav", ".flac")]
    assert len(files) > 16 and soundfile.info(files[0]).samplerate == 16000
    stamps = {path: path.stat().st_mtime_ns for path in files}
    speed_corpora.write(task, tmp_path, 16)
    assert {path: path.stat().st_mtime_ns for path in files} == stamps


@pytest.mark.slow
def test_measurements_are_taken_and_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_store, "base_encoder", lambda path: tiny_checkpoint())
    monkeypatch.setattr(feature_store, "cores", lambda: 1)
    row = store_rows.Row("ic", "pooled", "exact", batches=6, sweep=True)
    work = feature_store.Work(tmp_path, "cpu")
    first = feature_store.speed(work, row)
    assert first["batches"] == {"plain": 2, "cold": 2, "warm": 3}
    assert set(store_rows.FIELDS) - set(first) == {
        "score_plain",
        "score_store",
        "score_spread_3_seeds",
    }
    assert all(first[name] > 0 for name in ("limit", "gb_per_hour_of_audio", "sweep5_cost_ratio"))
    assert not list((tmp_path / "store").iterdir())
    again = feature_store.speed(feature_store.Work(tmp_path, "cpu"), row)
    assert again == first  # nothing was measured anew


def test_rows_are_written_as_soon_as_they_are_known(tmp_path):
    path, record = tmp_path / "a.json", {"rows": []}
    for row, values in (
        (store_rows.ROWS[3], {"ratio_warm": 2.0}),
        (store_rows.ROWS[0], {"ratio_warm": 3.0}),
        (store_rows.ROWS[3], {"score_plain": 0.5}),
    ):
        feature_store.update(path, record, row, values)
    rows = json.loads(path.read_text())["rows"]
    assert [(r["task"], r["mode"]) for r in rows] == [("ic", "exact"), ("ks", "bank")]
    assert (rows[1]["ratio_warm"], rows[1]["score_plain"]) == (2.0, 0.5)
    assert set(rows[0]) == {"task", "kind", "mode", *store_rows.FIELDS}


def test_the_table_has_a_line_for_each_row(tmp_path):
    rows = [
        {"task": row.task, "kind": row.kind, "mode": row.mode, **dict.fromkeys(store_rows.FIELDS)}
        for row in store_rows.ROWS
    ]
    rows[0] |= store_rows.summary(ROW, PLAIN, OURS)
    rows[1] |= {"score_plain": 0.5, "score_store": 0.51, "score_spread_3_seeds": 0.02}
    machine = {"name": "here", "cpu": "a", "device": "cpu"}
    record = {"machine": machine, "setting": {"threads": 2}, "rows": rows}
    write_json(tmp_path / "a.json", record)
    lines = feature_store.table_of(json.loads((tmp_path / "a.json").read_text())).splitlines()
    assert len([line for line in lines if line.startswith("| ")]) == 2 + len(rows)
    assert "| ic | pooled | 0.05 | 0.042 | 1 | 20x | 80% | 0.5x | - |" in lines
    assert "0.500, 0.510 (0.020)" in lines[3]


def test_a_step_lasts_from_asking_for_a_batch_to_asking_for_the_next(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr(timed_training.time, "perf_counter", lambda: float(next(clock)))
    watch = timed_training.Watch("cpu")
    assert [list(watch.batches("ab")), list(watch.batches("c"))] == [["a", "b"], ["c"]]
    assert [(s.epoch, s.asked, s.got, s.done) for s in watch.steps] == [
        (0, 0, 1, 2),
        (0, 2, 3, 4),
        (1, 5, 6, 7),
    ]
