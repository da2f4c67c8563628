import argparse

import pytest
import torch

from upstream.heads import states
from upstream.heads.s3prl_runner import set_up

WHOLE = {
    "Args": argparse.Namespace(downstream="speech_commands", upstream="fbank"),
    "Config": {"runner": {}, "downstream_expert": {}},
    "Downstream": {"w": torch.zeros(1)},
    "Featurizer": {},
}


@pytest.mark.parametrize(
    "changes", [{"Downstream": {}}, {"Downstream": None}, {"Downstream": [1]}, {"Featurizer": 3}]
)
def test_a_head_without_weights_is_not_evaluated_as_a_random_one(changes, tmp_path):
    path = tmp_path / "states-4.ckpt"
    torch.save(WHOLE, path)
    assert states.read(path)["Featurizer"] == {}
    torch.save({**WHOLE, **changes}, path)
    with pytest.raises(ValueError, match=rf"^-e {path}: has no weights of a trained head; give"):
        states.read(path)


@pytest.mark.parametrize("error", [KeyError("modelrc"), TypeError("no list"), RuntimeError("size")])
def test_what_s3prl_stumbles_over_names_where_it_came_from(error):
    says = rf"^a\.ckpt: foreign \({type(error).__name__}: .*\); b$"
    with pytest.raises(ValueError, match=says), set_up("a.ckpt: foreign", "b"):
        raise error


@pytest.mark.parametrize("error", [OSError("disk"), ValueError("key"), ImportError("package")])
def test_what_says_what_is_wrong_passes(error):
    with pytest.raises(type(error), match=f"^{error}$"), set_up("a", "b"):
        raise error
