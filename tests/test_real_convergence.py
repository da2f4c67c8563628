"""The convergence study: what each model is trained on, in which order, and what ABX compares."""

import argparse

import pytest

from analysis.abx.items import read_items
from benchmarks import real_convergence
from benchmarks.real_convergence import BOTH, MODELS, SECOND


def asked(work, **changes):
    given = {"work": work, "recipe": "mel_small", "set": [], "seeds": 2, "only": [], "jobs": 1}
    return argparse.Namespace(**given | {"set": ["run.keep_every=500"]} | changes)


def test_every_model_is_the_recipe_with_its_own_targets_labels_and_masks(tmp_path):
    found = {plan.name: plan.cfg for plan in real_convergence.plans(asked(tmp_path))}
    assert list(found)[: len(MODELS)] == [f"{name}/seed1" for name in MODELS]
    assert len(found) == 2 * len(MODELS)
    assert {cfg.encoder.frontend for cfg in found.values()} == {"mel"}
    on = {name: list(found[f"{name}/seed1"].on) for name in MODELS}
    assert on[BOTH] == on[SECOND] == ["offline", "online"]
    assert on["offline_only_paper_masks"] == ["offline"] and on["online_only"] == ["online"]
    masks = {(cfg.masking.prob, cfg.masking.length) for n, cfg in found.items() if "masks" in n}
    assert masks == {(0.65, 10)}
    labels = {cfg.data.labels for name, cfg in found.items() if name.startswith(SECOND)}
    assert labels == {str(tmp_path / SECOND / "train.km")}
    one = real_convergence.plans(asked(tmp_path, only=["online_only/seed2"]))
    assert [plan.name for plan in one] == ["online_only/seed2"]
    with pytest.raises(ValueError, match=r"--only both/seed1: no such run; choose from both_tar"):
        real_convergence.plans(asked(tmp_path, only=["both/seed1"]))


def test_second_labels_wait_for_the_first_model(tmp_path, monkeypatch):
    trained = []
    monkeypatch.setattr(
        real_convergence.study, "train_runs", lambda part, todo, jobs: trained.extend(todo) or {}
    )
    real_convergence.train(asked(tmp_path, only=["online_only/seed1"]))
    assert [plan.name for plan in trained] == ["online_only/seed1"]
    with pytest.raises(ValueError, match="labels are from both_targets/seed1, which is not done"):
        real_convergence.train(asked(tmp_path, only=[f"{SECOND}/seed1"]))


def test_abx_compares_the_keywords_of_those_who_say_most(tmp_path, monkeypatch):
    monkeypatch.setattr(real_convergence, "WORD_SPEAKERS", 1)
    table = tmp_path / "test" / "speech_commands_12" / "index.csv"
    table.parent.mkdir(parents=True)
    rows = [("bed/a_0", "bed", "a", "test"), ("go/a_0", "go", "a", "test"),
            ("go/b_0", "go", "b", "test"), ("go/c_0", "go", "c", "train")]  # fmt: skip
    lines = [f"/x/{name}.opus,{word},{who},{split},16000" for name, word, who, split in rows]
    table.write_text("\n".join(["path,label,speaker,split,num_samples", *lines]) + "\n")
    found = read_items(real_convergence.word_items(tmp_path)).stretches
    assert {name: [(s.phone, s.speaker, s.first, s.stop) for s in part]
            for name, part in found.items()} == {
        "bed/a_0": [("bed", "a", 0, 50)], "go/a_0": [("go", "a", 0, 50)]}  # fmt: skip
