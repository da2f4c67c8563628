import copy

import pytest
import reference
import torch
from reference import error

from mt4ssl_core.config import Config, MaskingConfig
from mt4ssl_core.data.masking import Places, span_mask
from mt4ssl_core.model.mt4ssl import MT4SSL
from mt4ssl_core.model.optim import AdamW
from mt4ssl_core.model.targets import Masked
from mt4ssl_core.model.targets.offline import classification
from mt4ssl_core.model.targets.online import Ema, OnlineConfig, instance_norm, spread
from mt4ssl_core.model.targets.random_projection import RandomProjectionConfig


def run(model, name, mask, step=0):
    waves, lengths, labels = reference.batch(name)
    return {loss.name: loss for loss in model(waves, lengths, mask, labels, step)}


@pytest.mark.parametrize("name", ["U", "P"])
def test_losses_equal_the_official_code(name):
    wanted, figures = reference.tensors("masked_forward"), reference.facts("masked_forward")[name]
    model = reference.official_model()
    mask = wanted[f"{name}.mask_indices"].bool()
    losses = run(model, name, mask)
    offline, online = losses["offline"], losses["online"]
    assert offline.total.item() == pytest.approx(figures["classification_sum"], rel=1e-5)
    assert online.total.item() == pytest.approx(figures["regression_sum_scaled"], rel=1e-5)
    assert offline.count == online.count == figures["sample_size"]
    for key in ("target_var", "pred_var"):
        assert online.means[key].item() == pytest.approx(figures[key], rel=1e-5)
    waves, lengths, _ = reference.batch(name)
    with torch.no_grad():
        encoded = model.encoder(waves, lengths, mask)
        answer = model.targets["online"].answer(encoded.frames, encoded.lengths)
        hidden = encoded.output[mask]
        assert error(encoded.output, wanted[f"{name}.student_x"]) <= 1e-5
        assert error(answer[mask], wanted[f"{name}.y"]) <= 1e-5
        assert error(model.targets["offline"].head(hidden), wanted[f"{name}.x_hubert"]) <= 1e-5
        predicted = model.targets["online"].head(hidden)
        assert error(predicted, wanted[f"{name}.pred_regression"]) <= 1e-5


def test_gradients_equal_the_official_code():
    model = reference.official_model()
    mask = reference.tensors("masked_forward")["U.mask_indices"].bool()
    sum(loss.total for loss in run(model, "U", mask).values()).backward()
    ours = dict(model.named_parameters())
    for key, wanted in reference.tensors("grads").items():
        grad = ours[reference.our_name(key.removeprefix("U."))].grad
        if key.endswith("k_proj.bias"):  # mathematically zero
            assert grad.abs().max() <= 1e-5 and wanted.abs().max() <= 1e-5
        else:
            assert error(grad, wanted) <= 1e-5, key
    assert all(p.grad is None for n, p in ours.items() if ".teacher." in n)


@pytest.mark.parametrize(("trace", "name"), [("trace1", "U"), ("trace2", "P")])
def test_five_updates_equal_the_official_trainer(trace, name):
    wanted, figures = reference.tensors(f"train_{trace}"), reference.facts("train_traces")[trace]
    cfg = reference.official_config()
    cfg.targets["online"].ema_start = figures["ema"]["ema_decay"]
    cfg.targets["online"].ema_end = figures["ema"]["ema_end_decay"]
    cfg.targets["online"].ema_anneal_updates = figures["ema"]["ema_anneal_end_step"]
    cfg.optim.max_updates, cfg.optim.fairseq_eps = 100, True
    model = reference.official_model(cfg, separate_teacher=False).train()
    optimizer = AdamW(model, cfg.optim)
    for step, facts in enumerate(figures["updates"]):
        for target in model.each_target():
            target.before_micro_batch(model.encoder, step, first=True)
        losses = run(model, name, wanted[f"{trace}.masks"][step].bool(), step)
        total = sum(loss.total for loss in losses.values())
        optimizer.zero_grad()
        (total / facts["sample_size"]).backward()
        assert optimizer.prepare(step)["lr"] == pytest.approx(facts["lr_used"], rel=1e-9)
        optimizer.step()
        assert losses["offline"].count == facts["sample_size"]
        assert total.item() == pytest.approx(facts["loss_sum"], rel=1e-4)
        assert losses["online"].means["ema_decay"] == pytest.approx(
            facts["ema_decay_in_effect"], abs=1e-7
        )
    ours = dict(model.named_parameters())
    for key, tensor in wanted.items():
        kind, _, rest = key.removeprefix(f"{trace}.").partition(".")
        if kind == "student_after5":
            value = ours[reference.our_name(rest)]
        elif kind == "ema_in_checkpoint":
            value = ours[reference.teacher_name(rest)]
        else:
            continue
        if key.endswith("k_proj.bias"):
            assert (value - tensor).abs().max() <= 5e-6
        else:
            assert error(value, tensor) <= 1e-4, key
    if trace == "trace1":
        for target in model.each_target():
            target.before_micro_batch(model.encoder, 5, first=True)
        prefix = f"{trace}.ema_after_next_set_num_updates."
        for key in (k for k in wanted if k.startswith(prefix)):
            value = ours[reference.teacher_name(key.removeprefix(prefix))]
            assert (value - wanted[key]).abs().max() <= 5e-6, key


