"""A table of what KS holds trains the same head, step by step; parts of files, and settings."""

import csv
import json

import numpy as np
import pytest
import soundfile
from superb_data import FEW_STEPS, SPEED, corpora, tiny_checkpoint

from upstream.heads import runner
from upstream.own_task.clips import least_crop
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


def test_parts_of_files_are_stored_as_they_are_computed(tmp_path):
    """With every frame in the store, a part of a file trains as without a store."""
    noise = np.random.default_rng(0)
    lines = ["path,text,split,start,end"]
    for number, split in enumerate(["train"] * 6 + ["dev", "test"]):
        soundfile.write(tmp_path / f"{number}.wav", 0.1 * noise.normal(size=16000), 16000)
        lines.append(f"{number}.wav,a b,{split},,0.4")
        lines.append(f"{number}.wav,b a,{split},0.5,")
    (tmp_path / "own.csv").write_text("\n".join(lines))
    changes = {**STEPS, "downstream_expert.datarc.csv": str(tmp_path / "own.csv")}
    changes |= {
        f"downstream_expert.datarc.{k}": v for k, v in (("num_workers", 0), ("batch_size", 4))
    }
    found = []
    for mode in ("off", "frames"):
        settings = {"ckpt": tiny_checkpoint(), "device": "cpu", "overrides": changes}
        stored = StoreOptions(mode, folder=str(tmp_path / "store"), precision="fp32")
        (record,) = runner.run("tokens", "mt4ssl", tmp_path / mode, store=stored, **settings)
        found.append(reported(tmp_path / mode))
        assert (record["store"] is None) == (mode == "off")
    assert len(found[0]) == 8
    for one, other in zip(*found, strict=True):
        assert one == pytest.approx(other, abs=1e-4)


@pytest.mark.parametrize("rate", [160, 320, 640])
def test_a_crop_has_the_frames_that_its_head_needs(rate):
    for frames in (1, 16):
        samples = round(least_crop(frames, rate) * 16_000)
        assert frames <= (samples - max(400, 2 * rate)) // rate + 1 <= frames + 1


def test_a_crop_too_short_for_an_x_vector_is_refused(tmp_path):
    lines = ["path,speaker,split"]
    for number, split in enumerate(["train"] * 4 + ["dev"] * 4 + ["test"] * 4):
        soundfile.write(tmp_path / f"{number}.wav", np.zeros(8000), 16000)
        lines.append(f"{number}.wav,{split}{number % 2},{split}")
    (tmp_path / "own.csv").write_text("\n".join(lines))
    changes = {**STEPS, "downstream_expert.datarc.csv": str(tmp_path / "own.csv")}
    changes["downstream_expert.datarc.crop_seconds"] = 0.1
    with pytest.raises(ValueError, match=r"crop_seconds: 0\.1; give 0\.175 s, which its"):
        runner.run("verify", "fbank", tmp_path / "exp", overrides=changes, device="cpu")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("crop_splits", ["trian"], "give a list of: train, dev, test"),
        ("crop_seconds", 0, "datarc.crop_seconds: 0; give 0.025 s, which its head needs, or more"),
        ("labels", ["a", "a"], "give a list, each label once"),
        ("labels", ["a"], "labels that are not in datarc.labels: b"),
        ("csv", "???", "no table is given"),
    ],
)
def test_settings_that_cannot_be(key, value, said, tmp_path):
    lines = ["path,label,split"]
    for number, split in enumerate(["train", "train", "dev", "test"]):
        soundfile.write(tmp_path / f"{number}.wav", np.zeros(8000), 16000)
        lines.append(f"{number}.wav,{'ab'[number % 2]},{split}")
    (tmp_path / "own.csv").write_text("\n".join(lines))
    changes = {**STEPS, "downstream_expert.datarc.csv": str(tmp_path / "own.csv")}
    changes[f"downstream_expert.datarc.{key}"] = value
    with pytest.raises(ValueError) as error:
        runner.run("classify", "fbank", tmp_path / "exp", overrides=changes, device="cpu")
    assert said in str(error.value)
