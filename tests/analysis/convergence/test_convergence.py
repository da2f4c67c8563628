"""analysis/convergence/comparison.py: the comparison of pre-training runs as a whole."""

import json

import matplotlib.image
import pandas as pd
import pytest
from pretraining_runs import checkpoints, run

import mt4ssl_cli
from analysis.convergence import checkpoint_scores, comparison
from analysis.convergence.comparison import Scoring
from analysis.probes import probing

FIGURES = [f"{what}_{cost}" for what in ("curves", "scores")
           for cost in ("updates", "audio_hours", "wall_hours")]  # fmt: skip


def make(folder):
    """Two seeds each of a fast and a slow group, and one that lacks the offline target."""
    for seed, more in ((1, 0.0), (2, 0.2)):
        run(folder / "fast" / f"seed{seed}", (4 + more, 2 + more, 1 + more))
        run(folder / "slow" / f"seed{seed}", (4 + more, 3 + more, 2 + more))
    run(folder / "online" / "seed1", (None,) * 3, online=0.5)
    return folder


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Runs of which no figures are drawn."""
    monkeypatch.setattr(comparison, "_draw", lambda *_: None)
    return make(tmp_path / "runs")


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A comparison with figures: its folder and what was returned."""
    folder = tmp_path_factory.mktemp("convergence")
    runs = make(folder / "runs")
    text = comparison.compare([runs / n for n in ("fast", "slow", "online")], folder / "out")
    return folder / "out", text


def test_everything_is_written(compared):
    out, text = compared
    assert (out / "table.md").read_text() == text
    assert {p.name for p in out.iterdir()} == {
        "table.md", "convergence.json",
        *(f"{name}.{suffix}" for name in FIGURES for suffix in ("svg", "png", "csv")),
    }  # fmt: skip
    assert "| fast | 1.1 (1-1.2) | 0.9167 (0.8333-1) |" in text
    assert "offline_loss 2.2: last score of slow/seed2, the worst to make progress" in text
    found = json.loads((out / "convergence.json").read_text())
    assert [r["run"] for r in found["runs"]][:2] == ["fast/seed1", "fast/seed2"]
    point = found["points"][0]
    assert point == {
        "run": "fast/seed1", "group": "fast", "seed": 1, "update": 10, "audio_hours": 0.1,
        "wall_hours": 0.01, "metric": "offline_loss", "value": 4.0, "unit": "nats",
        "direction": "min", "layer": None,
    }  # fmt: skip
    fast, slow = (r for r in found["reach"] if r["metric"] == "offline_loss")
    assert fast["updates"] == pytest.approx((19 + 20) / 2) and fast["ratio"] == 1
    assert slow["updates"] == pytest.approx((28 + 30) / 2) and slow["seeds_reached"] == 2
    for ratio in ("ratio", "audio_ratio", "wall_ratio"):
        assert slow[ratio] == pytest.approx(29 / 19.5)
    assert found["setting"]["train_hours"] == 8.0 and "torch" in found["versions"]


def test_targets_that_are_asked_for_replace_the_default(study, tmp_path):
    scoring = Scoring(target=["offline_loss=3", "offline_loss=0.5"])
    comparison.compare([study / "fast"], tmp_path / "out", scoring=scoring)
    found = json.loads((tmp_path / "out" / "convergence.json").read_text())
    rows = [(r["metric"], r["target"], r["seeds_reached"]) for r in found["reach"]]
    assert rows[:2] == [("offline_loss", 3.0, 2), ("offline_loss", 0.5, 0)]
    assert rows[2][0] == "offline_accuracy"