def test_torch_epsilon_is_another_optimiser():
    """The two places of epsilon differ measurably, so that the switch is known to do something."""
    after = []
    for fairseq_eps in (True, False):
        cfg = reference.official_config()
        cfg.optim.max_updates, cfg.optim.fairseq_eps = 100, fairseq_eps
        model = reference.official_model(cfg)
        optimizer = AdamW(model, cfg.optim)
        mask = reference.tensors("masked_forward")["U.mask_indices"].bool()
        sum(loss.total for loss in run(model, "U", mask).values()).backward()
        optimizer.prepare(0)
        optimizer.step()
        after.append(torch.cat([p.flatten() for p in model.encoder.parameters()]))
    assert (after[0] - after[1]).abs().max() > 1e-8


def test_teacher_steps_per_update_or_per_micro_batch():
    for per_micro_batch, steps in ((False, 1), (True, 3)):
        cfg = reference.official_config()
        cfg.targets["online"].ema_start = cfg.targets["online"].ema_end = 0.5
        cfg.targets["online"].step_per_micro_batch = per_micro_batch
        model = reference.official_model(cfg)
        online, student = model.targets["online"], model.encoder.context
        before = copy.deepcopy(online.teacher.norm.weight)
        for i in range(3):
            online.before_micro_batch(model.encoder, 7, first=i == 0)
        expected = student.norm.weight + (before - student.norm.weight) * 0.5**steps
        torch.testing.assert_close(online.teacher.norm.weight, expected)
        copied = online.teacher.pos_conv[0].conv.weight
        assert torch.equal(copied, student.pos_conv[0].conv.weight)  # copied, not averaged


def test_no_step_before_the_first_update_and_never_in_training_mode():
    model = reference.official_model().train()
    online = model.targets["online"]
    before = copy.deepcopy(online.teacher.state_dict())
    online.before_micro_batch(model.encoder, 0, first=True)
    assert all(torch.equal(v, online.teacher.state_dict()[k]) for k, v in before.items())
    assert not online.teacher.training and online.head.training


def test_decay_ramp_equals_the_official_schedule():
    ema = Ema(OnlineConfig())
    rows = reference.facts("schedules")
    key = next(k for k in rows if "ema" in k)
    values = rows[key]["values"]
    assert len(values) > 10
    for step, decay in values:
        assert ema.decay_at(int(step)) == pytest.approx(decay, abs=1e-9)


def test_padding_does_not_change_targets_by_default():
    cfg = reference.official_config()
    cfg.encoder.isolate_padding, cfg.targets["online"].norm_over_padding = True, False
    model = reference.official_model(cfg).eval()
    waves, lengths, _ = reference.batch("P")
    online = model.targets["online"]
    with torch.no_grad():
        frames, counts = model.encoder.frames(waves, lengths)
        together = online.answer(frames, counts)
        n = int(counts[2])
        alone = online.answer(frames[2:, :n], counts[2:])
    assert error(together[2:, :n], alone) <= 1e-5


