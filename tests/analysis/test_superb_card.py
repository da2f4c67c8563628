"""The scores in a model card."""

import json
from pathlib import Path

import head_runs
import pytest
import report_runs
import score_runs
import yaml
from huggingface_hub import parse_eval_result_entries
from superb_data import tiny_checkpoint

from analysis import exporting, superb_card
from upstream.door import cache


def of(checkpoint: Path, folder: Path) -> Path:
    """A suite's folder in which every score is of this checkpoint."""
    lines = (folder / "results.jsonl").read_text().splitlines()
    mark = {"fingerprint": cache.file_fingerprint(checkpoint)}
    found = [json.dumps({**json.loads(line), **mark}) + "\n" for line in lines]
    (folder / "results.jsonl").write_text("".join(found))
    return folder


def test_the_card_has_the_row_the_plot_and_the_hubs_files(tmp_path):
    checkpoint = tiny_checkpoint()
    run = of(checkpoint, report_runs.published(tmp_path / "run" / "superb"))
    exporting.export(str(checkpoint), str(tmp_path / "out"), "hf", superb=str(tmp_path / "run"))
    card = (tmp_path / "out" / "README.md").read_text()
    assert "## SUPERB" in card and "96.30" in card  # KS of HuBERT Base
    files = {path.name: path for path in (tmp_path / "out" / ".eval_results").iterdir()}
    found = yaml.safe_load(files["superb_ks.yaml"].read_text())
    (entry,) = parse_eval_result_entries(found)
    assert (entry.dataset_id, entry.task_id, entry.value) == ("s3prl/superb", "ks", 96.3)
    assert "acc ↑, percent" in str(entry.notes)
    assert len(yaml.safe_load(files["superb_sf.yaml"].read_text())) == 2
    exporting.export(str(checkpoint), str(tmp_path / "out"), "hf")  # the former gives way
    assert "SUPERB" not in (tmp_path / "out" / "README.md").read_text()
    assert run.exists()


def test_what_is_not_superb_is_shown_and_not_claimed(tmp_path):
    checkpoint = tiny_checkpoint()
    run = of(checkpoint, report_runs.mini(tmp_path / "mini", ks=[0.1, 0.5, 0.2], pr=[0.1, 0.2, 2]))
    text, files = superb_card.scores_of(run, checkpoint)
    assert "not comparable with SUPERB" in text
    assert list(files) == ["layer_weights.png"]
    assert "![How much each layer counts in each task](layer_weights.png)" in text


def test_scores_of_another_checkpoint_are_refused(tmp_path):
    run = score_runs.suite(tmp_path / "run", score_runs.record("ks", 0.9))
    head_runs.small(tmp_path / "heads", ks=[0.5, 0.5])
    with pytest.raises(ValueError, match=r"run: scores of another checkpoint \(f0, and .*tiny"):
        superb_card.scores_of(run, tiny_checkpoint())
    with pytest.raises(ValueError, match=r"no such file|no such folder|no results"):
        superb_card.scores_of(tmp_path / "none", tiny_checkpoint())


def test_a_changed_card_is_not_lost(tmp_path):
    checkpoint, out = str(tiny_checkpoint()), tmp_path / "out"
    exporting.export(checkpoint, str(out), "hf")
    card = out / "README.md"
    card.write_text(card.read_text().replace("# out", "# My model"))
    with pytest.raises(ValueError, match=r"README\.md: was changed since it was written"):
        exporting.export(checkpoint, str(out), "hf")
    assert "# My model" in card.read_text()


def test_the_card_says_what_the_checkpoint_and_its_log_know(tmp_path):
    checkpoint = tmp_path / "last.pt"
    checkpoint.write_bytes(tiny_checkpoint().read_bytes())
    log = {"update": 0, "train_hours": 1.5, "train_files": 1234}
    (tmp_path / "log.jsonl").write_text(json.dumps(log) + "\n")
    exporting.export(str(checkpoint), str(tmp_path / "out"), "hf")
    card = (tmp_path / "out" / "README.md").read_text()
    front = yaml.safe_load(card.split("---\n")[1])
    assert "license" not in front and "datasets" not in front
    assert "2 transformer layers of 16" in card
    known = "- audio: 1.5 h in 1,234 files" in card
    assert known == ("## Training" in card)
    assert str(tmp_path) not in card.replace(str(tmp_path / "out"), "")