def test_figures_show_the_mean_and_the_range_of_seeds(compared):
    out, _ = compared
    table = pd.read_csv(out / "scores_wall_hours.csv").set_index(["metric", "group", "update"])
    row = table.loc[("offline_loss", "slow", 20)]
    assert (row["mean"], row["low"], row["high"], row["runs"]) == (pytest.approx(3.1), 3.0, 3.2, 2)
    assert row["x"] == pytest.approx(0.02 * 60) and row["cost"].endswith("minutes")
    picture = matplotlib.image.imread(out / "curves_updates.png")
    assert picture.shape[0] > 600 and picture[..., :3].std() > 0.02
    assert (out / "curves_updates.svg").read_text().startswith("<?xml")


def test_probes_superb_and_tables_come_together(study, tmp_path, monkeypatch):
    fast = checkpoints(study / "fast" / "seed1", 10, 20)
    row = {"layer": 1, "measure": "keyword", "unit": "fraction", "direction": "max", "chosen": True}
    monkeypatch.setattr(
        probing, "score_layers",
        lambda ckpt, *_, **__: [{**row, "value": int(ckpt.stem[7:]) / 100}], raising=False,
    )  # fmt: skip
    monkeypatch.setattr(comparison, "read_speech", lambda *_: [])
    (tmp_path / "wer.csv").write_text("run,update,metric,value\nfast/seed1,15,wer,40\n")
    scoring = Scoring(
        probe_data=[str(tmp_path)], probes="keyword", scores=str(tmp_path / "wer.csv")
    )
    text = comparison.compare([fast], tmp_path / "out", scoring=scoring)
    assert "keyword (fraction) ↑ | wer (-) ↓ | offline_loss (nats) ↓" in text
    assert "fast has wer at one checkpoint only" in text
    found = json.loads((tmp_path / "out" / "convergence.json").read_text())
    layers = {p["metric"]: p["layer"] for p in found["points"]}
    assert layers["keyword"] == 1 and layers["wer"] is None
    (wer,) = (p for p in found["points"] if p["metric"] == "wer")
    assert wer["audio_hours"] == pytest.approx(0.15)


def test_a_part_of_a_corpus_is_accepted_where_that_is_asked_for(study, tmp_path, monkeypatch):
    fast, asked = checkpoints(study / "fast" / "seed1", 10), []
    monkeypatch.setattr(
        checkpoint_scores.suite, "run", lambda request: asked.append(request.allow_partial) or 0
    )
    (tmp_path / "roots.yaml").write_text("ks: .\n")
    given = f"convergence {fast} --tasks ks --roots {tmp_path}/roots.yaml --out {tmp_path}/out"
    for more in ([], ["--allow-partial"]):
        assert mt4ssl_cli.main([*given.split(), *more]) == 0
    assert asked == [False, True]
    found = json.loads((tmp_path / "out" / "convergence.json").read_text())
    assert found["setting"]["scoring"]["allow_partial"] is True


def test_runs_without_scores_still_have_curves(tmp_path):
    folder = run(tmp_path / "a", (None, None), online=0.5)
    text = comparison.compare([folder], tmp_path / "out")
    assert text.startswith("Nothing was scored: give --probe-data")
    assert (tmp_path / "out" / "curves_updates.png").is_file()
    assert not (tmp_path / "out" / "scores_updates.png").exists()


def test_nothing_to_compare(tmp_path):
    with pytest.raises(ValueError, match="no runs to compare"):
        comparison.compare([], tmp_path / "out")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "log.jsonl").write_text("")
    with pytest.raises(ValueError, match="the logs are empty"):
        comparison.compare([tmp_path / "a"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_plot_takes_any_number_of_runs_and_two_formats(tmp_path):
    runs = {f"run {i}": run(tmp_path / str(i), (4 - i / 10, 3 - i / 10)) for i in range(8)}
    comparison.plot(runs, tmp_path / "p.svg", {"offline/loss": (3.5, "entropy")})
    drawn = pd.read_csv(tmp_path / "p.csv")
    assert set(drawn["group"]) == set(runs) and (tmp_path / "p.png").is_file()
    with pytest.raises(ValueError, match=r"p\.pdf: cannot draw \.pdf"):
        comparison.plot(runs, tmp_path / "p.pdf")
