"""analysis/layer_weights.py."""

import math
from dataclasses import replace

import head_runs
import matplotlib.image
import numpy as np
import pandas as pd
import pytest
import soundfile
import superb_data
import torch

from analysis import layer_weights, plots
from analysis.probes.layer_features import LayerFeatures
from analysis.records.head_files import Head
from upstream.door import cache

HEAD = Head("ks", "mt4ssl", "/c/last.pt", "f0", False, None, np.array([0.25, 0.75]))


def features(scale):
    """Layers whose frames have the norms 5 and 5 * scale."""
    states = torch.tensor([[[3.0, 4.0]], [[3.0 * scale, 4.0 * scale]]])  # (L, 1, D)

    def encode(wave):
        return states.expand(2, 1 + len(wave) // 320, 2)

    return LayerFeatures("toy", "f0", 2, 2, 320, encode)


def test_weights_of_folds_and_seeds_are_averaged():
    other = replace(HEAD, weights=np.array([0.75, 0.25]), seed=1)
    er = replace(HEAD, task="er", weights=np.array([0.5, 0.5]))
    frame = layer_weights.weights_table([er, HEAD, other])
    assert list(frame.task) == ["ks", "ks", "er", "er"] and list(frame.layer) == [0, 1, 0, 1]
    assert list(frame.weight) == [0.5] * 4 and list(frame["heads"]) == [2, 2, 1, 1]
    assert frame.spread[0] == pytest.approx(0.5 / math.sqrt(2)) and math.isnan(frame.spread[2])


def test_a_task_twice_is_refused_and_fine_tuned_upstreams_are_their_own():
    twice = replace(HEAD, weights=np.array([0.75, 0.25]))
    with pytest.raises(ValueError, match=r"ks twice with seed None.*give only one"):
        layer_weights.weights_table([HEAD, twice])
    frame = layer_weights.weights_table([HEAD, replace(twice, finetuned=True)])
    assert frame["model"].nunique() == 2 and set(frame["heads"]) == {1}


def test_what_has_no_weights_is_told():
    qbe = replace(HEAD, task="qbe", weights=None, why="layer 3 alone, chosen on dev")
    assert layer_weights.weights_table([HEAD, qbe]).attrs["notes"] == [
        "QbE: layer 3 alone, chosen on dev"
    ]
    fbank = [replace(HEAD, task=t, weights=None, why="one layer") for t in ("ks", "sid")]
    with pytest.raises(
        ValueError, match=r"no head has weights of layers \(KS, SID: one layer\); sco"
    ):
        layer_weights.weights_table(fbank)


def test_upstreams_of_other_size_are_not_mixed():
    larger = replace(HEAD, task="sid", weights=np.full(3, 1 / 3), path="sid/b.ckpt")
    with pytest.raises(
        ValueError, match=r"has 2 layers, sid/b\.ckpt 3: upstreams of different size"
    ):
        layer_weights.weights_table([HEAD, larger])


def test_two_upstreams_have_rows_of_their_own():
    untrained = replace(HEAD, upstream="mt4ssl_untrained")
    other = replace(HEAD, fingerprint="f1", ckpt="/d/best.pt")
    frame = layer_weights.weights_table([HEAD, untrained, other])
    assert set(frame.model) == {"c", "d", "untrained"}
    labels = layer_weights.weights_heat_map(frame).axes[0].get_yticklabels()
    assert [label.get_text() for label in labels] == [
        "KS, c",
        "KS, d",
        "KS, untrained",
    ]


def test_mean_norms_are_over_all_frames():
    waves = [np.zeros(400, np.float32), np.zeros(16_000, np.float32)]
    assert layer_weights.mean_norms(features(3.0), waves) == pytest.approx([5.0, 15.0])
    with pytest.raises(ValueError, match="no audio to take norms over"):
        layer_weights.mean_norms(features(3.0), [])


@pytest.fixture
def run(tmp_path):
    """A run whose heads listened to a small encoder; beside it, a folder of audio."""
    path = str(superb_data.save_checkpoint(tmp_path / "last.pt"))
    known = {"upstream_ckpt": path, "fingerprint": cache.fingerprint_of(path)}
    layers = superb_data.TINY.layers + 1
    jobs = {}
    for task, first in (("sid", 2.0), ("ks", -1.0)):
        ckpt = tmp_path / "run" / task / "lr_1" / "dev-best.ckpt"
        head_runs.head(ckpt, [first] + [0.0] * (layers - 1))
        jobs[f"{task}.test"] = [
            (f"{task}/lr_1", head_runs.leave_results(ckpt.parent, task, ckpt, **known))
        ]
    (tmp_path / "audio").mkdir()
    noise = np.random.default_rng(0).normal(0, 0.1, 8000).astype(np.float32)
    soundfile.write(tmp_path / "audio" / "a.wav", noise, 16_000)
    return head_runs.suite(tmp_path / "run", jobs)


def test_the_heat_map_and_its_numbers_are_written(run, tmp_path):
    frame = layer_weights.draw(run, tmp_path / "out", audio=tmp_path / "audio")
    assert list(frame.task.unique()) == ["ks", "sid"]  # in the papers' order
    for _, rows in frame.groupby("task"):
        assert rows.weight.sum() == pytest.approx(1) and rows.scaled.sum() == pytest.approx(1)
        expected = rows.weight * rows["norm"]
        assert np.allclose(rows.scaled, expected / expected.sum())
    read = pd.read_csv(tmp_path / "out" / "layer_weights.csv")
    assert np.allclose(read[["weight", "norm", "scaled"]], frame[["weight", "norm", "scaled"]])
    picture = matplotlib.image.imread(tmp_path / "out" / "layer_weights.png")
    assert picture.shape[0] > 200 and picture[..., :3].std() > 0.05
    assert (tmp_path / "out" / "layer_weights.svg").read_text().startswith("<?xml")
    assert frame.attrs["notes"] == ["norms: mean over 1 utterances"]


def test_norms_are_those_of_the_checkpoint_that_was_listened_to(run, tmp_path):
    moved = tmp_path / "moved.pt"
    (tmp_path / "last.pt").rename(moved)
    with pytest.raises(ValueError, match=r"last\.pt: no such checkpoint; say with --ckpt where it"):
        layer_weights.draw(run, audio=tmp_path / "audio")
    assert "norm" in layer_weights.draw(run, audio=tmp_path / "audio", ckpt=moved)
    assert (run / "layer_weights.csv").is_file()
    other = superb_data.save_checkpoint(tmp_path / "other.pt", seed=2)
    with pytest.raises(
        ValueError, match=r"other\.pt: fingerprint .*, but .*dev-best\.ckpt listened"
    ):
        layer_weights.draw(run, audio=tmp_path / "audio", ckpt=other)


def test_a_head_that_hears_normalised_layers_has_the_same_weights_when_scaled(run, tmp_path):
    for task in ("ks", "sid"):
        path = run / task / "lr_1" / "dev-best.ckpt"
        head_runs.head(
            path, [1.0, *[0.0] * superb_data.TINY.layers], upstream_feature_normalize=True
        )
    frame = layer_weights.draw(run, audio=tmp_path / "audio")
    assert np.allclose(frame.scaled, frame.weight)


def test_a_fine_tuned_upstream_has_no_norms(tmp_path):
    head = replace(HEAD, finetuned=True, path=tmp_path / "head.ckpt")
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / "audio" / "a.wav", np.zeros(8000), 16_000)
    with pytest.raises(ValueError, match=r"head\.ckpt: the upstream was trained with this head"):
        layer_weights.scaled(layer_weights.weights_table([head]), [head], tmp_path / "audio")


