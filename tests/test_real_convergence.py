"""The convergence study: what each model is trained on, in which order, and what ABX compares."""

import argparse
import sys
from types import SimpleNamespace

import pandas as pd
import pytest

from analysis.abx.items import ItemFile, read_items
from analysis.records.training_runs import shared_and_own
from benchmarks import convergence_page, convergence_record, real_convergence
from benchmarks.real_convergence import BOTH, MODELS, SECOND
from mt4ssl_core import config
from mt4ssl_core.files import read_json


def asked(work, **changes):
    given = {"work": work, "recipe": "mel_small", "set": [], "seeds": 2, "only": [], "jobs": 1}
    return argparse.Namespace(**given | {"set": ["run.keep_every=500"]} | changes)


def test_every_model_is_the_recipe_with_its_own_targets_labels_and_masks(tmp_path):
    found = {plan.name: plan.cfg for plan in real_convergence.plans(asked(tmp_path), write=True)}
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


def test_configs_are_written_by_training_alone_and_never_replaced(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"both_targets\.yaml: no such config; train first"):
        real_convergence.score(asked(tmp_path))
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(real_convergence.study, "train_runs", lambda *args: {})
    real_convergence.train(asked(tmp_path, only=["online_only/seed1"]))
    before = {path: path.read_text() for path in (tmp_path / "configs").iterdir()}
    for command in (real_convergence.train, real_convergence.show):
        with pytest.raises(ValueError, match=r"both_targets\.yaml: .*or another WORK"):
            command(asked(tmp_path, recipe="small"))
    assert {path: path.read_text() for path in (tmp_path / "configs").iterdir()} == before


def test_why_runs_failed_is_said_before_second_labels_are_asked_for(tmp_path, monkeypatch):
    name = f"{BOTH}/seed1"
    monkeypatch.setattr(real_convergence.study, "train_runs", lambda *args: {name: "no memory"})
    with pytest.raises(ValueError, match=f"^{name} failed: no memory$"):
        real_convergence.train(asked(tmp_path, only=[name, f"{SECOND}/seed1"]))


def test_measures_are_words(monkeypatch, capsys):
    said = []
    monkeypatch.setattr(real_convergence, "score", lambda args: said.append(list(args.measures)))
    for words in ([], ["--measures", "wer"]):
        monkeypatch.setattr(sys, "argv", ["real_convergence", "score", "work", *words])
        real_convergence.main()
    assert said == [["probes", "wer"], ["wer"]]  # heads take long
    monkeypatch.setattr(sys, "argv", ["real_convergence", "score", "work", "--measures", "wers"])
    with pytest.raises(SystemExit):
        real_convergence.main()
    assert "invalid choice: 'wers'" in capsys.readouterr().err


def test_references_are_kept_while_encoder_and_items_are_the_same(tmp_path, monkeypatch):
    scored, items = [], tmp_path / "words.item"
    items.write_text("a")
    cfg = config.load("tiny", ["data.train=a", "data.labels=b", "run.out=c"]).encoder
    for name, value in {
        "read_speech": lambda sources: [], "read_items": lambda path: ItemFile(path, {}),
        "word_items": lambda work: items, "recognised": lambda *args: {"an4_wer": 0.9},
        "load_encoder": lambda ckpt: SimpleNamespace(cfg=cfg),
    }.items():  # fmt: skip
        monkeypatch.setattr(real_convergence, name, value)
    row = {"measure": "keyword", "value": 0.5, "chosen": True}
    monkeypatch.setattr(
        real_convergence.probing, "score_layers", lambda *args, **more: scored.append(args) or [row]
    )
    asked_for = (asked(tmp_path), tmp_path / "last.pt")
    found = real_convergence.references(*asked_for)
    assert found["untrained"] == {"keyword": 0.5, "an4_wer": 0.9}
    assert real_convergence.references(*asked_for) == found and len(scored) == 3
    items.write_text("b")
    assert real_convergence.references(*asked_for) == found and len(scored) == 6
    cfg.layers += 1
    real_convergence.references(*asked_for)
    assert len(scored) == 9


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


