"""Audio that cannot be used: counted, named once, and never trained on in silence."""

import json

import numpy as np
import pytest
import soundfile
import toy

from mt4ssl_core.checkpoints import checkpoint
from mt4ssl_core.data.batch import Batch, Skipped
from mt4ssl_core.distributed import World
from mt4ssl_core.training.journal import Journal, read_jsonl
from mt4ssl_core.training.pretrain import pretrain
from mt4ssl_core.training.skipping import BATCHES, SkipList, Skips

QUICK = {"run__validate_every": 0, "run__save_every": 1000, "data__valid_share": 0.0}


def empty(path):
    path.write_bytes(b"")


def text(path):
    path.write_text("not audio")


def not_a_number(path):
    samples = soundfile.info(path).frames
    soundfile.write(path, np.full(samples, np.nan), 16_000, subtype="FLOAT")


def cut(path):
    path.write_bytes(path.read_bytes()[:100])


def silent_losses(folder):
    return [r for r in read_jsonl(folder / "log.jsonl") if r.get("loss") == 0]


def skipped(folder):
    return [line.split("\t") for line in (folder / "skipped.txt").read_text().splitlines()]


@pytest.mark.parametrize("spoil", [empty, text, not_a_number, cut])
def test_a_corpus_of_which_nothing_can_be_used_stops_the_run(tmp_path, spoil):
    corpus = toy.corpus(tmp_path)
    for path in (tmp_path / "audio").iterdir():
        spoil(path)
    with pytest.raises(ValueError, match=r"(unusable|could not be used).*max_skipped"):
        pretrain(toy.configuration(corpus, tmp_path / "run", **QUICK))
    assert not list((tmp_path / "run").glob("*.pt"))


@pytest.mark.parametrize(("accumulate", "workers"), [(1, 0), (2, 0), (1, 2)])
def test_a_mount_lost_half_way_keeps_the_last_good_update(
    tmp_path, monkeypatch, accumulate, workers
):
    corpus = toy.corpus(tmp_path)
    lines = Journal.line

    def lose(self, values, more=False):
        lines(self, values, more)
        if values["update"] == 3 and (tmp_path / "audio").exists():
            (tmp_path / "audio").rename(tmp_path / "lost")

    monkeypatch.setattr(Journal, "line", lose)
    changes = {"optim__accumulate": accumulate, "data__workers": workers, **QUICK}
    cfg = toy.configuration(corpus, tmp_path / "run", optim__max_updates=100, **changes)
    with pytest.raises(ValueError, match=r"skipped\.txt.*last\.pt holds update \d+"):
        pretrain(cfg)
    progress = checkpoint.load(tmp_path / "run" / "last.pt")["progress"]
    good = [r for r in read_jsonl(tmp_path / "run" / "log.jsonl") if "loss" in r]
    assert progress["update"] == good[-1]["update"] >= 3 and not silent_losses(tmp_path / "run")
    named = skipped(tmp_path / "run")
    assert len(named) == len({name for name, *_ in named}) >= 2
    assert all("no such file" in reason and int(update) > 3 for _, reason, update in named)
    (tmp_path / "lost").rename(tmp_path / "audio")
    more = {**changes, "optim__max_updates": progress["update"] + 2}
    state = checkpoint.load(pretrain(toy.configuration(corpus, tmp_path / "run", **more)))
    assert state["progress"]["update"] == progress["update"] + 2
    assert skipped(tmp_path / "run") == named


def test_one_bad_file_never_stops_a_small_corpus_and_is_named_once(tmp_path):
    corpus = toy.corpus(tmp_path, utterances=8)
    text(tmp_path / "audio" / "u03.wav")
    run = tmp_path / "run"
    for updates in (6, 9):
        pretrain(toy.configuration(corpus, run, optim__max_updates=updates, **QUICK))
    ((name, reason, update),) = skipped(run)
    assert name.endswith("u03.wav") and "cannot be read" in reason and int(update) >= 1
    records = [r for r in read_jsonl(run / "log.jsonl") if "loss" in r]
    epochs = records[-1]["epoch"]
    assert epochs <= sum(r["skipped"] for r in records) <= epochs + 1
    assert all((r["skipped"] > 0) == (r["skipped_share"] > 0) for r in records)
    with pytest.raises(ValueError, match=r"more than data\.max_skipped = 0 of an epoch's audio"):
        strict = toy.configuration(corpus, tmp_path / "none", data__max_skipped=0.0, **QUICK)
        pretrain(strict)


