"""A table of what KS's datasets hold trains the same head, step by step."""

import csv
import json

import pytest
from superb_data import FEW_STEPS, SPEED, corpora, tiny_checkpoint

from upstream.heads import runner
from upstream.store.options import StoreOptions

STEPS = {**FEW_STEPS, "runner.total_steps": 6, "runner.eval_step": 3, "runner.save_step": 3}
AS_KS = {  # what KS does beside listing clips
    "downstream_expert.datarc.gain": -3.0,
    "downstream_expert.datarc.crop_seconds": 1.0,
    "downstream_expert.datarc.crop_splits": ["train", "dev"],
    "downstream_expert.datarc.balanced_splits": ["train", "dev"],
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MT4SSL_CACHE", str(tmp_path / "cache"))


def table_of_ks(path, root):
    """Write what s3prl's datasets of KS list, in their order."""
    from s3prl.downstream.speech_commands import dataset, expert

    roots = {
        "speech_commands_root": root / "speech_commands_v0.01",
        "speech_commands_test_root": root / "speech_commands_test_set_v0.01",
    }
    train, dev = expert.split_dataset(roots["speech_commands_root"])
    found = [
        ("train", dataset.SpeechCommandsDataset(train, **roots)),
        ("dev", dataset.SpeechCommandsDataset(dev, **roots)),
        ("test", dataset.SpeechCommandsTestingDataset(**roots)),
    ]
    with open(path, "w", newline="", encoding="utf-8") as file:
        lines = csv.writer(file)
        lines.writerow(["path", "label", "split"])
        for split, rows in found:
            lines.writerows((file, label, split) for label, file in rows.data)
    return dataset.CLASSES


def reported(expdir):
    return [json.loads(line) for line in (expdir / "evaluations.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("mode", ["off", "auto"])
def test_a_table_of_ks_trains_as_ks(mode, tmp_path):
    settings = {"ckpt": tiny_checkpoint(), "device": "cpu", "store": StoreOptions(mode)}
    (ks,) = runner.run(
        "ks", "mt4ssl", tmp_path / "ks", root=corpora(), overrides={**STEPS, **SPEED["ks"]},
        **settings,
    )  # fmt: skip
    labels = table_of_ks(tmp_path / "ks.csv", corpora() / "ks")
    changes = {**STEPS, **SPEED["ks"], **AS_KS, "downstream_expert.datarc.labels": labels}
    changes |= {
        "downstream_expert.datarc.csv": str(tmp_path / "ks.csv"),
        "downstream_expert.datarc.eval_batch_size": 4,
    }
    (own,) = runner.run("classify", "mt4ssl", tmp_path / "own", overrides=changes, **settings)
    first, second = reported(tmp_path / "ks"), reported(tmp_path / "own")
    assert len(first) == len(second) == 8
    for one, other in zip(first, second, strict=True):
        assert one == pytest.approx(other, abs=1e-4)
    assert own["value"] == pytest.approx(ks["value"], abs=1e-4)
    assert (own["task"], own["store"] is None) == ("classify", mode == "off")
    assert own["store"] == ks["store"]