def test_instance_norm_is_torchs():
    x = torch.randn(2, 50, 6)
    wanted = torch.nn.functional.instance_norm(x.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(instance_norm(x, None), wanted, rtol=1e-4, atol=1e-5)


def test_spread_of_a_constant_is_small():
    assert spread(torch.ones(10, 4)) < 0.01 < spread(torch.randn(100, 4))
    assert spread(torch.ones(1, 4)).isnan()


def test_collapse_is_reported_with_a_remedy():
    online = reference.official_model().targets["online"]
    collapsed = {"online/target_var": 0.05, "online/pred_var": 0.5}
    assert online.check(collapsed, 5000) is None
    assert "target_var = 0.0500 is below online.min_target_var = 0.1" in online.check(
        collapsed, 5001
    )
    assert online.check({"online/target_var": 0.5, "online/pred_var": 0.5}, 9000) is None


def test_random_projection_labels_are_fixed_and_used():
    cfg = Config(encoder=reference.encoder_config(isolate_padding=True), targets={})
    cfg.targets["random_projection"] = RandomProjectionConfig(num_classes=32)
    torch.manual_seed(0)
    model = MT4SSL(cfg)
    target = model.targets["random_projection"]
    waves = torch.randn(2, 16000) * torch.linspace(0.1, 2, 16000)
    lengths = torch.tensor([16000, 12000])
    waves[1, 12000:] = 0
    counts = model.encoder.frame_lengths(lengths)
    labels = target.label(waves, counts)
    assert labels.shape == (2, 49) and len(labels.unique()) > 5
    alone = target.label(waves[1:, :12000], counts[1:])
    assert torch.equal(labels[1:, : alone.shape[1]], alone)  # padding changes no label
    mask = torch.zeros(2, 49, dtype=torch.bool)
    mask[:, 3:13] = True
    (loss,) = model(waves, lengths, mask, None, 0)
    loss.total.backward()
    assert loss.count == 20 and loss.usage.sum() == 20
    assert not {"projection", "codebook"} & {n for n, _ in target.named_parameters()}
    assert {"projection", "codebook"} <= set(target.state_dict())


def test_sections_switch_targets_on_and_off():
    cfg = Config(encoder=reference.encoder_config())
    assert list(MT4SSL(cfg).targets) == ["offline", "online"]
    cfg.targets["online"] = None
    model = MT4SSL(cfg)
    assert list(model.targets) == ["offline"]
    assert not any("teacher" in name for name, _ in model.named_parameters())
    cfg = Config(
        cfg.run, cfg.data, cfg.encoder, targets={"random_projection": RandomProjectionConfig()}
    )
    assert list(MT4SSL(cfg).targets) == ["random_projection"]


def test_rows_at_hidden_frames_are_those_of_the_mask_and_of_these_frames_alone():
    mask = torch.rand(3, 20, generator=torch.Generator().manual_seed(0)) < 0.5
    labels = torch.randint(-1, 4, (3, 20), generator=torch.Generator().manual_seed(1))
    places, x = Places.of(mask, labels), torch.randn(3, 20, 5)
    masked = Masked(None, mask, labels, torch.zeros(3, 1), None, 0, places)
    assert torch.equal(masked.hidden(x), x[mask])
    assert torch.equal(masked.rows(x, places.labelled), x[mask & (labels >= 0)])
    assert torch.equal(masked.rows(x, places.seen), x[~mask & (labels >= 0)])
    with pytest.raises(ValueError, match=r"\(3, 19, 5\) for \(3, 20\) frames"):
        masked.hidden(x[:, 1:])


def test_several_masks_of_a_batch_give_the_gradient_of_one_after_the_other():
    cfg = reference.official_config()
    cfg.targets["offline"].visible_weight = 0.5
    cfg.targets["random_projection"] = RandomProjectionConfig(num_classes=16, num_mels=20)
    torch.manual_seed(0)
    model = MT4SSL(cfg)
    waves, lengths, labels = reference.batch("P")
    frames = model.encoder.frame_lengths(lengths).tolist()
    masking, ids = MaskingConfig(repeats=3), ["a", "b", "c"]
    masks = span_mask(frames, ids, masking, seed=1, epoch=0)
    once = span_mask(frames, ids, MaskingConfig(), seed=1, epoch=0)
    assert torch.equal(masks[:3], once) and len({m.numpy().tobytes() for m in masks}) == 9

    def learn(mask):
        losses = model(waves, lengths, mask, labels, 0)
        sum(loss.total for loss in losses).backward()
        return [loss.total.item() for loss in losses], [loss.count for loss in losses]

    apart = [learn(mask) for mask in masks.split(3)]
    wanted = [p.grad.clone() if p.grad is not None else None for p in model.parameters()]
    model.zero_grad()
    teacher, extractor = [], []
    model.targets["online"].teacher.register_forward_pre_hook(lambda m, x: teacher.append(x[0]))
    model.encoder.extractor.register_forward_pre_hook(lambda m, x: extractor.append(x[0]))
    totals, counts = learn(masks)
    assert len(teacher) == len(extractor) == 1 and len(teacher[0]) == len(extractor[0]) == 3
    for i, (total, count) in enumerate(zip(totals, counts, strict=True)):
        assert count == sum(part[1][i] for part in apart)
        assert total == pytest.approx(sum(part[0][i] for part in apart), rel=1e-5)
    for parameter, grad in zip(model.parameters(), wanted, strict=True):
        if grad is not None and grad.abs().max() > 1e-3:
            assert error(parameter.grad, grad) <= 1e-5


def test_weights_scale_the_losses():
    cfg = reference.official_config()
    cfg.targets["offline"].weight, cfg.targets["online"].weight = 0.5, 3.0
    mask = reference.tensors("masked_forward")["U.mask_indices"].bool()
    plain = run(reference.official_model(), "U", mask)
    weighted = run(reference.official_model(cfg), "U", mask)
    for name, weight in (("offline", 0.5), ("online", 3.0)):
        assert weighted[name].total.item() == pytest.approx(weight * plain[name].total.item())
        assert weighted[name].sums["loss"].item() == pytest.approx(plain[name].sums["loss"].item())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_cross_entropy_of_half_precision_logits_is_computed_in_float32(dtype):
    logits = (3 * torch.randn(400, 500, generator=torch.Generator().manual_seed(0))).to(dtype)
    classes = torch.arange(400)
    wanted = torch.nn.functional.cross_entropy(logits.double(), classes, reduction="sum")
    with torch.autocast("cpu", dtype):
        total = classification("offline", logits, classes, 1.0).total
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(wanted.item(), rel=1e-6)


def test_targets_of_the_teacher_are_normalised_in_float32_whatever_the_autocast():
    model = reference.official_model().eval()
    online, (waves, lengths, _) = model.targets["online"], reference.batch("P")
    given = []
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        frames, counts = model.encoder.frames(waves, lengths)
        for layer in online.teacher.layers:
            layer.register_forward_hook(lambda m, x, out: given.append(out[1]))
        answer = online.answer(frames, counts)
    assert given[-1].dtype == torch.bfloat16 and answer.dtype == torch.float32
    wanted = torch.stack([instance_norm(x.float(), None) for x in given[-3:]]).mean(0)
    assert torch.equal(answer, wanted)


def test_the_online_loss_is_summed_in_float32_whatever_the_autocast():
    model = reference.official_model()
    mask = reference.tensors("masked_forward")["U.mask_indices"].bool()
    with torch.autocast("cpu", torch.bfloat16):
        loss = run(model, "U", mask)["online"]
    assert loss.total.dtype == torch.float32
    assert loss.means["pred_var"].dtype == torch.float32


def test_visible_weight_adds_the_loss_at_frames_that_are_not_hidden():
    cfg = reference.official_config()
    cfg.targets["offline"].weight, cfg.targets["offline"].visible_weight = 0.5, 0.3
    model = reference.official_model(cfg)
    waves, lengths, labels = reference.batch("P")
    mask = reference.tensors("masked_forward")["P.mask_indices"].bool()
    output = model.encoder(waves, lengths, mask).output
    labels = labels[:, : mask.shape[1]].clone()
    labels[:, -2:] = -1  # frames without a label count nowhere
    loss = {item.name: item for item in model(waves, lengths, mask, labels, 0)}["offline"]
    sums, right = [], []
    for at in (mask & (labels >= 0), ~mask & (labels >= 0)):
        logits = model.targets["offline"].head(output[at])
        wanted = labels[at] + 4
        sums.append(torch.nn.functional.cross_entropy(logits, wanted, reduction="sum"))
        right.append((logits.argmax(-1) == wanted).float().mean())
    assert loss.total.item() == pytest.approx((0.5 * (sums[0] + 0.3 * sums[1])).item(), rel=1e-5)
    assert loss.sums["loss"].item() == pytest.approx(sums[0].item(), rel=1e-5)
    assert loss.count == (mask & (labels >= 0)).sum()
    assert loss.means["visible_accuracy"] == right[1]
    assert model.targets["offline"].sees_visible
