import pytest
import torch
from s3prl.downstream.model import FrameLevel, UtteranceLevel
from s3prl.upstream.interfaces import Featurizer
from superb_data import tiny_checkpoint
from torch import nn

from mt4ssl_core.store.store import FRAMES, POOLED, FeatureKind, FeatureStore, content_key
from upstream.door.expert import UpstreamExpert
from upstream.store.lazy_audio import Utterance
from upstream.store.stored_features import StoredFeatures, sees_means_only, upstream_facts

SIZES = (16000, 12345, 719, 16000, 48000, 8160)


class Reads16(nn.Module):
    """An upstream of another kind: 4 layers of (T, 8), T rounded down, nothing shared."""

    def __init__(self, layers=4, batch_norm=False):
        super().__init__()
        self.layers, self.batch_norm, self.calls = layers, batch_norm, 0

    def get_downsample_rates(self, key):
        return 320

    def forward(self, wavs):
        self.calls += len(wavs)
        padded = nn.utils.rnn.pad_sequence(list(wavs), batch_first=True)
        frames = padded[:, : padded.shape[1] // 320 * 320].unflatten(1, (-1, 320))[..., :8]
        if self.batch_norm:
            frames = frames / (frames.std((1, 2), keepdim=True) + 1e-3)
        return {"hidden_states": [frames * (i + 1) for i in range(self.layers)], "one": frames}


class Head(nn.Module):
    """As s3prl's experts of KS, IC, SID and ER build theirs."""

    def __init__(self, dim, model=UtteranceLevel, **settings):
        super().__init__()
        self.projector = nn.Linear(dim, 16)
        self.model = model(16, 5, **settings)

    def forward(self, features):
        lengths = torch.tensor([len(row) for row in features])
        padded = nn.utils.rnn.pad_sequence(features, batch_first=True)
        return self.model(self.projector(padded), lengths)[0]


@pytest.fixture
def model():
    return UpstreamExpert(str(tiny_checkpoint()))


def utterances(*sizes, seed=0):
    random = torch.Generator().manual_seed(seed)
    waves = [(0.1 * torch.randn(size, generator=random)).numpy() for size in sizes]
    return [Utterance(None, None, content_key(wave), len(wave), wave) for wave in waves]


def stored(model, folder, kind=FRAMES, precision="fp32", **changes):
    facts = upstream_facts(model, changes.get("selection", "hidden_states"), "cpu")
    named = {"selection": "hidden_states", "layers": None, "normalized": False, **changes}
    store = FeatureStore(folder)
    space = store.space(FeatureKind("test", "f" * 16, kind=kind, precision=precision, **named))
    features = StoredFeatures(model, 320, store, space, facts["layers"], facts["batch_dependent"])
    return features.eval()


def featurizer_of(model, **settings):
    made = Featurizer(model, upstream_device="cpu", **settings)
    if hasattr(made, "weights"):
        made.weights.data = torch.linspace(-1, 1, made.layer_num)
    return made


def seen(model, featurizer, given, together=True):
    """What the head sees: a list of (T, D)."""
    with torch.no_grad():
        if together:
            return featurizer(given, model(given))
        waves = [torch.from_numpy(utterance.wave) for utterance in given]
        return [featurizer([wave], model([wave]))[0] for wave in waves]


@pytest.mark.parametrize("other", [False, True])
@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-5), ("fp16", 1e-2), ("int8", 0.1)])
def test_frames_give_the_logits_of_the_upstream_alone(precision, bound, other, model, tmp_path):
    model = Reads16() if other else model
    featurizer = featurizer_of(model)
    head = Head(featurizer.output_dim, FrameLevel)
    features = stored(model, tmp_path, precision=precision)
    alone = seen(model, featurizer, utterances(*SIZES), together=False)
    for _ in range(2):  # computed, then read
        given = seen(features, featurizer, utterances(*SIZES))
        assert [len(row) for row in given] == [len(row) for row in alone]
        for row, expected in zip(given, alone, strict=True):
            assert (head([row]) - head([expected])).abs().max() <= bound


@pytest.mark.parametrize("normalize", [False, True])
def test_means_give_the_logits_of_the_upstream_alone(normalize, model, tmp_path):
    featurizer = featurizer_of(model, normalize=normalize)
    head = Head(featurizer.output_dim)
    features = stored(model, tmp_path, POOLED, normalized=normalize)
    alone = head(seen(model, featurizer, utterances(*SIZES), together=False))
    featurizer.normalize = False  # the means are of normalised frames
    for _ in range(2):
        given = seen(features, featurizer, utterances(*SIZES))
        assert {tuple(row.shape) for row in given} == {(1, featurizer.output_dim)}
        assert (head(given) - alone).abs().max() <= 1e-5