def part_of(record, *, seed):
    """What `show` would have written with the runs of one seed alone."""
    named = [run["group"] for run in record["runs"] if run["seed"] == seed]
    settings = {g: {**record["setting"]["shared"], **record["setting"]["groups"][g]} for g in named}
    shared, own = shared_and_own(settings)
    rows = {name: [r for r in record[name] if r["seed"] == seed] for name in ("runs", "points")}
    about = {name: record[name] for name in ("machine", "versions")}
    setting = {**record["setting"], "shared": shared, "groups": own}
    return {**about, **rows, "setting": setting, "notes": [f"of seed {seed}"], "reach": []}


def test_more_seeds_join_those_that_are_committed():
    record = read_json(convergence_page.SCORES / "results.json")
    first, *others = sorted({run["seed"] for run in record["runs"]})
    found = {**part_of(record, seed=first), "references": record["references"]}
    for seed in others:
        found = convergence_record.joined(found, part_of(record, seed=seed))
    assert others and found["setting"] == record["setting"]
    assert found["references"] == record["references"] and found["machine"] == record["machine"]
    assert found["notes"][:2] == [f"of seed {first}", f"of seed {others[0]}"]
    for name in ("runs", "points"):
        assert sorted(map(str, found[name])) == sorted(map(str, record[name]))
    assert [run["seed"] for run in found["runs"] if run["group"] == BOTH] == [first, *others]
    reached = [(r["metric"], r["target"], r["group"], r["by_seed"]) for r in record["reach"]]
    assert [(r["metric"], r["target"], r["group"], r["by_seed"]) for r in found["reach"]] == reached


def test_what_one_part_alone_has_stays_and_has_its_target():
    record = read_json(convergence_page.SCORES / "results.json")
    first, second = part_of(record, seed=1), part_of(record, seed=2)
    asked = "keyword=0.5"
    for part, target in ((first, [asked, "speaker=0.7"]), (second, [])):
        part["setting"]["scoring"] = {**part["setting"]["scoring"], "target": target}
    second["points"] = [row for row in second["points"] if row["metric"] != "keyword"]
    first["machine"] = "one and another"
    second["machine"] = "another"
    for group in ("runs", "points"):
        second[group] = [row for row in second[group] if row["group"] != "both_targets"]
    found = convergence_record.joined(first, second)
    assert found["machine"] == "one and another"
    assert {r["target"] for r in found["reach"] if r["metric"] == "keyword"} == {0.5}  # as before
    assert found["setting"]["scoring"]["target"] == [asked, "speaker=0.7"]
    second["setting"]["scoring"]["target"] = ["keyword=0.6"]
    again = convergence_record.joined(first, second)
    assert {r["target"] for r in again["reach"] if r["metric"] == "keyword"} == {0.6}
    groups = {row["group"] for row in found["reach"] if row["metric"] == "keyword"}
    assert "both_targets" in groups


def test_held_out_losses_of_a_group_that_has_none_stay_outside():
    record = read_json(convergence_page.SCORES / "results.json")
    first, second = part_of(record, seed=1), part_of(record, seed=2)
    losses = ("offline_loss", "offline_accuracy")
    first["points"] = [
        row for row in first["points"]
        if row["group"] != "offline_only" or row["metric"] not in losses
    ]  # fmt: skip
    found = convergence_record.joined(first, second)
    having = {row["group"] for row in found["points"] if row["metric"] in losses}
    assert having == {BOTH}
    assert "held-out losses of offline_only are left out" in str(found["notes"])


