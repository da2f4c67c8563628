"""fairseq's names, supplied for speech translation only."""

import importlib
import importlib.util
import subprocess
import sys
import textwrap

import pytest
import torch

from upstream import compat
from upstream.compat import fairseq_names


@pytest.fixture
def names():
    before = {n: m for n, m in sys.modules.items() if n.split(".")[0] == "fairseq"}
    for name in before:
        del sys.modules[name]
    yield
    for name in [n for n in sys.modules if n.split(".")[0] == "fairseq"]:
        del sys.modules[name]
    sys.modules.update(before)


def test_the_modules_are_found_under_every_name(names):
    assert fairseq_names.install() and not fairseq_names.install()
    fairseq = importlib.import_module("fairseq")
    assert fairseq.data.data_utils.collate_tokens([torch.tensor([5, 2])], 1, 2).tolist() == [[5, 2]]
    assert "s2t_transformer" in fairseq.models.ARCH_CONFIG_REGISTRY
    assert importlib.util.find_spec("fairseq") is not None
    assert importlib.import_module("fairseq.tasks.speech_to_text").SpeechToTextTask


def test_a_real_fairseq_is_left_alone(names, tmp_path, monkeypatch):
    (tmp_path / "fairseq").mkdir()
    (tmp_path / "fairseq" / "__init__.py").write_text("real = True\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert not fairseq_names.install()
    assert importlib.import_module("fairseq").real


def test_features_instead_of_audio_are_refused(names):
    fairseq_names.install()
    audio = importlib.import_module("fairseq.data.audio")
    with pytest.raises(ValueError, match="get_fbank: reading features instead of audio"):
        audio.audio_utils.get_fbank("a.wav")
    transforms = audio.feature_transforms.CompositeAudioFeatureTransform
    assert transforms.from_config_dict({"transforms": None}) is None
    with pytest.raises(ValueError, match="transforms"):
        transforms.from_config_dict({"transforms": ["specaugment"]})


def test_moving_a_batch():
    batch = {"a": torch.ones(2), "b": {"c": [torch.ones(1)], "d": (3, "x")}, "e": None}
    moved = fairseq_names.move_to_cuda(batch, torch.device("meta"))
    assert moved["a"].is_meta and moved["b"]["c"][0].is_meta and moved["b"]["d"] == (3, "x")
    assert moved["e"] is None and not batch["a"].is_meta


def test_no_other_task_gets_them():
    assert compat.TASKS["speech_translation"] == ("fairseq_names",)
    others = {folder: names for folder, names in compat.TASKS.items() if "fairseq_names" in names}
    assert list(others) == ["speech_translation"]


@pytest.mark.slow
def test_s3prls_expert_is_importable():
    code = """
        from upstream import compat
        compat.install_for("speech_translation")
        from s3prl.downstream.speech_translation import expert
        assert expert.fairseq.data.Dictionary().pad() == 1
        ours = expert.fairseq.tasks.speech_to_text.SpeechToTextTask
        assert issubclass(expert.S3prl_SpeechToTextTask, ours)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=300)
