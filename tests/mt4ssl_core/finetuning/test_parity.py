"""fairseq's arithmetic of fine-tuning, computed by hand."""

import itertools
import math

import finetuning_runs as toy
import numpy as np
import pytest
import torch

from mt4ssl_core.checkpoints.recognisers import load_ctc
from mt4ssl_core.config import MaskingConfig
from mt4ssl_core.data.masking import channel_mask
from mt4ssl_core.distributed import World
from mt4ssl_core.finetuning import speech
from mt4ssl_core.finetuning.finetune import finetune
from mt4ssl_core.finetuning.state import Finetuning, first_encoder
from mt4ssl_core.model.optim import learning_rate


def test_channel_masks_have_fairseqs_statistics():
    """Of 768 channels int(.5 * 768 / 64 + u) = 6 spans of 64, which start at distinct places."""
    ids = [f"u{i}" for i in range(2000)]
    mask = channel_mask(ids, 768, MaskingConfig(0.5, 64), seed=1, epoch=0).numpy()
    assert not mask[:, 767].any()  # as in compute_mask_indices, no span reaches the last
    rng = np.random.default_rng(0)
    drawn = np.zeros((2000, 768), dtype=bool)
    for row in drawn:
        for start in rng.choice(768 - 64, 6, replace=False):
            row[start : start + 64] = True
    assert mask.mean() == pytest.approx(drawn.mean(), abs=0.004)
    assert np.abs(mask.mean(0) - drawn.mean(0)).max() < 0.06
    few = channel_mask(ids, 96, MaskingConfig(0.5, 64), seed=1, epoch=0).numpy()
    assert few.any(1).mean() == pytest.approx(0.75, abs=0.03)  # there may be none
    again = channel_mask(ids[5:6], 768, MaskingConfig(0.5, 64), seed=1, epoch=0).numpy()
    assert np.array_equal(again[0], mask[5])


def path_loss(logits, tokens, blank=0):
    """-log of the sum over all paths that collapse to ``tokens``, one by one, in float64."""
    scores = torch.log_softmax(logits.double(), -1)
    total = []
    for path in itertools.product(range(scores.shape[1]), repeat=len(scores)):
        said = [k for k, _ in itertools.groupby(path)]
        if [k for k in said if k != blank] == tokens:
            total.append(sum(scores[t, k] for t, k in enumerate(path)))
    return -torch.logsumexp(torch.stack(total), 0) if total else torch.zeros(())


def test_the_loss_is_the_sum_over_paths_and_zero_where_there_is_none():
    from mt4ssl_core.model.ctc import ctc_losses

    torch.manual_seed(0)
    logits = torch.randn(3, 5, 3)
    targets = torch.tensor([[1, 2, 0], [1, 1, 0], [2, 2, 2]])
    frames, sizes = torch.tensor([5, 4, 4]), torch.tensor([2, 2, 3])  # the third needs 5
    found = ctc_losses(logits, frames, targets, sizes, blank=0)
    for row in range(3):
        tokens = targets[row, : sizes[row]].tolist()
        by_hand = path_loss(logits[row, : frames[row]], tokens)
        assert found[row].item() == pytest.approx(by_hand.item(), rel=1e-5)
    assert found[2] == 0


def test_one_update_is_fairseqs(tmp_path):
    """Sum of the utterances' losses by their number (sentence_avg), Adam with bias correction, no
    decay, no clipping, the first rate of tri-stage.
    """
    folder = toy.corpus(tmp_path / "speech", utterances=4)
    none = dict.fromkeys(
        ["encoder__dropout", "encoder__activation_dropout", "encoder__layerdrop",
         "encoder__final_dropout", "masking__prob", "masking__channel_prob", "optim__clip_norm",
         "run__validate_every"], 0.0,
    )  # fmt: skip
    cfg = toy.configuration(
        folder, tmp_path / "run", optim__max_updates=1, data__batch_seconds=60.0, **none
    )
    assert learning_rate(cfg.optim, 0) == pytest.approx(cfg.optim.lr)  # 10 % of one update: none
    parts = speech.read_speech(cfg)
    vocabulary = speech.find_vocabulary(cfg, parts, None)
    encoder = first_encoder(cfg, None)
    speech.choose(cfg, parts[0], vocabulary, encoder)
    world = World(0, 1, torch.device("cpu"))
    model = Finetuning(cfg, world, encoder, vocabulary).model
    (batch,) = speech.open_loader(cfg, parts[0], encoder, world).batches(0)
    total = torch.zeros((), dtype=torch.float64)
    for wave, size, id in zip(batch.waves, batch.lengths, batch.ids, strict=True):
        logits, _ = model(wave[None, :size], size[None])
        scores = torch.log_softmax(logits[0].double(), -1)
        total = total + forward_loss(scores, parts[0].tokens[id])
    (total / 4).backward()
    expected = {}
    for name, value in model.named_parameters():
        if value.grad is None:
            expected[name] = value.detach()
            continue
        first, second = 0.1 * value.grad, 0.02 * value.grad.square()
        step = (first / 0.1) / ((second / 0.02).sqrt() + 1e-8)
        expected[name] = (value - cfg.optim.lr * step).detach()
    moved = load_ctc(finetune(cfg)).state_dict()
    for name, value in expected.items():
        sure = model.get_parameter(name).grad
        clear = torch.ones_like(value, dtype=torch.bool) if sure is None else sure.abs() > 1e-4
        assert torch.allclose(moved[name][clear], value[clear], atol=1e-5), name


def forward_loss(scores, tokens):
    """CTC's forward recursion (Graves et al. 2006, equations 6 to 8) on log scores (T, V)."""
    spaced = [0, *(k for token in tokens for k in (token, 0))]
    low = torch.full((), -math.inf, dtype=torch.float64)
    alpha = [scores[0, spaced[0]], scores[0, spaced[1]]] + [low] * (len(spaced) - 2)
    for row in scores[1:]:
        before = alpha
        alpha = []
        for s, k in enumerate(spaced):
            ways = [before[s]] + [before[s - 1]] * (s > 0)
            if s > 1 and k != 0 and k != spaced[s - 2]:
                ways.append(before[s - 2])
            alive = [way for way in ways if way.item() > -math.inf]
            alpha.append(torch.logsumexp(torch.stack(alive), 0) + row[k] if alive else low)
    return -torch.logsumexp(torch.stack(alpha[-2:]), 0)
