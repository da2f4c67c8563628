"""What s3prl stumbles over while it sets up is said in our words."""

import os
import pickle

import pytest
import torch

from upstream.heads.s3prl_runner import set_up


class Hostile:
    def __init__(self, call):
        self.call = call

    def __reduce__(self):
        return self.call, ("x",)


@pytest.mark.parametrize("call", [os.system, eval, os.remove])
def test_a_checkpoint_of_another_upstream_that_names_code(call, tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"model": Hostile(call)}, path)
    with pytest.raises(ValueError, match="code; nothing was executed") as caught, set_up("f", "g"):
        torch.load(path, weights_only=True)
    assert call.__name__ in str(caught.value) and "Weights only" not in str(caught.value)


@pytest.mark.parametrize("data", [b"text", b"", pickle.dumps([1])[:-3]])
def test_a_checkpoint_of_another_upstream_that_is_none(data, tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"^f \(.+\); g$") as caught, set_up("f", "g"):
        torch.load(path, weights_only=True)
    assert "Weights only" not in str(caught.value)
