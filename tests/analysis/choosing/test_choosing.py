import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
import toy
from pretraining_runs import checkpoints, run

import mt4ssl_cli
from analysis.choosing import candidates, judging, ranking, signals
from analysis.choosing.candidates import Candidate
from analysis.choosing.choice_request import ChoiceRequest
from analysis.probes import probing
from mt4ssl_core.checkpoints import checkpoint
from mt4ssl_core.training.pretrain import pretrain


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A toy run with three checkpoints."""
    folder = tmp_path_factory.mktemp("runs")
    data = toy.corpus(folder, utterances=30)
    changes = {"optim__max_updates": 12, "run__validate_every": 4, "run__keep_every": 4}
    pretrain(toy.configuration(data, folder / "first", **changes))
    return folder


def choose(*words):
    return mt4ssl_cli.main(["choose", *map(str, words)])


def test_checkpoints_and_layers_of_a_run_without_labels(runs, tmp_path, capsys):
    assert choose(runs / "first", "--out", tmp_path / "out") == 0
    shown = capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "choice.json").read_text())
    names = {one["name"]: one for one in found["checkpoints"]}
    assert {*names} == {"first 4", "first 8", "first 12"}
    scores = [one["score"] for one in found["checkpoints"]]
    assert scores == sorted(scores, reverse=True) and 0 <= scores[-1] <= scores[0] <= 1
    best = found["checkpoints"][0]
    assert shown.startswith(f"Use {best['name']} ({best['path']}), layer {best['layer']}.")
    assert "held-out loss of the offline target" in shown and "(weight 3)" in shown
    assert "No label was looked at" in shown
    log = map(json.loads, (runs / "first" / "log.jsonl").read_text().splitlines())
    measured = {r["update"]: r["valid/offline/loss"] for r in log if "valid/loss" in r}
    assert names["first 8"]["values"]["offline/loss"] == measured[8]
    assert len(best["layers"]) == 3
    assert {"effective_rank", "silhouette"} <= best["layers"][0]["values"].keys()
    for name in ("choice.svg", "choice.png", "choice.csv", "table.md"):
        assert (tmp_path / "out" / name).stat().st_size
    again = tmp_path / "again"
    assert choose(runs / "first", "--out", again) == 0
    assert (again / "table.md").read_text() == (tmp_path / "out" / "table.md").read_text()


def test_a_checkpoint_that_was_not_validated_has_what_was_measured_last(runs, tmp_path):
    shutil.copytree(runs / "first", tmp_path / "run")
    log = tmp_path / "run" / "log.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(x for x in lines if '"update": 12, "valid' not in x))
    found, notes = candidates.find([str(tmp_path / "run")], [])
    assert [one.update for one in found] == [4, 8, 12]
    assert found[2].logged == found[1].logged != found[0].logged
    assert notes == ["run 12: what was held out was last measured at 8"]


def test_the_best_checkpoint_of_a_run_is_a_candidate_under_its_own_update(tmp_path):
    folder = checkpoints(run(tmp_path / "a"), 10, last=30)
    best = folder / "best.pt"
    for update, named in ((20, "best.pt"), (10, "update_10.pt")):
        checkpoint.save(
            best, checkpoint.load(folder / "last.pt") | {"progress": {"update": update}}
        )
        found = {one.update: one.path.name for one in candidates.find([str(folder)], [])[0]}
        assert found == {10: "update_10.pt", update: named, 30: "last.pt"}
    best.write_bytes(b"PK no")
    broken = []
    assert len(candidates.find([str(folder)], broken)[0]) == 2
    assert len(broken) == 1 and "best.pt: the checkpoint is cut off" in broken[0]


@pytest.mark.parametrize("labels", [(), ["speech"]])
def test_a_checkpoint_that_its_run_replaces_meanwhile_is_left_out(tmp_path, monkeypatch, labels):
    folder = checkpoints(run(tmp_path / "a"), 10, last=20)
    found, _ = candidates.find([str(folder)], [])
    checkpoints(folder, last=30)
    row = {"measure": "phone", "layer": 0, "value": 1.0, "held_out": 1.0}
    rows = [row | {"direction": "max", "chosen": True}]
    monkeypatch.setattr(judging.signals, "sample", lambda *_: ([], "audio"))
    monkeypatch.setattr(judging.layer_features, "open_upstream", lambda *_, **__: None)
    monkeypatch.setattr(judging.signals, "of_layers", lambda *_: [{"silhouette": 0.1}])
    monkeypatch.setattr(judging, "read_speech", lambda *_: [])
    monkeypatch.setattr(judging.probe_tasks, "possible_probes", lambda *_: ([], []))
    monkeypatch.setattr(judging.KeptScores, "score_layers", lambda *_: rows)
    broken, asked = [], ChoiceRequest([str(folder)], labels=labels)
    judged = (
        judging.by_probes(found, asked, [], broken)
        if labels
        else judging.by_signals(found, asked, broken)
    )[0]
    assert [item.candidate.update for item in judged] == [10]
    [line] = broken
    assert line.startswith(
        f"left out: {folder}/last.pt: of update 30 by now, since the run goes on"
    )


def test_with_labels_probes_decide(runs, tmp_path, capsys, monkeypatch):
    random, lines = np.random.default_rng(0), ["path,split,speaker,keyword"]
    for number in range(80):
        high = number % 2
        wave = 0.1 * random.normal(size=6_000)
        wave = np.diff(wave, prepend=0) if high else np.cumsum(wave) / 20
        soundfile.write(tmp_path / f"{number}.wav", wave.clip(-1, 1), 16_000)
        split = "test" if number % 8 < 2 else "train"
        lines.append(f"{number}.wav,{split},s{number % 8},{'high' if high else 'low'}")
    (tmp_path / "index.csv").write_text("\n".join(lines) + "\n")
    candidates = [runs / "first" / f"update_{n}.pt" for n in (4, 8)]
    words = ["--labels", tmp_path / "index.csv", "--probes", "keyword", "--out", tmp_path / "out"]
    assert choose(*candidates, *words) == 0
    shown = capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "choice.json").read_text())
    assert [one["name"] for one in found["criteria"]] == ["keyword"]
    assert all(0.5 <= one["test"]["keyword"] <= 1 for one in found["checkpoints"])
    assert "probe keyword" in shown and "No label" not in shown
    whole = ["--labels", tmp_path / "index.csv", "--probes", "keyword", "--out", tmp_path / "run"]
    assert choose(runs / "first", *whole) == 0
    first = (tmp_path / "run" / "choice.json").read_text()
    monkeypatch.setattr(probing, "score_layers", None)  # a run's scores are kept
    assert choose(runs / "first", *whole) == 0
    assert (tmp_path / "run" / "choice.json").read_text() == first


@pytest.mark.parametrize(
    "words, said",
    [(["{runs}/first"], "starts over"), (["{runs}/first", "--labels", "x"], "goes on where it st"),
     (["{runs}/first/update_4.pt", "--labels", "x"], "starts over")],
)  # fmt: skip
def test_an_interrupt_says_whether_scores_are_kept(runs, capsys, monkeypatch, words, said):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(judging, "by_signals", stopped)
    monkeypatch.setattr(judging, "by_probes", stopped)
    assert choose(*(word.format(runs=runs) for word in words)) == 130
    assert f"interrupted; the same command {said}" in capsys.readouterr().err


def test_what_cannot_be_looked_at_is_named_and_the_rest_is_ranked(runs, tmp_path, capsys):
    broken = tmp_path / "broken.pt"
    broken.write_bytes(b"nothing")
    words = ["--audio", runs / "audio", "--out", tmp_path / "out"]
    assert choose(runs / "first" / "update_4.pt", broken, *words) == 1
    said = capsys.readouterr()
    assert "Use update\\_4.pt" in said.out or "Use update_4.pt" in said.out
    assert "broken.pt" in said.err


@pytest.mark.parametrize(
    "words, told",
    [
        (["{runs}/first/update_4.pt"], "no audio to look at"),
        (["{runs}/first/update_4.pt", "{runs}/first/update_4.pt"], "given twice"),
        (["{runs}/nothing.pt", "--audio", "{runs}/audio"], "nothing.pt"),
        (["{runs}/audio"], "no log.jsonl"),
        (["{runs}/first", "--audio", "{runs}/nowhere"], "nowhere"),
        (["{runs}/first", "--audio", "{runs}/audio", "--labels", "x"], "--audio is looked at"),
        (["{runs}/first", "--probes", "phone"], "--probes is for probes, which need labels"),
    ],
)
def test_mistakes_are_one_line(runs, tmp_path, capsys, words, told):
    given = [word.format(runs=runs) for word in words]
    assert choose(*given, "--out", tmp_path / "out") != 0
    said = capsys.readouterr().err
    assert told in said and len(said.strip().splitlines()) == 1


def test_of_frames_that_are_all_alike_nothing_is_said_and_others_are_ranked(tmp_path):
    random, silent = torch.randn(2, 400, 8).numpy(), np.zeros((2, 400, 8), np.float32)
    measured = [
        signals.of_layers(SimpleNamespace(frames=lambda wave, found=found: found), [None], 0)
        for found in (random, silent)
    ]
    values = [signals.of_checkpoint(Candidate("a", Path("a")), layers) for layers in measured]
    assert "effective_rank" in values[0] and values[1] == {}
    order = ranking.rank(values, signals.OF_CHECKPOINTS)
    assert order.used == [] and len(order.left_out) == 4


def test_audio_of_the_run_that_is_gone_is_named_with_the_remedy(runs, tmp_path, capsys):
    shutil.copytree(runs / "first", tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    config.write_text(re.sub(r"( +train: ).*", r"\1/nowhere/train.tsv", config.read_text()))
    assert choose(tmp_path / "run", "--out", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert "/nowhere/train.tsv: the run's audio is no longer there" in said
    assert "--audio DIR" in said
