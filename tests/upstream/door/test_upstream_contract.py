"""What s3prl expects of every upstream, asked of ours through s3prl's own classes."""

import copy

import pytest
import torch
from superb_data import FEW_STEPS, SPEED, TINY, corpora, tiny_checkpoint

import upstream
from upstream.door import overrides
from upstream.heads import command, results, runner

upstream.register()

from s3prl.nn import Featurizer, S3PRLUpstream  # noqa: E402
from s3prl.upstream.interfaces import Featurizer as RunnerFeaturizer  # noqa: E402

NAMES = ["mt4ssl", "mt4ssl_untrained"]
RATE = 16000


@pytest.fixture(scope="module", params=NAMES)
def model(request):
    return S3PRLUpstream(request.param, path_or_url=str(tiny_checkpoint())).eval()


def padded(*sizes, seed=0):
    """Waves (B, N) and their lengths (B,)."""
    generator = torch.Generator().manual_seed(seed)
    waves = torch.zeros(len(sizes), max(sizes))
    for row, size in zip(waves, sizes, strict=True):
        row[:size] = torch.randn(size, generator=generator) * 0.1
    return waves, torch.tensor(sizes)


def test_what_it_says_of_itself(model):
    assert model.num_layers == TINY.layers + 1
    assert model.hidden_sizes == [TINY.dim] * model.num_layers
    assert model.downsample_rates == [320] * model.num_layers
    featurizer = Featurizer(model)
    assert (featurizer.output_size, featurizer.downsample_rate) == (TINY.dim, 320)


