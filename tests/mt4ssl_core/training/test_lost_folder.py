"""A run whose folder is taken away meanwhile says so, and writes nothing elsewhere."""

import shutil

import pytest
import toy

from mt4ssl_core.files import write_text
from mt4ssl_core.training import pretrain as loop

QUICK = {"run__validate_every": 0, "data__valid_share": 0.0, "run__log_every": 2}


def _moved(out):
    out.rename(out.with_name("moved"))


def _replaced(out):  # as when a mount goes and the folder below it appears
    _moved(out)
    out.mkdir()


def _emptied(out):
    for path in out.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _taken_over(out):  # by a run on another machine, after somebody has removed the lock
    write_text(out / "log.jsonl", "")


@pytest.mark.parametrize("accident", [_moved, _replaced, _emptied, _taken_over])
@pytest.mark.parametrize("log_every", [1, 100])
def test_a_run_whose_folder_is_lost_stops_with_a_word(tmp_path, accident, log_every, monkeypatch):
    data, out = toy.corpus(tmp_path / "corpus", utterances=8), tmp_path / "run"
    update = loop.update

    def then_an_accident(run, *rest):
        stopping = update(run, *rest)
        if run.training.progress.update == 3:
            run.saver.wait()  # the accident meets no checkpoint half written
            accident(out)
        return stopping

    monkeypatch.setattr(loop, "update", then_an_accident)
    changes = {**QUICK, "run__log_every": log_every, "run__save_every": 2}
    with pytest.raises(OSError, match=r"log\.jsonl: no longer the file .* same command again"):
        loop.pretrain(toy.configuration(data, out, **changes))
    left = sorted(path.name for path in out.iterdir()) if out.exists() else []
    assert not [name for name in left if name.endswith((".pt", ".tmp"))] or accident is _taken_over
    if accident in (_moved, _replaced):  # as it was left, it can be gone on with
        shutil.rmtree(out, ignore_errors=True)
        out.with_name("moved").rename(out)
        (out / "run.lock").unlink()  # its process, this one, lives
        monkeypatch.undo()
        assert loop.pretrain(toy.configuration(data, out, **changes)).exists()
