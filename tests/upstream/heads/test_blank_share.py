import json

import torch
from superb_data import FEW_STEPS, SPEED, corpora, tiny_checkpoint
from torch import nn

from upstream.heads import blank_share, results, runner
from upstream.heads.blank_share import BlankShare
from upstream.suite import table


class Head(nn.Module):
    """Gives what it is given as logits."""

    def forward(self, logits, lengths):
        return logits, lengths


class Expert(nn.Module):
    """As s3prl's ctc and asr experts have it."""

    def __init__(self, blank):
        super().__init__()
        self.model, self.objective = Head(), nn.CTCLoss(blank=blank)


def logits_of(*rows):
    return nn.functional.one_hot(torch.tensor(rows), 4).float()


def test_frames_within_the_lengths_count_while_it_evaluates():
    expert = Expert(blank=2)
    shares = BlankShare.of(expert)
    expert.train().model(logits_of([2, 2]), torch.IntTensor([2]))
    assert shares.take({}) == {}
    expert.eval()
    expert.model(logits_of([2, 2, 1, 3], [2, 0, 2, 2]), torch.IntTensor([4, 2]))
    expert.model(logits_of([2, 2]), torch.IntTensor([2]))
    records = {"hypothesis": ["AB", ""], "groundtruth": ["ABCD", "ABCD"]}
    assert shares.take(records) == {"blank_share": 5 / 8, "emitted_share": 0.25}
    assert shares.take(records) == {}


def test_a_head_without_ctc_has_no_blanks():
    assert BlankShare.of(nn.Linear(2, 2)) is None


def test_a_head_that_says_next_to_nothing_is_told_from_a_sparse_one():
    assert blank_share.only_blanks({"blank_share": 0.999, "emitted_share": 0.01})
    assert not blank_share.only_blanks({"blank_share": 0.99, "emitted_share": 0.9})
    assert not blank_share.only_blanks({})
    said = blank_share.advice("dev", {"blank_share": 0.999, "emitted_share": 0.01}, 600)
    assert said.startswith("dev: only blanks after 600 steps (99.9 % of the frames)")
    assert "--feature-transform whiten" in said


def test_evaluations_and_results_have_the_shares_and_the_log_says_it(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("MT4SSL_CACHE", str(tmp_path / "cache"))
    changes = {**FEW_STEPS, **SPEED["pr"]}
    asked = {"ckpt": tiny_checkpoint(), "root": corpora(), "device": "cpu"}
    monkeypatch.setattr(blank_share, "TOO_LITTLE", 1e9)  # two steps may give noise
    (record,) = runner.run("pr", "mt4ssl", tmp_path / "exp", overrides=changes, **asked)
    assert 0 <= record["blank_share"] <= 1 and record["emitted_share"] >= 0
    lines = (tmp_path / "exp" / results.EVALUATIONS).read_text().splitlines()
    dev = [line for line in map(json.loads, lines) if line["split"] == "dev"]
    assert 0 <= dev[0]["blank_share"] <= 1 and dev[0]["emitted_share"] >= 0
    assert not any("blank_share" in json.loads(line) for line in lines if '"train"' in line)
    said = capfd.readouterr().err
    assert "dev: only blanks after 2 steps" in said and "test: only blanks after 2 steps" in said
    row = {**record, "smoke": False, "overrides": {}, "rate": 1.0, "tried": [1]}
    row["corpus"] = {"kind": "mini"}
    assert "mini, only blanks: not learned" in table.render_table([row])
