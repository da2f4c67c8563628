import numpy as np
import pytest
import torch

from mt4ssl_core.checkpoints import tensor_files
from upstream.heads.feature_transform import FLOORS, FeatureTransform, Moments, TransformedFeatures
from upstream.heads.task_request import STANDARDIZE, WHITEN


def features(rows=400, dim=12, rank=5, seed=0):
    """Rows of a layer far from 0, most of whose variance is in a few directions."""
    random = np.random.default_rng(seed)
    mixed = random.standard_normal((rows, rank)) @ random.standard_normal((rank, dim))
    return torch.from_numpy(mixed + 100).float()


def fitted(kind, *layers, size=7):
    moments = {}
    for place, rows in enumerate(layers):
        moments[place] = Moments(kind == WHITEN)
        for part in rows.split(size):
            moments[place].add(part)
    return FeatureTransform.of(kind, moments, {})


@pytest.mark.parametrize("size", [1, 7, 400])
def test_moments_in_parts_are_those_of_the_whole(size):
    rows = features(rank=12)
    moments = Moments(True)
    for part in rows.split(size):
        moments.add(part)
    whole = np.cov(rows.double().numpy().T, bias=True)
    assert np.allclose(moments.squares / moments.rows, whole, rtol=1e-10, atol=1e-12)
    assert np.allclose(moments.mean, rows.double().mean(0), rtol=1e-14)


def test_whitened_features_have_identity_covariance_where_there_is_variance():
    full, flat = features(rank=12), features(rank=5)
    transform = fitted(WHITEN, full, flat)
    assert transform.kept == (12, 5) and transform.rows == 400
    for rows, rank in zip(transform([full, flat]), transform.kept, strict=True):
        covariance = np.cov(rows.double().numpy().T, bias=True)
        assert np.allclose(rows.mean(0), 0, atol=1e-3)
        eigenvalues = np.sort(np.linalg.eigvalsh(covariance))[::-1]
        assert np.allclose(eigenvalues[:rank], 1, atol=1e-3)
        assert np.allclose(eigenvalues[rank:], 0, atol=1e-6)


def test_directions_below_the_floor_are_left_out():
    spread = torch.diag(torch.tensor([1.0, 2 * FLOORS[WHITEN] ** 0.5, 0.5 * FLOORS[WHITEN] ** 0.5]))
    rows = torch.cat([spread, -spread])
    assert fitted(WHITEN, rows).kept == (2,)
    assert fitted(STANDARDIZE, rows).kept == (3,)


def test_standardised_features_have_mean_0_and_variance_1_where_they_vary():
    rows = features()
    rows[:, 3] = 5.0
    transform = fitted(STANDARDIZE, rows)
    (found,) = transform([rows])
    assert transform.kept == (11,)
    deviation = found.double().std(0, unbiased=False)
    assert np.allclose(found.double().mean(0), 0, atol=1e-5)
    assert np.allclose(np.delete(deviation, 3), 1, atol=1e-5) and deviation[3] == 0


def test_a_layer_without_any_variance_becomes_0():
    for kind in (STANDARDIZE, WHITEN):
        transform = fitted(kind, torch.full((5, 3), 2.0))
        assert transform.kept == (0,) and not transform([torch.full((1, 3), 2.0)])[0].any()


def test_features_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="not finite cannot be transformed; give another"):
        fitted(WHITEN, torch.tensor([[1.0, float("nan")], [0.0, 1.0]]))


def test_what_is_saved_is_read_back_and_damage_is_named(tmp_path):
    path = tmp_path / "t.safetensors"
    transform = fitted(WHITEN, features(), features(seed=1))
    transform.save(path)
    found = FeatureTransform.load(path, "train again")
    assert torch.equal(found.maps, transform.maps) and torch.equal(found.means, transform.means)
    assert found.describe() == transform.describe() == {
        "kind": "whiten", "floor": 1e-4, "rows": 400, "dim": 12, "kept": [5, 5],
    }  # fmt: skip
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"t\.safetensors: damaged .* train again"):
        FeatureTransform.load(path, "train again")
    with pytest.raises(ValueError, match=r"gone: not there; train again"):
        FeatureTransform.load(tmp_path / "gone", "train again")


@pytest.mark.parametrize(
    ("fitted", "maps"),
    [("3", (1, 4)), ("[[0], [4], 9, 1]", (1, 4)), ("[[0.5], [4], 9]", (1, 4)),
     ("[[0, 1], [4, 4], 9]", (1, 4)), ("[[0], [4], 9]", (1, 5)), ("[[-1], [4], 9]", (1, 4))],
)  # fmt: skip
def test_what_no_fit_writes_is_refused(tmp_path, fitted, maps):
    path = tmp_path / "t.safetensors"
    tensors = {"means": torch.zeros(1, 4), "maps": torch.zeros(maps)}
    tensor_files.save(path, tensors, {"kind": "standardize", "fitted": fitted})
    with pytest.raises(ValueError, match="damaged; train again"):
        FeatureTransform.load(path, "train again")


def test_an_upstream_answers_with_the_selected_layers_mapped():
    class Upstream(torch.nn.Module):
        def get_downsample_rates(self, key):
            return 320

        def forward(self, wavs):
            return {"hidden_states": [torch.ones(1, 2, 12), wavs[0][None]], "other": 3}

    rows = features()
    transform = fitted(STANDARDIZE, rows, rows)
    model = TransformedFeatures(Upstream(), transform, "hidden_states")
    answer = model([rows])
    assert model.get_downsample_rates("any") == 320 and answer["other"] == 3
    assert torch.equal(answer["hidden_states"][1][0], transform([rows, rows])[1])
