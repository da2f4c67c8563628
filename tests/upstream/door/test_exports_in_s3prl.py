"""What is exported as fairseq's loads, strictly, into s3prl's copies of these models."""

from pathlib import Path
from typing import Any

import pytest
import torch
from reference import FOLDER
from superb_data import tiny_checkpoint

import upstream
from mt4ssl_core import config
from mt4ssl_core.checkpoints import checkpoint, convert
from mt4ssl_core.checkpoints.foreign import fairseq
from mt4ssl_core.config import EncoderConfig
from mt4ssl_core.model.encoder import Encoder

upstream.register()

from s3prl.upstream.data2vec.convert import load_converted_model  # noqa: E402
from s3prl.upstream.wavlm.expert import UpstreamExpert as WavLM  # noqa: E402

SIZE = 9000
WAVLM: dict[str, Any] = {
    "conv_layers": [[8, 10, 5]] + [[8, 3, 2]] * 4 + [[8, 2, 2]] * 2,
    "dim": 32, "layers": 2, "heads": 4, "ffn_dim": 32, "pos_conv_groups": 4,
    "pos_conv_depth": 1, "pos_conv_kernel": 16, "relative_buckets": 320,
}  # fmt: skip


def same(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> bool:
    return all(
        float((a - b).abs().max() / b.abs().max()) <= 1e-5
        for a, b in zip(ours, theirs, strict=True)
    )


@torch.no_grad()
@pytest.mark.parametrize("name", ["fairseq", "ours"])
def test_data2vec(tmp_path: Path, name: str) -> None:
    """MT4SSL's whole checkpoint; the encoder alone, without heads."""
    source = FOLDER / "fairseq_checkpoint_after5.pt" if name == "fairseq" else tiny_checkpoint()
    out = convert.export(source, tmp_path / "out", "fairseq")
    state = checkpoint.read(out / "checkpoint.pt", fairseq.CLASSES)
    weights = {k: v for k, v in state["model"].items() if not k.startswith("final_proj")}
    torch.save(
        {
            "task_cfg": state["cfg"]["task"],
            "model_cfg": state["cfg"]["model"],
            "model_weight": weights,
        },
        tmp_path / "converted.pt",
    )
    model, task = load_converted_model(str(tmp_path / "converted.pt"))
    encoder: Any = convert.load_encoder(source)
    assert task.normalize == encoder.cfg.normalize
    wave = torch.randn(1, SIZE)
    theirs = model.eval().extract_features(wave, padding_mask=None, mask=False)["x"]
    assert same([encoder(wave, torch.tensor([SIZE])).output], [theirs])


@torch.no_grad()
@pytest.mark.parametrize("changes", [{"extractor_norm": "group_norm"}, {"pre_norm": True}])
def test_wavlm(tmp_path: Path, changes: dict[str, Any]) -> None:
    encoder = Encoder(EncoderConfig(**WAVLM, **changes)).eval()
    cfg = config.Config(data=config.DataConfig(train=""), encoder=encoder.cfg, targets={})
    state: dict[str, Any] = {"targets": {}, "optimizer": None, "scaler": None, "progress": {}}
    state |= {"config": config.to_dict(cfg), "encoder": encoder.state_dict()}
    checkpoint.save(tmp_path / "ours.pt", state)
    out = convert.export(tmp_path / "ours.pt", tmp_path / "out", "fairseq")
    theirs = WavLM(str(out / "checkpoint.pt")).eval()
    wave = torch.randn(SIZE)
    states = theirs([wave])["hidden_states"]
    ours, _ = encoder.encode([wave])
    assert same(ours[1:], states[1:])
