import argparse
from dataclasses import replace
from pathlib import Path

import pytest
from superb_data import TINY, save_checkpoint

from benchmarks import ctc_real
from benchmarks.ctc_starts import said, starts


@pytest.fixture
def work(tmp_path):
    """A prepared corpus, two checkpoints of one form, and a wider one."""
    folder = tmp_path / "work" / "an4"
    folder.mkdir(parents=True)
    for name in ("train", "dev", "test"):
        (folder / f"{name}.csv").write_text(f"path,text,speaker\n{name}.wav,HI,a\n")
    wider = replace(TINY, dim=2 * TINY.dim)
    for seed, (name, cfg) in enumerate({"a.pt": TINY, "b.pt": TINY, "wider.pt": wider}.items()):
        save_checkpoint(tmp_path / name, cfg, seed)
    return tmp_path / "work"


def asked(work, *chosen, updates=20, checkpoint="a.pt"):
    return argparse.Namespace(
        work=work, checkpoint=[str(work.parent / checkpoint)], set=list(chosen), seeds=1,
        updates=ctc_real.lengths(str(updates)), machine="here",
    )  # fmt: skip


def folders(*given, **more):
    return {
        piece.start.name: piece.out for piece in ctc_real.planned(asked(*given, **more), ["an4"])
    }


def test_a_piece_of_other_settings_is_another_piece(work):
    before = folders(work)
    assert list(before) == ["pre-trained", "untrained", "log-mel"]
    assert folders(work) == before and len(set(before.values())) == 3
    other = folders(work, "pre-trained:optim.head_lr=1e-2")
    assert [name for name in before if before[name] != other[name]] == ["pre-trained"]
    other = folders(work, checkpoint="b.pt")
    assert [name for name in before if before[name] != other[name]] == ["pre-trained"]
    for changed in (folders(work, updates=30), folders(work, checkpoint="wider.pt")):
        assert not set(changed.values()) & set(before.values())
    (work / "an4" / "dev.csv").write_text("path,text,speaker\ndev.wav,HO,a\n")
    assert not set(folders(work).values()) & set(before.values())


def test_several_checkpoints_have_two_rows_each_and_log_mel_one():
    found = starts(["a.pt", "conv=b.pt"], ["conv-untrained:optim.lr=3e-3", "log-mel:optim.lr=1e-2"])
    assert [start.name for start in found] == [
        "pre-trained", "untrained", "conv-pre-trained", "conv-untrained", "log-mel"
    ]  # fmt: skip
    assert found[3].checkpoint == Path("b.pt").resolve()
    chosen = {start.name: start.chosen for start in found}
    assert said(chosen) == (
        " Settings chosen on held-out training speakers: conv-untrained `optim.lr=3e-3`; "
        "log-mel `optim.lr=1e-2`."
    )
    assert said({"pre-trained": {}}) == ""


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ("optim.lr=1e-3", "expected START:KEY=VALUE"),
        ("pretrained:optim.lr=1", "no start 'pretrained'; give one of pre-trained, untrained, log"),
        ("log-mel:masking.prob=0.1", r"log-mel frames have only optim\.lr"),
        ("untrained:optim.max_updates=9", "alike for all starts"),
        ("untrained:data.batch_seconds=9", "alike for all starts"),
        ("untrained:encoder.random=false", "alike for all starts"),
        ("untrained:optim.heads_lr=1", r"Did you mean optim\.head_lr"),
        ("untrained:optim.head_lr=0", r"optim\.head_lr: 0\.0; must be above 0"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_before_anything_runs(work, chosen, message):
    with pytest.raises(ValueError, match=message):
        folders(work, chosen)


def test_corpora_may_have_updates_of_their_own():
    assert ctc_real.lengths("20") == {"an4": 20, "speechocean762": 20}
    assert ctc_real.lengths("an4=20") == {**ctc_real.UPDATES, "an4": 20}
    assert ctc_real.lengths("an4=20,speechocean762=30") == {"an4": 20, "speechocean762": 30}
    for wrong in ("an5=20", "an4=", "an4=0", "many", "20,an4"):
        with pytest.raises(argparse.ArgumentTypeError):
            ctc_real.lengths(wrong)


def test_two_starts_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two have the same name; give each as NAME=CKPT"):
        starts(["a.pt", "b.pt"], [])