def test_held_out_losses_of_other_masks_stay_outside():
    record = read_json(convergence_page.SCORES / "results.json")
    first, second = part_of(record, seed=1), part_of(record, seed=2)
    keep = "offline_only"
    first["setting"]["shared"] = {**first["setting"]["shared"], "masking.length": 5}
    for name in ("runs", "points"):
        rows = [row for row in second[name] if row["group"] == keep]
        second[name] = [{**row, "group": "masks", "run": "masks/seed2"} for row in rows]
    own = {**second["setting"]["shared"], **second["setting"]["groups"][keep]}
    second["setting"]["groups"] = {"masks": {"masking.length": 10}}
    second["setting"]["shared"] = {k: v for k, v in own.items() if k != "masking.length"}
    found = convergence_record.joined(first, second)
    metrics = {row["metric"] for row in found["points"] if row["group"] == "masks"}
    assert "keyword" in metrics and not {"offline_loss", "offline_accuracy"} & metrics
    assert "held-out losses of masks are left out: their labels, masks, f" in str(found["notes"])
    first_ones = [row for row in first["points"] if row["metric"] == "offline_loss"]
    assert [r for r in found["points"] if r["metric"] == "offline_loss"] == first_ones


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, r"both_targets/seed1.*: committed already; name others with --only"),
        ({"train_hours": 1.0}, r"train_hours: 4\.8.* of the committed runs, 1\.0 of these; leave"),
        ({"word_speakers": 3}, "word_speakers: 10 of the"),
        ({"groups": {"offline_only": {"optim.lr": 1.0}}}, r"offline_only: optim\.lr: 0\.0015 of"),
        ({"scoring": {"layer": "last"}}, "probe_data: .* of the committed runs, None of these"),
        ({"fingerprints": {"labels": "x"}}, "fingerprints: .* committed ones"),
    ],
)
def test_what_cannot_join_the_committed_runs_is_refused(change, message):
    record = read_json(convergence_page.SCORES / "results.json")
    first, second = part_of(record, seed=1), part_of(record, seed=2)
    if change:
        second["setting"] = {**second["setting"], **change}
    with pytest.raises(ValueError, match=message):
        convergence_record.joined(first, second if change else first)


def test_joined_curves_are_those_of_all_runs():
    runs = pd.DataFrame({"update": [50, 50, 50, 100], "group": ["a", "a", "a", "b"],
                         "value": [1.0, 2.0, 6.0, 4.0]})  # fmt: skip

    def curves(rows):
        grouped = rows.groupby(["update", "group"], as_index=False)["value"]
        return grouped.agg(mean="mean", low="min", high="max", runs="count")

    found = convergence_record.joined_curves(curves(runs[:2]), curves(runs[2:]))
    assert found.to_dict() == curves(runs).to_dict()


def test_a_head_for_keywords_is_trained_as_real_heads_does(tmp_path, monkeypatch):
    (tmp_path / "heard.tsv").write_text(f"{tmp_path}/audio\na.wav\t16000\n")
    called, laid = [], []
    monkeypatch.setattr(
        real_convergence.real_superb, "lay_out",
        lambda data, out: laid.append(data) or (out / "roots.yaml").write_text("ks: ks\n"),
    )  # fmt: skip
    monkeypatch.setattr(
        real_convergence.checkpoint_scores, "run_superb",
        lambda *args, **more: called.append((args, more)) or [],
    )  # fmt: skip
    for _ in range(2):
        real_convergence.heads([], tmp_path)
    (runs, task, roots, settings), more = called[0]
    assert laid == [tmp_path / "audio"] and task == "ks" and runs == []
    assert roots == str(tmp_path / "corpora" / "roots.yaml") and more["allow_partial"]
    assert "ks:runner.total_steps=500" in settings and "ks:optimizer.lr=0.005" in settings
    monkeypatch.setattr(
        real_convergence.checkpoint_scores, "run_superb", lambda *args, **more: ["a: failed"]
    )
    with pytest.raises(ValueError, match="a: failed"):
        real_convergence.heads([], tmp_path)


def test_show_refuses_committed_runs_before_it_scores(tmp_path, monkeypatch):
    monkeypatch.setattr(
        real_convergence, "runs_of", lambda args: [SimpleNamespace(name=f"{BOTH}/seed1")]
    )
    monkeypatch.setattr(real_convergence, "recognition", None)
    with pytest.raises(ValueError, match="both_targets/seed1: committed already; name others"):
        real_convergence.show(asked(tmp_path, add=True))