def test_many_layers_are_drawn_below_each_other():
    frame = layer_weights.weights_table([replace(HEAD, weights=np.full(25, 0.04))])
    frame["scaled"] = frame.weight
    figure = layer_weights.weights_heat_map(frame)
    first, second, _ = figure.axes
    assert figure.get_figwidth() <= plots.WIDTH
    assert first.get_position().y0 > second.get_position().y1
    assert len(first.texts) == 25


def test_a_row_per_task_with_the_largest_in_bold():
    rows = [("m", "ks", layer, weight) for layer, weight in enumerate((0.2, 0.5, 0.3))]
    frame = pd.DataFrame(rows, columns=["model", "task", "layer", "weight"])
    frame.attrs["notes"] = ["SID: fbank has a single layer"]
    assert layer_weights.markdown(frame).splitlines() == [
        "| weight of layer | 0 | 1 | 2 |",
        "| --- | ---: | ---: | ---: |",
        "| KS | 0.200 | **0.500** | 0.300 |",
        "",
        "SID: fbank has a single layer",
    ]
    several = pd.concat(
        [frame.assign(scaled=1 - frame["weight"]), frame.assign(model="n", scaled=0.1)]
    )
    several.attrs["notes"] = []
    text = layer_weights.markdown(several)
    assert "weight times the layer's norm" in text and "| KS (m) | **0.800** | 0.500 |" in text