def test_batches_of_which_nothing_can_be_used_make_no_update(tmp_path):
    corpus = toy.corpus(tmp_path, utterances=8)
    for number in (1, 4, 6):
        not_a_number(tmp_path / "audio" / f"u0{number}.wav")
    one_each = {"data__max_seconds": 1.0, "data__batch_seconds": 1.0, "data__max_skipped": 1.0}
    pretrain(
        toy.configuration(corpus, tmp_path / "run", optim__max_updates=10, **one_each, **QUICK)
    )
    records = [r for r in read_jsonl(tmp_path / "run" / "log.jsonl") if "loss" in r]
    assert [r["update"] for r in records] == list(range(1, 11))
    assert records[-1]["epoch"] == 1 and sum(r["skipped"] for r in records) >= 5
    assert not silent_losses(tmp_path / "run")
    state = checkpoint.load(tmp_path / "run" / "last.pt")
    steps = [entry["step"].item() for entry in state["optimizer"]["state"].values()]
    assert max(steps) == 10


def test_what_the_manifest_leaves_out_is_in_the_list(tmp_path):
    toy.corpus(tmp_path, utterances=30)
    empty(tmp_path / "audio" / "u01.wav")
    soundfile.write(tmp_path / "audio" / "u02.wav", np.ones(1600), 16_000)
    changes = {"offline": "null", "optim__max_updates": 1, **QUICK}
    pretrain(toy.configuration((tmp_path / "audio", None), tmp_path / "run", **changes))
    named = skipped(tmp_path / "run")
    assert [(name[-7:], update) for name, _, update in named] == [
        ("u01.wav", "0"),
        ("u02.wav", "0"),
    ]


def test_the_list_survives_odd_names_and_a_cut(tmp_path):
    files = SkipList(tmp_path, active=True)
    files.add([("a\tb\nc", "x\ty"), ("é\udcff", "r"), ("a\tb\nc", "again")], 3)
    again = SkipList(tmp_path, active=True)
    again.add([("a\tb\nc", "x"), ("é\udcff", "r")], 9)
    path = tmp_path / "skipped.txt"
    whole = path.read_bytes()
    assert whole.count(b"\n") == 2 and whole.count(b"\t") == 4
    path.write_bytes(whole + b"half a li")
    SkipList(tmp_path, active=True).add([("z", "r")], 4)
    assert path.read_bytes() == whole + b"half a li\nz\tr\t4\n"


def batch(*seconds, read=0.0):
    items = [Skipped(f"f{i}", "bad", s) for i, s in enumerate(seconds)]
    none = np.zeros(0)
    return Batch(none, none, None, ["id"] if read else [], 0, read, read, items)


@pytest.mark.parametrize(
    ("most", "lost", "stops"),
    [(0.05, [10.0], False), (0.05, [3.0, 1.0], False), (0.05, [3.0, 2.5], True),
     (0.0, [0.1], True), (1.0, [50.0, 50.0], False), (0.5, [30.0, 30.0], True)],
)  # fmt: skip
def test_how_much_is_too_much(tmp_path, most, lost, stops):
    skips = Skips(SkipList(tmp_path, True), World(0, 1, None), most, 100.0)
    met = [batch(*lost, read=5.0)]
    skips.meet(met)
    skips.count_all(met, 5.0, True, 1)
    assert bool(skips.too_much(False)) == stops
    share = sum(lost) / (sum(lost) + 5)
    assert skips.logged() == {"skipped": len(lost), "skipped_share": pytest.approx(share)}
    assert skips.logged() == {"skipped": 0, "skipped_share": 0.0}


def test_whole_batches_in_a_row_are_too_much(tmp_path):
    skips = Skips(SkipList(tmp_path, True), World(0, 1, None), 1.0, 1e6)
    for _ in range(BATCHES - 1):
        skips.meet([batch(1.0)])
    assert skips.row == BATCHES - 1
    skips.meet([batch(read=1.0)])
    assert skips.row == 0
    assert "10 batches in a row" in skips.too_much(True)


def test_held_out_audio_that_cannot_be_used_makes_no_best(tmp_path, capsys):
    train, valid = toy.corpus(tmp_path / "a"), toy.corpus(tmp_path / "b", utterances=6)
    changes = {"data__valid": valid[0], "data__valid_labels": valid[1], "optim__max_updates": 5}
    run = tmp_path / "run"
    pretrain(toy.configuration(train, run, **changes))
    best = (run / "best.pt").read_bytes()
    for path in (tmp_path / "b" / "audio").iterdir():
        not_a_number(path)
    capsys.readouterr()
    pretrain(toy.configuration(train, run, **{**changes, "optim__max_updates": 10}))
    said = capsys.readouterr().out
    assert "6 of 6 held-out utterances could not be used (100.0% of their audio" in said
    last = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()][-1]
    assert last == {"update": 10, "valid/skipped": 6, "valid/skipped_share": 1.0}
    assert (run / "best.pt").read_bytes() == best and len(skipped(run)) == 6