def test_one_by_one_is_as_in_a_batch(model):
    waves, sizes = padded(2 * RATE, RATE, 800, 12345, 880)
    with torch.no_grad():
        together, lengths = model(waves, sizes)
        for row, size in enumerate(sizes.tolist()):
            alone, alone_lengths = model(waves[row : row + 1, :size], sizes[row : row + 1])
            for layer in range(model.num_layers):
                frames = int(lengths[layer][row])
                assert frames == int(alone_lengths[layer][0]) == (size - 1) // 320 + 1
                batched = together[layer][row, :frames]  # (T, D)
                torch.testing.assert_close(batched, alone[layer][0, :frames], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("sizes", [[800], [800, 800], [800, 9000, RATE]])
def test_forward_and_backward_of_short_and_long_waves(model, sizes):
    trained = copy.deepcopy(model).train()
    with torch.autograd.set_detect_anomaly(True):
        states, lengths = trained(*padded(*sizes))
        torch.stack([state.sum() for state in states]).sum().backward()
    assert [state.shape for state in states] == [(len(sizes), -(-max(sizes) // 320), TINY.dim)] * 3
    assert [int(n) for n in lengths[0]] == [-(-size // 320) for size in sizes]
    assert all(torch.isfinite(p.grad).all() for p in trained.parameters() if p.grad is not None)


def test_evaluation_is_deterministic_and_every_layer_is_always_there(model):
    with torch.no_grad():
        first, again = (model(*padded(RATE, 7000))[0] for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    trained = copy.deepcopy(model).train()  # the checkpoint was trained with layerdrop 0.5
    for seed in range(5):
        assert len(trained(*padded(RATE, 7000, seed=seed))[0]) == model.num_layers


@pytest.mark.parametrize("layers", [None, [0, 2]])
@pytest.mark.parametrize("normalize", [False, True])
def test_featurizer(model, layers, normalize):
    featurizer = Featurizer(model, layer_selections=layers, normalize=normalize)
    with torch.no_grad():
        states, lengths = model(*padded(RATE, 2 * RATE))
        features, feature_lengths = featurizer(states, lengths)
    chosen = torch.stack([states[layer] for layer in layers or range(model.num_layers)])
    if normalize:
        chosen = torch.nn.functional.layer_norm(chosen, (TINY.dim,))
    torch.testing.assert_close(features, chosen.mean(0))  # equal weights to begin with
    assert feature_lengths.tolist() == [50, 100]


@pytest.mark.parametrize("selection", ["hidden_states", "last_hidden_state"])
def test_the_runners_featurizer_cuts_each_utterance(model, selection):
    featurizer = RunnerFeaturizer(model.upstream, selection, upstream_device="cpu")
    waves = [torch.randn(size) for size in (RATE, 16159, 16161, 700)]
    with torch.no_grad():
        features = featurizer(waves, model.upstream(waves))
    assert [tuple(f.shape) for f in features] == [(round(len(w) / 320), TINY.dim) for w in waves]


def test_weights_go_out_and_in(model):
    other = S3PRLUpstream("mt4ssl", path_or_url=str(tiny_checkpoint())).eval()
    for parameter in other.parameters():
        parameter.data.zero_()
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        a, b = (each(*padded(RATE))[0][-1] for each in (model, other))
    assert torch.equal(a, b)


def test_it_moves_to_another_device_whole(model):
    """Nothing stays behind: parameters, buffers, and tensors made on the way."""
    moved = copy.deepcopy(model).to("meta")
    left = {*moved.state_dict().values()}
    assert all(tensor.device.type == "meta" for tensor in left)
    back = copy.deepcopy(model).to(torch.float64).to(torch.float32)
    with torch.no_grad():
        a, b = (each(*padded(RATE))[0][-1] for each in (model, back))
    torch.testing.assert_close(a, b)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_it_gives_the_same_on_a_gpu_and_back(model):
    waves, sizes = padded(RATE, 7000)
    with torch.no_grad():
        before = model(waves, sizes)[0][-1]
        there = copy.deepcopy(model).cuda()
        found = there(waves.cuda(), sizes.cuda())[0][-1]
        back = there.cpu()(waves, sizes)[0][-1]
    assert found.is_cuda
    torch.testing.assert_close(found.cpu(), before, atol=1e-3, rtol=1e-3)
    assert torch.equal(back, before)


# s3prl's options that change what a head sees


def train(expdir, *flags, device="cpu"):
    argv = ["-m", "train", "--task", "ks", "--root", str(corpora()), "-u", "mt4ssl", *flags]
    argv += ["-k", str(tiny_checkpoint()), "-p", str(expdir), "--device", device, "--then-test"]
    argv += ["-o", overrides.render({**FEW_STEPS, **SPEED["ks"]})]
    (record,) = runner.launch(command.resolve(argv))
    assert results.read(expdir) == [record] and record["step"] == 2
    return record, torch.load(expdir / "states-2.ckpt")


@pytest.mark.parametrize(
    ("flags", "weights"),
    [
        (["-s", "last_hidden_state"], 0),
        (["-l", "1"], 0),
        (["--upstream_feature_normalize"], 3),
        (["-f"], 3),
        (["-f", "-s", "last_hidden_state"], 0),
    ],
)
def test_options_of_the_upstream(flags, weights, tmp_path):
    record, state = train(tmp_path / "exp", *flags)
    assert sum(tensor.numel() for tensor in state["Featurizer"].values()) == weights
    assert record["layer"] == (1 if "-l" in flags else None)
    assert record["upstream_trainable"] == ("Upstream" in state) == ("-f" in flags)
    if "-f" in flags:  # with its layerdrop of 0.5, two steps would leave a layer as it was
        before = torch.load(tiny_checkpoint())["encoder"]
        names = [name for name in before if ".layers." in name and name.endswith("weight")]
        assert names
        assert not any(torch.equal(before[n], state["Upstream"][f"encoder.{n}"]) for n in names)


def test_no_folder_is_made_that_a_stored_head_names(tmp_path):
    train(tmp_path / "exp")
    path, foreign = tmp_path / "exp" / "states-2.ckpt", tmp_path / "foreign"
    state = torch.load(path)
    state["Args"].expdir = str(foreign)
    torch.save(state, path)
    (tmp_path / "exp" / results.RESULTS).unlink()
    runner.launch(command.resolve(["-m", "evaluate", "-e", str(path), "--device", "cpu"]))
    assert results.read(tmp_path / "exp") and not foreign.exists()


@pytest.mark.parametrize("wrong", ["last_hidden", "hidden_state", "layers"])
def test_a_selection_that_the_upstream_does_not_have_is_refused(wrong, tmp_path):
    """s3prl takes hidden_states in its place."""
    with pytest.raises(ValueError, match=rf"-s {wrong}: .* one of .*hidden_states.*last_hidden_st"):
        train(tmp_path / "exp", "-s", wrong)


def test_cpu_on_a_machine_with_a_gpu(tmp_path, monkeypatch):
    train(tmp_path / "exp")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # s3prl asks when it evaluates
    argv = ["-m", "evaluate", "-e", str(tmp_path / "exp"), "--device", "cpu"]
    (record,) = runner.launch(command.resolve(argv))
    assert record["device"].startswith("cpu")
    assert torch.cuda.is_available()
