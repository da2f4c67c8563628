"""analysis/records/training_runs.py: what is read from the folders of pre-training runs."""

import numpy as np
import pytest
from pretraining_runs import checkpoints, run

from analysis.records import training_runs


def names(*folders, **options):
    return [(r.name, r.group, r.seed) for r in training_runs.find_runs(folders, **options)[0]]


def test_groups_and_seeds_come_from_folders(tmp_path):
    for seed in (1, 2, 10):
        run(tmp_path / "both" / f"seed{seed}")
    run(tmp_path / "offline" / "seed1")
    single = run(tmp_path / "alone", run__seed=7)
    both = [("both/seed1", "both", 1), ("both/seed2", "both", 2), ("both/seed10", "both", 10)]
    offline = ("offline/seed1", "offline", 1)
    assert names(tmp_path / "both") == both
    assert names(tmp_path) == [*both, offline]
    assert names(single, tmp_path / "offline") == [("alone", "alone", 7), offline]


def test_labels_name_groups_and_one_label_joins_seeds(tmp_path):
    a, b = run(tmp_path / "a", run__seed=1), run(tmp_path / "b", run__seed=2)
    assert names(a, b, labels=["x", "y"]) == [("x", "x", 1), ("y", "y", 2)]
    assert names(a, b, labels=["x", "x"]) == [("x/seed1", "x", 1), ("x/seed2", "x", 2)]
    with pytest.raises(ValueError, match="--labels: 1 for 2 runs"):
        names(a, b, labels=["x"])
    run(tmp_path / "study" / "p" / "seed1")
    run(tmp_path / "study" / "q" / "seed1")
    with pytest.raises(ValueError, match="holds several groups"):
        names(tmp_path / "study", labels=["x"])


def test_what_cannot_be_told_apart_is_refused(tmp_path):
    one, two = run(tmp_path / "1" / "same"), run(tmp_path / "2" / "same")
    with pytest.raises(ValueError, match=r"1/same: given twice"):
        names(one, tmp_path / "2" / ".." / "1" / "same")
    with pytest.raises(ValueError, match=r"would be called same/seed1; give them --labels"):
        names(one, two)


def test_a_seed_that_has_not_begun_is_named(tmp_path):
    run(tmp_path / "both" / "seed1")
    (tmp_path / "both" / "seed2").mkdir()
    runs, notes = training_runs.find_runs([tmp_path])
    assert len(runs) == 1 and notes == [f"{tmp_path}/both/seed2: no log.jsonl yet, left out"]
    with pytest.raises(ValueError, match=r"no log\.jsonl in it and none in folders seed1"):
        training_runs.find_runs([tmp_path / "both" / "seed2"])


def test_costs_are_interpolated_between_the_lines_of_the_log(tmp_path):
    found = training_runs.open_run(run(tmp_path / "a"))
    audio, wall = found.spent([0, 5, 10, 25, 60])
    np.testing.assert_allclose(audio, [0, 0.05, 0.1, 0.25, 0.6])
    np.testing.assert_allclose(wall, [0, 0.005, 0.01, 0.025, 0.06])


def test_checkpoints_are_those_kept_and_the_last(tmp_path):
    folder = checkpoints(run(tmp_path / "a"), 10, 20, last=25)
    (folder / "best.pt").write_bytes(b"")
    (folder / "update_x.pt").write_bytes(b"")
    found = training_runs.open_run(folder).checkpoints
    assert {u: p.name for u, p in found.items()} == {
        10: "update_10.pt", 20: "update_20.pt", 25: "last.pt",
    }  # fmt: skip
    checkpoints(folder, last=20)
    assert training_runs.open_run(folder).checkpoints[20].name == "update_20.pt"
    (folder / "last.pt").write_bytes(b"PK no")
    with pytest.raises(ValueError, match=r"last\.pt: the checkpoint is cut off"):
        _ = training_runs.open_run(folder).checkpoints


def test_other_audio_is_refused_and_other_paths_are_told(tmp_path):
    run(tmp_path / "a")
    run(tmp_path / "b", hours=9.0)
    run(tmp_path / "c", data__train="/elsewhere/train.tsv")
    runs, _ = training_runs.find_runs([tmp_path / "a", tmp_path / "b"])
    with pytest.raises(ValueError, match=r"different corpora: a on 8\.0 h, b on 9\.0 h"):
        training_runs.check(runs)
    runs, _ = training_runs.find_runs([tmp_path / "a", tmp_path / "c"])
    (note,) = training_runs.check(runs)
    assert note == "data.train differs: /data/train.tsv, /elsewhere/train.tsv"


