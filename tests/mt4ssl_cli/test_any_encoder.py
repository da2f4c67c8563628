"""An encoder of any kind is scored in one line, from the shell and from Python."""

from pathlib import Path
from typing import Any

import own_encoders
import pytest
import torch
import transformers
from recognisers import CONV
from reference import to_fairseq
from superb_data import corpora

import mt4ssl
import mt4ssl_cli
from analysis.records import score_files
from analysis.report import inputs
from mt4ssl_core import config
from mt4ssl_core.config import EncoderConfig
from mt4ssl_core.model.encoder import Encoder
from upstream.store.options import StoreOptions

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
TASKS = ["ks", "pr", "sid"]


def wavlm(folder: Path) -> str:
    model = transformers.WavLMModel(transformers.WavLMConfig(**SIZES, conv_dim=[16] * 7))
    model.save_pretrained(folder / "my_wavlm")
    return str(folder / "my_wavlm")


def w2v_bert(folder: Path) -> str:
    model = transformers.Wav2Vec2BertModel(transformers.Wav2Vec2BertConfig(**SIZES))
    model.save_pretrained(folder / "my_w2v_bert")
    transformers.SeamlessM4TFeatureExtractor().save_pretrained(folder / "my_w2v_bert")
    return str(folder / "my_w2v_bert")


def fairseq_ctc(folder: Path) -> str:
    shape = EncoderConfig(
        conv_layers=CONV, dim=32, layers=2, heads=4, ffn_dim=64, pos_conv_depth=1,
        pos_conv_kernel=128,
    )  # fmt: skip
    saved = {"config": {"encoder": config.to_dict(shape)}, "targets": {}}
    weights = to_fairseq(saved | {"encoder": Encoder(shape).state_dict()})
    state = {f"w2v_encoder.w2v_model.{key}": value for key, value in weights.items()}
    state |= {"w2v_encoder.proj.weight": torch.zeros(5, 32)}
    inner = {
        "conv_feature_layers": str(CONV), "extractor_mode": "layer_norm", "encoder_layers": 2,
        "encoder_embed_dim": 32, "encoder_attention_heads": 4, "encoder_ffn_embed_dim": 64,
    }  # fmt: skip
    below = {"model": inner, "task": {"normalize": False}}
    above = {"_name": "wav2vec_ctc", "w2v_args": below, "normalize": False}
    torch.save(
        {"cfg": {"model": above, "task": {"labels": "ltr"}}, "model": state}, folder / "my_ctc.pt"
    )
    return str(folder / "my_ctc.pt")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (wavlm, "my_wavlm"),
        (w2v_bert, "my_w2v_bert"),
        (fairseq_ctc, "my_ctc"),
        (own_encoders.write, "windows"),
    ],
)
def test_it_is_scored_under_its_own_name(make, name, tmp_path, monkeypatch):
    torch.manual_seed(0)
    encoder, shell, python = make(tmp_path), tmp_path / "shell" / name, tmp_path / "python" / name
    asked = ["superb", "run", "-k", encoder, "--tasks", ",".join(TASKS), "--smoke"]
    asked += ["--roots", str(corpora()), "--out", str(shell), "--executor", "inline"]
    assert mt4ssl_cli.main([*asked, "--store-dir", str(tmp_path / "features")]) == 0
    records = mt4ssl.evaluate(
        mt4ssl.load(encoder), tasks=TASKS, roots=corpora(), out=python, smoke=True,
        executor="inline", store=StoreOptions(folder=str(tmp_path / "features")),
    )  # fmt: skip
    assert {record["task"] for record in records} == {*TASKS}
    found = [score_files.read([out]).scores for out in (shell, python)]
    assert {score.model for scores in found for score in scores} == {name}
    assert {inputs.model_name(inputs.find(out)) for out in (shell, python)} == {name}
    values = [{score.task: score.value for score in scores} for scores in found]
    assert values[0] == pytest.approx(values[1]) and set(values[0]) == {*TASKS}