def test_gradients_of_featurizer_and_head_are_those_of_all_frames(model, tmp_path):
    found = []
    for upstream in (model, stored(model, tmp_path, POOLED)):
        torch.manual_seed(0)
        featurizer = featurizer_of(model)
        head = Head(featurizer.output_dim)
        given = utterances(*[16000] * 3)
        wavs = given if upstream is not model else [torch.from_numpy(u.wave) for u in given]
        with torch.no_grad():
            answer = upstream(wavs)
        logits = head(featurizer(wavs, answer))
        nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2])).backward()
        found.append([p.grad for p in (*head.parameters(), featurizer.weights)])
    for plain, pooled in zip(*found, strict=True):
        assert torch.allclose(plain, pooled, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(("kind", "precision"), [(POOLED, "fp32"), (FRAMES, "fp16")])
def test_what_is_used_depends_neither_on_the_batch_nor_on_the_store(
    kind, precision, model, tmp_path
):
    used = []
    for folder, batches in (("a", [[0, 1, 2, 3, 4, 5]]), ("b", [[3], [5, 4], [0, 1, 2], range(6)])):
        features, given = stored(model, tmp_path / folder, kind, precision), utterances(*SIZES)
        for batch in batches:
            found = features.features([given[i] for i in batch])
        used.append([row.float() for row in found])
    features = stored(model, tmp_path / "full", kind, precision)
    features.store = FeatureStore(tmp_path / "full", gigabytes=0)  # nothing fits
    features.space = features.store.space(features.space.kind)
    used.append([row.float() for row in features.features(utterances(*SIZES))])
    assert len(features.space) == 0
    for rows in zip(*used, strict=True):
        assert all(torch.equal(row, rows[0]) for row in rows)


def test_nothing_is_encoded_twice(tmp_path):
    model = Reads16()
    features = stored(model, tmp_path)
    before = model.calls
    for _ in range(3):
        features(utterances(*SIZES))
    assert model.calls == before + len(SIZES)
    again = stored(model, tmp_path)
    before = model.calls
    without_audio = [Utterance(None, None, u.key, u.samples, None) for u in utterances(*SIZES)]
    again(without_audio)
    assert model.calls == before


def test_crops_are_never_stored(model, tmp_path):
    features = stored(model, tmp_path, POOLED)
    crops = [Utterance(None, None, None, u.samples, u.wave) for u in utterances(16000, 16000, 9000)]
    known = features.features(utterances(16000, 16000, 9000))
    assert len(features.space) == 3
    fresh = stored(model, tmp_path / "other", POOLED)
    found = fresh.features(crops)
    assert len(fresh.space) == 0
    for crop, utterance in zip(found, known, strict=True):
        assert torch.allclose(crop, utterance, atol=1e-5)


def test_plain_waveforms_go_through_the_upstream(model, tmp_path):
    features, waves = stored(model, tmp_path), [torch.randn(16000), torch.randn(8000)]
    with torch.no_grad():
        expected, found = model(waves), features(waves)
    assert features.asked == 0 and expected.keys() == found.keys()
    assert torch.equal(expected["last_hidden_state"], found["last_hidden_state"])


def test_plain_waveforms_are_normalised_where_the_featurizer_is_not_to(model, tmp_path):
    featurizer, waves = featurizer_of(model, normalize=True), [torch.randn(16000)]
    features = stored(model, tmp_path, POOLED, normalized=True)
    with torch.no_grad():
        expected = featurizer(waves, model(waves))
        featurizer.normalize = False
        found = featurizer(waves, features(waves))
    assert torch.allclose(found[0], expected[0], atol=1e-6)


@pytest.mark.parametrize("layer", [0, 2, -1])
def test_one_layer_alone_is_what_the_featurizer_selects(layer, tmp_path):
    model = Reads16()
    featurizer = featurizer_of(model, layer_selection=layer)
    features = stored(model, tmp_path, layers=(layer,))
    alone = seen(model, featurizer, utterances(*SIZES), together=False)
    given = seen(features, featurizer, utterances(*SIZES))
    assert all(torch.equal(a, b) for a, b in zip(given, alone, strict=True))
    assert features.features(utterances(*SIZES))[0].shape[0] == 1


@pytest.mark.parametrize("selection", ["one", "hidden_states"])
def test_an_upstream_of_a_single_layer(selection, tmp_path):
    model = Reads16(layers=1)
    featurizer = featurizer_of(model, feature_selection=selection)
    features = stored(model, tmp_path, selection=selection)
    alone = seen(model, featurizer, utterances(*SIZES), together=False)
    given = seen(features, featurizer, utterances(*SIZES))
    assert all(torch.equal(a, b) for a, b in zip(given, alone, strict=True))


def test_probe_finds_features_that_depend_on_the_batch(model):
    assert upstream_facts(model, "hidden_states", "cpu") == {
        "layers": 3, "dim": 16, "stacks": True, "batch_dependent": False,
    }  # fmt: skip
    assert upstream_facts(Reads16(batch_norm=True), "hidden_states", "cpu")["batch_dependent"]
    assert not upstream_facts(Reads16(), "hidden_states", "cpu")["batch_dependent"]


def test_features_that_depend_on_the_batch_are_those_of_each_alone(tmp_path):
    model = Reads16(batch_norm=True)
    features = stored(model, tmp_path)
    for utterance in utterances(*SIZES):
        (found,) = features.features([utterance])
        expected = model([torch.from_numpy(utterance.wave)])["hidden_states"]
        assert torch.equal(found, torch.cat(expected))


class Squashing(nn.Module):
    """Frames through a tanh, then their mean."""

    def __init__(self, input_dim, output_dim):
        super().__init__()
        self.linear = nn.Linear(input_dim, output_dim)

    def forward(self, frames, lengths):
        rows = [self.linear(row[:n].tanh()).mean(0) for row, n in zip(frames, lengths, strict=True)]
        return torch.stack(rows), None


def test_heads_that_see_means_only():
    linear = {"select": "FrameLevel"}
    hidden = {"select": "FrameLevel", "FrameLevel": {"hiddens": [8]}}
    assert sees_means_only(Head(12), 12)
    assert sees_means_only(Head(12, pre_net=linear), 12)
    assert sees_means_only(Head(12, post_net=hidden), 12)
    assert not sees_means_only(Head(12, pre_net=hidden), 12)
    assert not sees_means_only(Head(12, pooling="AttentivePooling"), 12)
    assert not sees_means_only(Head(12, FrameLevel), 12)
    assert not sees_means_only(Head(12, Squashing), 12)
    assert not sees_means_only(nn.Linear(12, 5), 12)
    dropping = Head(12)
    dropping.dropout = nn.Dropout(0.1)
    assert not sees_means_only(dropping, 12)
