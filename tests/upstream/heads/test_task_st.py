"""Speech translation through s3prl's own expert."""

import csv
import json

import pytest
import superb_data

from upstream.heads import command, results, runner

SEEN = {"runner.evaluate_ratio": 1}  # all of the four sentences of a split


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MT4SSL_CACHE", str(tmp_path / "cache"))


def translations(expdir, split="test"):
    with open(expdir / f"output-st-{split}.tsv", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


@pytest.mark.slow
def test_train_test_and_resume(tmp_path):
    (record,) = superb_data.smoke("st", tmp_path, overrides=SEEN)
    assert (record["task"], record["metric"], record["split"]) == ("st", "bleu", "test")
    assert (record["unit"], record["direction"], record["step"]) == ("percent", "max", 2)
    found = translations(tmp_path / "exp")
    assert len(found) == 4 and all(row["hyp"] for row in found)
    assert found[0]["utt_id"].startswith("common_voice_en_")
    sacrebleu = pytest.importorskip("sacrebleu")
    bleu = sacrebleu.corpus_bleu([row["hyp"] for row in found], [[row["ref"] for row in found]])
    assert record["value"] == pytest.approx(bleu.score, abs=1e-6)
    lines = (tmp_path / "exp" / results.EVALUATIONS).read_text().splitlines()
    assert {"loss", "bleu"} <= set(json.loads(lines[-1]))

    steps = {"runner.total_steps": 4}
    (resumed,) = superb_data.smoke("st", tmp_path, overrides={**SEEN, **steps}, resume=True)
    assert resumed["step"] == 4
    argv = ["-m", "evaluate", "-e", str(tmp_path / "exp" / "states-4.ckpt"), "-t", "dev"]
    (dev,) = runner.launch(command.resolve(argv))
    assert (dev["split"], dev["step"]) == ("dev", 4)


@pytest.mark.slow
def test_an_interrupted_training_ends_as_an_uninterrupted_one(tmp_path):
    import torch

    steps = {"runner.eval_step": 100, "runner.save_step": 3}
    heads = []
    for name, stops in (("whole", [6]), ("halves", [3, 6])):
        for stop in stops:
            changes = {**SEEN, **steps, "runner.total_steps": stop}
            folder = tmp_path / name
            superb_data.smoke("st", folder, "fbank", overrides=changes, resume=stop != stops[0])
        heads.append(torch.load(folder / "exp" / "states-6.ckpt")["Downstream"])
    assert heads[0].keys() == heads[1].keys()
    assert all(torch.equal(heads[0][key], heads[1][key]) for key in heads[0])


@pytest.mark.slow
def test_recognising_english_as_a_second_task(tmp_path):
    changes = {**SEEN, "downstream_expert.taskrc.use_asr": True}
    superb_data.smoke("st", tmp_path, "fbank", overrides=changes)
    assert len((tmp_path / "exp" / "output-asr-test.tsv").read_text().splitlines()) == 5
