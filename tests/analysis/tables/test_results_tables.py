"""analysis/tables/results_page.py and convergence.py, and what the committed scores say."""

import json

import matplotlib.image
import pandas as pd
import pytest
import toy

from analysis.convergence import comparison
from analysis.tables import results_page
from benchmarks import convergence_page
from upstream.door import tasks


def write(folder, *records):
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(list(records)))


def record(**changes):
    base = {"task": "ks", "metric": "acc", "value": 0.5, "direction": "max", "split": "test"}
    return {**base, "upstream": "fbank", **changes}


def test_results_are_collected_from_any_depth(tmp_path):
    write(tmp_path / "a" / "b", record(), record(split="dev", value=0.9))
    write(tmp_path / "c", record(task="pr", metric="per", direction="min", value=0.25))
    frame = results_page.load([tmp_path])
    assert list(frame.value) == [0.5, 0.25] and frame.folder[0].endswith("a/b")


def test_missing_and_broken_results_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"no results\.json"):
        results_page.load([tmp_path])
    write(tmp_path / "bad", {"task": "ks"})
    with pytest.raises(ValueError, match=r"bad/results\.json: expected a list of rec"):
        results_page.load([tmp_path])
    (tmp_path / "bad" / "results.json").write_text("[{")
    with pytest.raises(ValueError, match=r"(not valid JSON|expected a list of records)"):
        results_page.load([tmp_path])


def test_table_has_arrows_means_and_the_best_in_bold():
    rows = [
        ("ours", "ks", "acc", 0.5, "max"),
        ("ours", "ks", "acc", 0.7, "max"),
        ("theirs", "ks", "acc", 0.55, "max"),
        ("ours", "pr", "per", 0.2, "min"),
        ("theirs", "pr", "per", 0.1, "min"),
    ]
    frame = pd.DataFrame(rows, columns=["system", "task", "metric", "value", "direction"])
    lines = results_page.markdown(frame, ["ours", "theirs", "absent"]).splitlines()
    assert lines[0] == "| system | KS acc % ↑ | PR per % ↓ |"
    assert lines[2] == "| ours | **60.0 ± 14.1** | 20.0 |"
    assert lines[3] == "| theirs | 55.0 (1 of 2 seeds) | **10.0** |"
    assert lines[4] == "| absent | - | - |"


def test_text_between_markers(tmp_path):
    path = tmp_path / "page.md"
    path.write_text("a\n<!-- x -->\nold\n<!-- /x -->\nb\n")
    assert results_page.between_markers(path, "x", "new\n")
    assert path.read_text() == "a\n<!-- x -->\nnew\n<!-- /x -->\nb\n"
    assert not results_page.between_markers(path, "x", "new")
    with pytest.raises(ValueError, match=r"<!-- y --> \.\.\. <!-- /y --> not found"):
        results_page.between_markers(path, "y", "")


def test_convergence_plot_shows_runs_and_reference(tmp_path):
    for name, level in (("a", 4.0), ("b", 3.0)):
        (tmp_path / name).mkdir()
        lines = [{"update": i, "offline/loss": level - i / 100} for i in range(0, 100, 10)]
        lines.append({"update": 90, "valid/offline/loss": level})
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / name / "log.jsonl").write_text(text)
    runs = {"A": tmp_path / "a", "B": tmp_path / "b"}
    curves = comparison.curves(tmp_path / "a")
    assert curves["offline/loss"][0] == (0, 4.0) and curves["valid/offline/loss"] == [(90, 4.0)]
    png = comparison.plot(runs, tmp_path / "out.png", {"offline/loss": (4.5, "entropy")})
    picture = matplotlib.image.imread(png)
    assert picture.shape[0] > 300 and picture[..., :3].std() > 0.02
    svg = comparison.plot(runs, tmp_path / "out.svg").read_text()
    assert svg.startswith("<?xml")
    with pytest.raises(ValueError, match=r"log\.jsonl: no such log"):
        comparison.plot({"none": tmp_path}, tmp_path / "no.png")
    (tmp_path / "log.jsonl").write_text("")
    with pytest.raises(ValueError, match="the logs are empty"):
        comparison.plot({"empty": tmp_path}, tmp_path / "no.png")
    assert not (tmp_path / "no.png").exists()


@pytest.mark.parametrize("corpora", [0, 2])
def test_the_committed_scores_hold_what_is_claimed(corpora):
    """Above filter banks and the untrained copy by more than the spread; with one exception."""
    results = toy.ROOT / "benchmarks" / "results"
    (path,) = results.glob(f"demo_scores_*_corpora{corpora}.json")
    record = json.loads(path.read_text())
    assert f"seed {corpora} " in record["setting"]["corpora"]
    frame = pd.DataFrame(record["rows"])
    stats = frame.groupby(["task", "system"]).value.agg(["mean", "std", "count"])
    for task, sign in (("ks", 1), ("sid", 1), ("pr", -1)):
        ours = stats.loc[task, "mt4ssl"]
        for system in ("untrained copy", "fbank", "fbank, no CMVN"):
            other = stats.loc[task, system]
            assert ours["count"] == other["count"] == 3
            lead, spread = sign * (ours["mean"] - other["mean"]), ours["std"] + other["std"]
            level = (corpora, task, system) == (2, "pr", "fbank")
            assert (lead > spread) != level, (task, system)
    assert (frame[frame.task == "pr"].value < 0.95).all()


def test_the_convergence_plot_is_drawn_from_the_committed_scores(tmp_path):
    convergence_page.draw(tmp_path)
    made, kept = tmp_path / "scores_updates.csv", convergence_page.SCORES / "scores_updates.csv"
    assert made.read_text() == kept.read_text()
    picture = matplotlib.image.imread(tmp_path / "scores_updates.png")
    assert picture.shape == matplotlib.image.imread(kept.with_suffix(".png")).shape
    assert picture.shape[1] == 1260  # pixels, as wide as a page


def test_every_synthesised_task_can_be_learned():
    (path,) = (toy.ROOT / "benchmarks" / "results").glob("learnability_*.json")
    rows = json.loads(path.read_text())["rows"]
    assert {row["task"] for row in rows} == set(tasks.names())
    for row in rows:
        above = row["value"] > row["baseline"]
        assert above == (row["direction"] == "max") and row["better"], row
