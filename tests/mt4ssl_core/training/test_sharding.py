"""A model that is shared out learns what one learns of which every process has the whole."""

import pytest
import ranks
import toy

from mt4ssl_core.checkpoints import checkpoint, parts
from mt4ssl_core.training.journal import read_jsonl
from mt4ssl_core.training.pretrain import ALONE, UNSEEN, pretrain

STEADY = {
    "encoder__layerdrop": 0.0, "optim__max_updates": 3, "optim__accumulate": 2,
    "optim__clip_norm": 0.5, "run__save_every": 2, "run__validate_every": 2,
    "data__batch_seconds": 2.0, "optim__warmup": 0.0, "optim__hold": 1.0, "optim__decay": 0.0,
}  # fmt: skip


# of `ranks`: the second process cannot write its part of the second checkpoint
FULL = """
from mt4ssl_core.checkpoints import parts
write = parts.write

def full(path, *rest):
    if "/full/" in str(path) and os.environ["RANK"] == "1" and "update_2-" in str(path):
        raise OSError(f"{path}: cannot be written (No space left on device)")
    write(path, *rest)

parts.write = full
"""


def near(a, b, most, path=""):
    if isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a:
            near(a[key], b[key], most, f"{path}/{key}")
    else:
        assert (a.float() - b.float()).abs().max() <= most, path


def test_sharded_equals_whole_and_goes_on_from_it(tmp_path):
    data = toy.corpus(tmp_path / "corpus", utterances=16)  # not a whole number of rounds
    words = {}
    for name, parallel, updates in (
        ("ddp", "ddp", 3), ("fsdp", "fsdp", 3), ("cut", "fsdp", 2), ("cut", "fsdp", 3),
    ):  # fmt: skip
        changes = {**STEADY, "run__parallel": parallel, "optim__max_updates": updates}
        given = toy.overrides(data, tmp_path / name, **changes)
        words[name, updates] = ["pretrain", "tiny", *given]
    each = {**STEADY, "run__parallel": "fsdp", "run__save_every": 1, "run__validate_every": 0}
    words["full", 3] = ["pretrain", "tiny", *toy.overrides(data, tmp_path / "full", **each)]
    said, codes = ranks.together(*((2, given) for given in words.values()), before=FULL)
    assert codes == [[0, 0]] * 4 + [[2, 2]], said
    assert said.count(UNSEEN) == 4  # once in each run that is sharded
    assert said.count("1-of-2.pt: cannot be written (No space left on device)") == 2
    assert checkpoint.load(tmp_path / "full" / "last.pt")["progress"]["update"] == 1
    run = tmp_path / "fsdp"
    assert parts.is_index(run / "last.pt") and parts.is_index(run / "best.pt")
    kept = {
        path.parent for name in ("last", "previous") for path in parts.files_of(run / f"{name}.pt")
    }
    assert kept == set((run / "parts").iterdir()) and len(kept) == 2
    whole, sharded, cut = (
        checkpoint.load(tmp_path / name / "last.pt") for name in ("ddp", "fsdp", "cut")
    )
    for part in ("encoder", "targets"):
        near(whole[part], sharded[part], 1e-6, part)
        near(sharded[part], cut[part], 0.0, part)
    for number, entry in whole["optimizer"]["state"].items():
        near(entry, sharded["optimizer"]["state"][number], 1e-6, number)
        near(sharded["optimizer"]["state"][number], cut["optimizer"]["state"][number], 0.0)
    logs = [read_jsonl(tmp_path / name / "log.jsonl") for name in ("ddp", "fsdp")]
    for a, b in zip(*logs, strict=True):
        for key in a.keys() & b.keys() - {"wall_hours", "audio_seconds_per_s", "updates_per_s"}:
            same = a[key] if a[key] is None else pytest.approx(a[key], rel=1e-5, abs=1e-6)
            assert b[key] == same, key
    more = {**STEADY, "optim__max_updates": 4, "run__validate_every": 0}
    last = pretrain(toy.configuration(data, tmp_path / "fsdp", **more))  # alone, and whole
    assert checkpoint.load(last)["progress"]["update"] == 4 and not parts.is_index(last)
    assert checkpoint.load(run / "previous.pt")["progress"]["update"] == 3


def test_one_process_says_that_it_shares_nothing(tmp_path, capsys):
    data = toy.corpus(tmp_path / "corpus", utterances=4)
    changes = {**STEADY, "run__parallel": "fsdp", "run__validate_every": 0}
    changes |= {"optim__max_updates": 1, "optim__accumulate": 1}
    pretrain(toy.configuration(data, tmp_path / "out", **changes))
    assert ALONE in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"encoder__layerdrop": 0.1}, r"encoder.layerdrop: 0.1; .*it must be 0"),
        ({"run__precision": "fp16"}, r"run.precision: fp16; .*bf16 or fp32"),
        ({"run__probe": "index.csv"}, r"run.probe: index.csv; .*it must be null"),
    ],
)
def test_what_cannot_be_sharded_is_refused(tmp_path, change, said):
    audio = tmp_path / "train.tsv", tmp_path / "train.km"
    shared = {**STEADY, "run__parallel": "fsdp", **change}
    with pytest.raises(ValueError, match=said):
        toy.configuration(audio, tmp_path / "run", **shared)
