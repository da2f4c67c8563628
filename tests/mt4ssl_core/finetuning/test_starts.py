"""Encoders of others that fine-tuning starts from."""

from pathlib import Path

import finetuning_runs as toy
import pytest
import torch
import transformers

from mt4ssl_core.checkpoints import convert
from mt4ssl_core.checkpoints.recognisers import load_ctc
from mt4ssl_core.finetuning.finetune import finetune

FAIRSEQ = Path(__file__).parents[2] / "fixtures" / "reference" / "fairseq_checkpoint_after5.pt"


def wavlm(folder):
    torch.manual_seed(0)
    cfg = transformers.WavLMConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        conv_dim=[16] * 7,
    )  # fmt: skip
    transformers.WavLMModel(cfg).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["fairseq", "wavlm"])
def test_encoders_of_others_are_a_start(tmp_path, kind):
    speech = toy.corpus(tmp_path / "speech", utterances=4)
    init = FAIRSEQ if kind == "fairseq" else wavlm(tmp_path / "hf")
    last = finetune(
        toy.configuration(
            speech, tmp_path / "run", encoder__shape=None, encoder__init=init,
            encoder__freeze_updates=1, optim__max_updates=1,
        )
    )  # fmt: skip
    theirs, ours = convert.load_encoder(init), load_ctc(last).encoder
    wave = torch.randn(1, 8000)
    with torch.no_grad():
        a, b = (e(wave, torch.tensor([8000])).output for e in (theirs, ours))
    assert torch.equal(a, b)  # frozen: only the head has learned
    assert ours.cfg.layerdrop == 0.2 and ours.cfg.dropout == 0.1  # the run's own