@pytest.mark.parametrize(
    ("updates", "where"), [((1, 2, 0), "3: update 0 after 2"), ((1, 9, 3), "3: update 3 after 9"),
                           ((5, 1), "2: update 1 after 5")]
)  # fmt: skip
def test_a_log_that_goes_back_is_of_another_run_or_damaged(tmp_path, updates, where):
    folder = run(tmp_path / "a")
    (folder / "log.jsonl").write_text("".join(f'{{"update": {n}}}\n' for n in updates))
    with pytest.raises(ValueError, match=rf"log\.jsonl:{where}.* remove it"):
        training_runs.find_runs([folder])


def test_numbers_that_are_none_and_unfinished_runs_are_told(tmp_path):
    folder = run(tmp_path / "a", optim__max_updates=100)
    log = folder / "log.jsonl"
    broken = ['{"update": 40, "loss": null}', '{"update": 50, "loss": NaN}', '{"upda']
    begun = '{"update": 0, "train_files": 3, "select": null}\n'
    log.write_text(begun + log.read_text() + "\n".join(broken))
    (found,), _ = training_runs.find_runs([folder])
    notes = training_runs.check([found])
    assert notes == ["a has done 50 of 100 updates", "a: loss is no number at update 40 and 1 more"]
    log.write_text('{"loss": 3}\n')
    with pytest.raises(ValueError, match=r"log\.jsonl:1: a line without its update"):
        training_runs.find_runs([folder])
    log.write_text('{"update": 1, "offline/loss": "low"}\n')
    with pytest.raises(ValueError, match=r"offline/loss is 'low' at update 1, expected a number"):
        training_runs.find_runs([folder])
    log.write_text('{"update": 1}\n{"upd\n{"update": 3}\n')
    with pytest.raises(ValueError, match=r"log\.jsonl:2: not JSON .*remove the line"):
        training_runs.find_runs([folder])
    log.write_text('{"update": 1}\n')
    for text in ("a: [1\n b: {", "- 1", "seed: 1"):
        (folder / "config.yaml").write_text(text)
        with pytest.raises(ValueError, match=r"config\.yaml: "):
            training_runs.find_runs([folder])


def test_settings_shared_and_own(tmp_path):
    run(tmp_path / "a", online__weight=0.1)
    run(tmp_path / "b", online__weight=1.0)
    runs, _ = training_runs.find_runs([tmp_path / "a", tmp_path / "b"])
    found = training_runs.shared_settings(runs)
    assert found["train_hours"] == 8.0
    assert found["shared"] == {
        "data.train": "train.tsv", "data.labels": "train.km", "optim.max_updates": 30,
    }  # fmt: skip
    assert found["groups"] == {"a": {"online.weight": 0.1}, "b": {"online.weight": 1.0}}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"update": 1, "valid/loss": 1' + "0" * 400 + "}", "expected a number"),
        ('{"update": 1, "valid/loss": true}', "expected a number"),
        ('{"update": 1' + "0" * 400 + "}", "a line without its update"),
        ('{"update": -1}', "a line without its update"),
        ('{"update": true}', "a line without its update"),
    ],
)
def test_numbers_that_no_run_writes_are_refused(tmp_path, line, told):
    log = run(tmp_path / "a") / "log.jsonl"
    log.write_text(line + "\n" + '{"update": 2}' + "\n")
    with pytest.raises(ValueError, match=told):
        training_runs.find_runs([tmp_path / "a"])


def test_settings_of_another_kind_are_refused_and_none_are_taken(tmp_path):
    config = run(tmp_path / "a") / "config.yaml"
    for text in ("optim: {max_updates: many}", "data: {train: [1]}", "data: {valid_share: true}"):
        config.write_text(text)
        with pytest.raises(ValueError, match=r"config\.yaml: \w+\.\w+ is .*; give the run"):
            training_runs.find_runs([tmp_path / "a"])
    config.write_text("")
    assert training_runs.find_runs([tmp_path / "a"])[0][0].settings == {}
