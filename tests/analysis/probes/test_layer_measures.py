import numpy as np
import pytest

from analysis.probes import layer_measures
from analysis.probes.layer_measures import FrameData, Segments

FRAMES, UTTERANCES, DIM = 100, 40, 6


def speech(seed=0, words=True):
    """Layer 0 shows the phone, layer 1 the mel energies, layer 2 neither."""
    rng = np.random.default_rng(seed)
    phones, mel, layers, segments = [], [], [], []
    for _ in range(UTTERANCES):
        said = np.repeat(rng.integers(0, 5, FRAMES // 5), 5)
        energy = rng.normal(size=(FRAMES, 4)).cumsum(0)
        x = rng.normal(size=(FRAMES, 3, DIM))
        x[:, 0, :5] += 8 * np.eye(5)[said]
        x[:, 1, :4] = energy + 0.01 * x[:, 1, :4]
        phones += [f"p{k}" for k in said]
        mel.append(energy)
        layers.append(x)
        segments.append([(f"p{said[i]}", i, i + 5) for i in range(0, FRAMES, 5)])
    means = layer_measures.segment_means([x.transpose(1, 0, 2) for x in layers], segments)
    kinds = {"phone": means} | ({"word": means} if words else {})
    return FrameData(
        features=np.concatenate(layers).astype(np.float32),
        utterance=np.repeat(np.arange(UTTERANCES), FRAMES),
        phones=np.array(phones),
        mel=np.concatenate(mel),
        trained=np.arange(UTTERANCES) < UTTERANCES // 2,
        segments=kinds,
    )


@pytest.fixture(scope="module")
def measured():
    rows, matrices, notes = layer_measures.measure(speech(), clusters=5, show=False)
    assert not notes
    return {(row["measure"], row["layer"]): row for row in rows}, matrices


def value(measured, name, layer):
    return measured[0][name, layer]["value"]


def test_cca_tells_which_layer_has_what(measured):
    assert value(measured, "cca_mel", 1) > 0.95 and value(measured, "cca_mel", 0) < 0.3
    assert value(measured, "cca_phone", 0) > 0.75 and value(measured, "cca_phone", 2) < 0.3
    assert value(measured, "cca_word", 0) == value(measured, "cca_phone", 0)
    assert value(measured, "cca_input", 2) < 0.2


def test_clusters_tell_which_layer_has_phones(measured):
    assert value(measured, "pnmi", 0) > 0.8 and value(measured, "phone_purity", 0) > 0.9
    assert abs(value(measured, "pnmi_excess", 2)) < 0.02
    for row in measured[0].values():
        assert row["low"] - 1e-9 <= row["value"] <= row["high"] + 1e-9
    assert measured[0]["pnmi", 0]["baseline"] < 0.1


def test_a_layer_is_like_itself(measured):
    (matrix,) = measured[1]
    assert matrix["measure"] == "cca" and np.allclose(np.diag(matrix["values"]), 1)
    assert np.allclose(matrix["values"], np.transpose(matrix["values"]))


def test_a_rotation_and_a_scale_change_nothing(measured):
    data = speech()
    turn = np.linalg.qr(np.random.default_rng(5).normal(size=(DIM, DIM)))[0]
    turned = 100 * data.features.astype(np.float64) @ turn
    kinds = {
        k: Segments(100 * s.features @ turn, s.labels, s.utterance)
        for k, s in data.segments.items()
    }
    other = FrameData(turned, data.utterance, data.phones, data.mel, data.trained, kinds)
    rows, _, _ = layer_measures.measure(other, clusters=5, show=False)
    for row in rows:
        if row["measure"] in ("cca_phone", "pnmi") and row["layer"] == 0:
            assert row["value"] == pytest.approx(value(measured, row["measure"], 0), abs=0.05)
    both = data.features[:, 0].astype(np.float64), turned[:, 0]
    assert layer_measures.cross_fitted(*both, data.utterance % 2 == 0) == pytest.approx(1)


def test_unrelated_views_are_not_correlated_on_other_utterances():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 400, 50))
    assert layer_measures.cross_fitted(x, y, np.arange(400) < 200) < 0.1


def test_cka_of_a_model_with_itself_and_with_another():
    features = speech().features
    alike = layer_measures.cka_between(features, 3 * features)
    assert np.allclose(np.diag(alike), 1) and alike[0, 2] < 0.2
    assert layer_measures.cka_between(features, features[:, :2]).shape == (3, 2)
    with pytest.raises(ValueError, match="4000 and 3999 frames"):
        layer_measures.cka_between(features, features[1:])


def test_what_cannot_be_measured_is_said():
    data = speech(words=False)
    flat = data.features.copy()
    flat[:, 2] = 1.0
    still = FrameData(flat, data.utterance, data.phones, data.mel, data.trained, data.segments)
    rows, matrices, notes = layer_measures.measure(still, clusters=3000, show=False)
    assert any(note.startswith("clusters of layer 0: 2000 frames cannot make") for note in notes)
    assert any(note.startswith("cca_mel, layer 2: ") for note in notes)
    assert not matrices and not {row["layer"] for row in rows if row["measure"] == "cca_mel"} & {2}
    assert "cca_word" not in {row["measure"] for row in rows}
