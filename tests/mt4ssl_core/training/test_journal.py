"""The log of a run: TensorBoard's events, and files that cannot be written."""

import errno
import struct
import sys

import pytest
import torch
import toy
from tensorboardX.proto.event_pb2 import Event, SessionLog

from mt4ssl_core.distributed import World
from mt4ssl_core.training import journal, loggers
from mt4ssl_core.training.journal import Journal
from mt4ssl_core.training.pretrain import pretrain
from mt4ssl_core.training.progress import Progress

ALONE = World(0, 1, torch.device("cpu"))


def events(path):
    data, place = path.read_bytes(), 0
    while place < len(data):
        (size,) = struct.unpack_from("<Q", data, place)
        yield Event.FromString(data[place + 12 : place + 12 + size])
        place += size + 16


def test_events_hold_every_number_and_hide_what_is_made_again(tmp_path):
    for update in (0, 7):  # begun and resumed within a second: two files
        journal = Journal(tmp_path, ALONE, Progress(update=update, validated=update), 10)
        journal.line({"update": update + 1, "epoch": 0, "loss": 2.5, "lr": 0.5, "note": "x"})
        journal.close()
    files = sorted((tmp_path / "tensorboard").iterdir(), key=lambda p: int(p.suffix[1:]))
    assert len(files) == 2
    found = list(events(files[1]))
    assert [e.step for e in found if e.session_log.status == SessionLog.START] == [8]
    values = {v.tag: v.simple_value for e in found for v in e.summary.value}
    assert values == {"loss": 2.5, "lr": 0.5}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
@pytest.mark.parametrize("part", ["file", "board"])
def test_a_log_that_cannot_be_written_is_named(tmp_path, monkeypatch, number, part):
    journal = Journal(tmp_path, ALONE, Progress(), 10)

    def full(*_):
        raise OSError(number, "full")

    if part == "file":
        journal.file.close()
        journal.file = type("Full", (), {"write": full, "flush": full, "close": full})()
    else:
        monkeypatch.setattr(journal.loggers[0].events, "write_event", full)
    with pytest.raises(OSError, match=rf"{tmp_path}/(log\.jsonl|tensorboard): cannot be written"):
        journal.line({"update": 1, "loss": 1.0})
    journal.close()


class Stub:
    """A package like wandb and trackio: it remembers what it was given."""

    def __init__(self):
        self.said = []

    def init(self, **settings):
        self.said.append(settings)
        return self

    def log(self, values, step):
        self.said.append((step, values))

    def finish(self):
        self.said.append("finished")


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_loggers_get_every_number_and_a_resumed_run_goes_on(tmp_path, monkeypatch, name):
    stub = Stub()
    monkeypatch.setitem(sys.modules, name, stub)
    for update in (0, 7):
        journal = Journal(tmp_path, ALONE, Progress(update), 10, [name], {"run": {"seed": 3}})
        journal.line({"update": update + 1, "epoch": 0, "loss": 2.5, "note": "x"})
        journal.close()
    first, line, end, again, *_ = stub.said
    assert first == again and first["resume"] == "allow" and first["config"] == {"run": {"seed": 3}}
    assert (line, end) == ((1, {"loss": 2.5}), "finished")
    assert not (tmp_path / "tensorboard").exists()


def test_wandb_that_does_not_start_is_named(tmp_path, monkeypatch):
    def init(**_):
        raise RuntimeError("no API key configured")

    monkeypatch.setitem(sys.modules, "wandb", type("Broken", (), {"init": init}))
    with pytest.raises(ValueError, match="no API key configured; log in with `wandb login`, set"):
        Journal(tmp_path, ALONE, Progress(), 10, ["wandb"])


def test_wandb_offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    journal = Journal(tmp_path, ALONE, Progress(), 10, ["wandb"])
    journal.line({"update": 1, "loss": 2.5})
    journal.close()
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    assert (tmp_path / "wandb_id").read_text() in file.name and file.stat().st_size


def test_a_logger_that_is_not_installed_stops_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.setattr(loggers, "find_spec", lambda name: name == "tensorboardX" or None)
    cfg = toy.configuration(("nowhere", None), tmp_path / "run", offline="null")
    cfg.run.loggers = ["tensorboard", "wandb", "trackio"]
    with pytest.raises(ValueError, match=r"wandb, trackio is not inst.*'mt4ssl\[wandb,trackio\]'"):
        pretrain(cfg)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("end", ['{"update": 2', "\0" * 8, '{"update": 2}\n{"up'])
def test_a_half_written_line_at_the_end_is_left_out_and_said(tmp_path, capsys, end):
    path = tmp_path / "log.jsonl"
    path.write_text('{"update": 1}\n' + end)
    records = journal.read_jsonl(path)
    assert [record["update"] for record in records] == ([1, 2] if "\n" in end else [1])
    line = len(records) + 1
    said = f"{path}:{line}: a half-written line at the end is left out\n"
    assert capsys.readouterr().err == said


def test_an_update_that_is_also_validated_is_one_line_elsewhere(tmp_path, capsys):
    journal = Journal(tmp_path, ALONE, Progress(), 2, loggers=[])
    for update in (1, 2):
        journal.advance()
        journal.line({"update": update, "loss": 1.5}, more=update == 2)
    journal.line({"update": 2, "valid/loss": 2.5})
    journal.close()
    first, last = capsys.readouterr().err.splitlines()
    assert first.startswith("update 1/2  loss 1.500")
    assert last.startswith("update 2/2  loss 1.500  valid 2.500")
