import json
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from superb_data import smoke

from mt4ssl_core.store.store import content_key
from upstream.store import choice
from upstream.store.audio_sources import SOUNDFILE, Source, Utterance
from upstream.store.choice import Choice
from upstream.store.options import StoreOptions

PAYS = Choice(computed=1.0, first=2.0, stored=0.1, batches=1000, epoch=100)
DOES_NOT = Choice(computed=1.0, first=2.0, stored=0.95, batches=1000, epoch=100)


def test_a_store_is_used_where_the_whole_training_is_shorter_with_it():
    assert PAYS.used and not DOES_NOT.used
    assert not Choice(1.0, 2.0, 0.1, batches=80, epoch=100).used  # it ends in the first epoch
    assert "not used" in str(DOES_NOT) and "--store frames" in str(DOES_NOT)


def test_a_choice_is_kept_and_found_again(tmp_path):
    choice.keep(PAYS, tmp_path)
    assert choice.kept([tmp_path / "other", tmp_path]) == PAYS
    kept = json.loads((tmp_path / choice.FILE).read_text())
    wrong = (
        {"first": "2"},
        {"first": float("nan")},
        {"stored": -1},
        {"epoch": 1.5},
        {"epoch": None},
    )
    for other in ([1], *({**kept, **change} for change in wrong)):
        (tmp_path / choice.FILE).write_text(json.dumps(other))
        with pytest.raises(ValueError, match=f"{choice.FILE}.*remove it"):
            choice.kept([tmp_path])


def test_both_ways_are_timed_and_what_was_encoded_is_kept(tmp_path, monkeypatch):
    waves = [np.float32(0.1) * np.random.default_rng(n).standard_normal(900) for n in range(2)]
    given = []
    for number, wave in enumerate(waves):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, wave, 16000, subtype="FLOAT")
        source = Source(SOUNDFILE, str(path), (0, None))
        crop = number == 1
        key = None if crop else content_key(np.float32(wave))
        given.append(Utterance(source, None, key, 900, None))
    calls = []
    features = SimpleNamespace(
        device=torch.device("cpu"),
        computed=lambda waves: calls.append(("computed", len(waves))),
        features=lambda found: calls.append(("features", len(found))),
    )
    seconds = iter([4.0, 9.0, 1.0, 3.0, 0.5, 4.0, 1.0, 3.0, 0.5])  # 9: of warming up
    real = choice._timed
    monkeypatch.setattr(choice, "_timed", lambda *given: (next(seconds), real(*given)[1]))
    found = choice.measured(features, [(given, [0]), (given, [0])], 900, 10, workers=2)
    assert found == Choice(2.0 + 1.0, 2.0 + 3.0, 0.5 * 2.0 + 0.5, 900, 10)
    assert calls[:2] == [("computed", 1), ("computed", 2)]  # one that is not timed
    assert calls[2:4] == [("features", 2)] * 2
    assert choice.measured(features, [{"x": 1}], 900, 10, workers=0) is None


@pytest.mark.parametrize("found", [PAYS, DOES_NOT])
def test_a_training_keeps_to_its_choice_and_measures_once(found, tmp_path, monkeypatch, capfd):
    asked = []
    monkeypatch.setattr(choice, "LEAST", 1)
    monkeypatch.setattr(choice, "measured", lambda *given: asked.append(given) or found)
    (record,) = smoke("ks", tmp_path / "run", store=StoreOptions(folder=str(tmp_path / "store")))
    assert len(asked) == 1
    assert (record["store"] is not None) == found.used
    (path,) = (tmp_path / "run").rglob(choice.FILE)
    assert json.loads(path.read_text())["used"] == found.used
    assert str(found) in capfd.readouterr().err


def test_a_training_measures_its_own_batches(tmp_path, monkeypatch):
    monkeypatch.setattr(choice, "LEAST", 1)
    (record,) = smoke("ks", tmp_path / "run", store=StoreOptions(folder=str(tmp_path / "store")))
    (path,) = (tmp_path / "run").rglob(choice.FILE)
    found = choice.kept([path.parent])
    assert min(found.computed, found.first, found.stored) > 0
    assert found.batches == 2 and (record["store"] is not None) == found.used
