import argparse

import pytest

from benchmarks import ctc_real


def test_pieces_of_another_number_of_updates_are_not_mixed_in(tmp_path):
    folder = tmp_path / "an4" / "pre-trained_1"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("optim:\n  max_updates: 20\n")
    asked = argparse.Namespace(work=tmp_path, updates=20)
    ctc_real.check_work(asked)
    for updates in (30, None):
        asked.updates = updates
        with pytest.raises(ValueError, match=r"of 20 updates, but \d+ are asked for"):
            ctc_real.check_work(asked)
