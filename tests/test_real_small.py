"""Nobody that a small model is scored on has been heard by it."""

import csv

import docs_pages
import numpy as np
import soundfile

from benchmarks import real_small
from mt4ssl_core.data.tsv import read_tsv

SPLITS = {"an4": ("train", "test"), "librispeech_mini": ("train-clean-100", "test-other")}


def audio(folder):
    rng = np.random.default_rng(0)
    for name, splits in SPLITS.items():
        (folder / name).mkdir()
        with open(folder / name / "index.csv", "w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["path", "num_samples", "speaker", "split", "phones"])
            for speaker in range(24):
                for split in splits if speaker == 0 else splits[speaker % 4 == 1 :][:1]:
                    path = f"{speaker}-{split}.wav"
                    soundfile.write(folder / name / path, 0.1 * rng.standard_normal(9000), 16000)
                    table.writerow([path, 9000, f"s{speaker}", split, "AA"])


def test_no_speaker_of_dev_or_test_is_heard(tmp_path, monkeypatch):
    monkeypatch.setattr(real_small, "CLUSTERS", 4)
    (tmp_path / "audio").mkdir()
    audio(tmp_path / "audio")
    work = tmp_path / "work"
    real_small.prepare(tmp_path / "audio", work)
    heard = {row.id.split("-")[0] for row in read_tsv(work / "pretrain" / "train.tsv")}
    excluded = (work / "excluded_speakers.txt").read_text().split()
    assert "an4/s0" in excluded and "librispeech_mini/s1" in excluded  # in a test split too
    assert {f"{name}/s{number}" for name in SPLITS for number in range(24)} - set(excluded) == {
        name.replace("/", "/s") for name in heard
    }
    for part in ("dev", "test"):
        with open(work / part / "an4" / "index.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        tested = {f"an4/{row['speaker']}" for row in rows if row["split"] == "test"}
        trained = {f"an4/{row['speaker']}" for row in rows if row["split"] == "train"}
        assert tested and tested <= set(excluded) and not trained & set(excluded)


def test_rows_of_one_setting_are_kept_together(tmp_path):
    def row(value, system="mt4ssl"):
        return {"system": system, "measure": "keyword", "seed": 1, "value": value}

    out = tmp_path / "out.json"
    real_small.keep(out, {"on": "dev"}, [row(1), row(2, "untrained")])
    real_small.keep(out, {"on": "dev"}, [row(3)])
    values = {r["system"]: r["value"] for r in real_small.json.loads(out.read_text())["rows"]}
    assert values == {"mt4ssl": 3, "untrained": 2}
    real_small.keep(out, {"on": "test"}, [row(4)])
    assert [r["value"] for r in real_small.json.loads(out.read_text())["rows"]] == [4]


def test_results_show_the_search():
    shown = docs_pages.read("results").split("<!-- real-small-search -->")[1]
    wanted = real_small.search_table()
    assert shown.split("<!-- /real-small-search -->")[0].strip() == wanted, "run `make tables`"
