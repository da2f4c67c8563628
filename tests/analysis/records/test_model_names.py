"""analysis/records/model_names.py."""

import pytest

from analysis.records import model_names


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("runs/first/last.pt", "first"),
        ("/models/hubert_base_ls960.pt", "hubert_base_ls960"),
        ("/models/wav2vec2.0-base", "wav2vec2.0-base"),
        ("demo_out/pretrain/last.pt", "demo_out"),
        ("runs/first/update_200.pt", "first/update_200"),
        ("study/both/seed2/best.pt", "both/seed2"),
        ("mine/checkpoints/checkpoint_best.pt", "mine"),
        ("mine/checkpoint_12_4000.pt", "mine"),
        ("hub/models--facebook--hubert/snapshots/" + "0a" * 20, "facebook/hubert"),
        ("/last.pt", None),
        (None, None),
    ],
)  # fmt: skip
def test_a_checkpoint_is_called_after_the_file_or_the_nearest_folder_that_says_something(
    path, name
):
    assert model_names.of_checkpoint(path) == name


def test_an_upstream_is_called_after_its_checkpoint():
    assert model_names.of_model("mt4ssl", "/models/hubert_base.pt") == "hubert_base"
    assert model_names.of_model("mt4ssl", "/mine/my_encoder.py:MyEncoder") == "MyEncoder"
    assert model_names.of_model("mt4ssl", "/last.pt") == "mt4ssl last"
    assert model_names.of_model("hubert_local", "/models/h.pt") == "hubert_local h"
    assert model_names.of_model("mt4ssl_untrained", "/models/h.pt") == "untrained"
    assert model_names.of_model("fbank", None) == "fbank"


def test_what_a_model_is_compared_with():
    kinds = [model_names.kind(u) for u in ("fbank_no_cmvn", "mt4ssl_untrained", "mt4ssl", "wavlm")]
    assert kinds == ["filter banks", "untrained", "", ""]


def test_names_that_were_asked_for():
    assert model_names.given(["a"], 2) == ["a", None]
    with pytest.raises(ValueError, match="--name c: there are 2 runs; give one name for each"):
        model_names.given(["a", "b", "c"], 2)
    for names in (["a", "a"], [" "]):
        with pytest.raises(ValueError, match="give each run a name of its own"):
            model_names.given(names, 2)
