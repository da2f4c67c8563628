"""The log of a run: TensorBoard's events, and files that cannot be written."""

import errno
import struct

import pytest
import torch
from tensorboardX.proto.event_pb2 import Event, SessionLog

from mt4ssl_core.distributed import World
from mt4ssl_core.training.journal import Journal
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
        monkeypatch.setattr(journal.board.events, "write_event", full)
    with pytest.raises(OSError, match=rf"{tmp_path}/(log\.jsonl|tensorboard): cannot be written"):
        journal.line({"update": 1, "loss": 1.0})
    journal.close()
