import pytest
import torch
from superb_data import tiny_checkpoint

from upstream.suite.upstream_trial import try_upstream


def test_layers_and_speed():
    found = try_upstream("mt4ssl", str(tiny_checkpoint()), timed=True)
    assert (found.layers, found.dim) == (3, 16)
    assert found.seconds is not None and 0 < found.seconds < 1
    assert found.params > 10_000 and found.macs > 1e6
    fbank = try_upstream("fbank")
    assert (fbank.layers, fbank.params, fbank.macs) == (1, 0, None)


def test_what_is_no_encoder(tmp_path):
    torch.save({"encoder": 3}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other\.pt"):
        try_upstream("mt4ssl", str(tmp_path / "other.pt"))
    (tmp_path / "notes.txt").write_text("no checkpoint")
    with pytest.raises(ValueError, match=r"notes\.txt"):
        try_upstream("mt4ssl", str(tmp_path / "notes.txt"))
    with pytest.raises(ValueError, match="no such upstream"):
        try_upstream("fbankk")


def test_hidden_states_that_are_not_finite(tmp_path):
    state = torch.load(tiny_checkpoint())
    state["encoder"] = {
        key: value * 1e30 if value.is_floating_point() else value
        for key, value in state["encoder"].items()
    }
    torch.save(state, tmp_path / "huge.pt")
    with pytest.raises(ValueError, match=r"huge\.pt: its hidden states are not finite"):
        try_upstream("mt4ssl", str(tmp_path / "huge.pt"))


def test_an_expert_that_breaks(monkeypatch):
    from s3prl import hub

    def broken(**_):
        raise KeyError("model_weight")

    monkeypatch.setattr(hub, "fbank", broken)
    with pytest.raises(ValueError, match=r"-u fbank: not usable as an encoder.*model_weight"):
        try_upstream("fbank")
