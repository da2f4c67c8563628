"""The front from Python: what it imports, and features that are those of `extract`."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import own_encoders
import pytest
import soundfile
import torch
import transformers
from superb_data import TINY, save_checkpoint, tiny_checkpoint

import mt4ssl
from mt4ssl_core.checkpoints.convert import export_hf
from mt4ssl_core.labelling.extract import extract

FAIRSEQ = Path(__file__).parents[1] / "fixtures" / "reference" / "fairseq_checkpoint_after5.pt"
KINDS = ["ours", "fairseq", "hugging face", "one by one", "WavLM", "w2v-BERT", "FILE.py:CLASS"]
SMALL = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
    "conv_dim": [16] * 7, "num_conv_pos_embedding_groups": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    together = {"isolate_padding": False}
    torch.manual_seed(0)
    transformers.WavLMModel(transformers.WavLMConfig(**SMALL)).save_pretrained(folder / "wavlm")
    bert = transformers.Wav2Vec2BertConfig(**SMALL)
    transformers.Wav2Vec2BertModel(bert).save_pretrained(folder / "bert")
    transformers.SeamlessM4TFeatureExtractor().save_pretrained(folder / "bert")
    return {
        "ours": tiny_checkpoint(),
        "fairseq": FAIRSEQ,
        "hugging face": export_hf(FAIRSEQ, folder / "hf"),
        "WavLM": folder / "wavlm",
        "w2v-BERT": folder / "bert",
        "FILE.py:CLASS": own_encoders.write(folder),
        "one by one": save_checkpoint(folder / "m.pt", type(TINY)(**{**vars(TINY), **together})),
    }


@pytest.fixture(scope="module")
def encoder():
    return mt4ssl.load(tiny_checkpoint())


@pytest.fixture(scope="module")
def audio(tmp_path_factory):
    """Files of several rates, one with two channels."""
    folder = tmp_path_factory.mktemp("audio")
    noise = np.random.default_rng(0).normal(0, 0.1, (20_000, 2))
    soundfile.write(folder / "a.wav", noise[:16_000, 0], 16_000, subtype="FLOAT")
    soundfile.write(folder / "b.flac", noise[:9_000], 8_000)
    soundfile.write(folder / "c.wav", noise[:12_345, 1], 22_050)
    return sorted(folder.iterdir())


def test_nothing_heavy_is_imported_before_it_is_used():
    seen = "import sys, mt4ssl; print([m for m in ('torch', 'numpy', 's3prl') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", seen], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert set(mt4ssl.__all__) <= set(dir(mt4ssl))
    with pytest.raises(AttributeError, match=r"no 'lod'; it has .*load"):
        mt4ssl.lod  # noqa: B018


def test_an_encoder_says_what_it_is(encoder):
    assert (encoder.layers, encoder.dim, encoder.frame_rate) == (TINY.layers + 1, TINY.dim, 50)
    assert encoder.name.endswith("/tiny.pt") and encoder.name in repr(encoder)
    assert encoder.params == sum(p.numel() for p in encoder.module.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_features_are_what_extract_writes(kind, checkpoints, audio, tmp_path):
    extract(checkpoints[kind], audio, tmp_path)
    for path, found in zip(audio, mt4ssl.load(checkpoints[kind]).features(audio), strict=True):
        written = np.load(tmp_path / f"{path.stem}.npy")
        np.testing.assert_allclose(found.numpy(), written, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_an_utterance_is_the_same_alone_and_in_a_batch(kind, checkpoints, audio):
    encoder = mt4ssl.load(checkpoints[kind])
    together = encoder.features(audio)
    for path, found in zip(audio, together, strict=True):
        torch.testing.assert_close(found, encoder.features(path), rtol=0, atol=1e-5)


def test_files_arrays_tensors_and_pairs_are_the_same(encoder, audio):
    for path in audio:
        samples, rate = soundfile.read(path)
        whole = encoder.features(path, layers=2)  # (T, D)
        given = [(samples, rate), (torch.from_numpy(samples.T.copy()), rate)]
        for found in [
            *encoder.features(given, layers=2),
            encoder.features(samples, layers=2, rate=rate),
            encoder.features(samples.astype(np.float32), layers=[2], rate=rate)[0],
        ]:
            torch.testing.assert_close(found, whole, rtol=0, atol=1e-5)
    coarse = (samples * 2**15).round().astype(np.int16)
    assert (encoder.features((coarse, rate), layers=2) - whole).abs().max() < 0.01


def test_layers_are_chosen(encoder, audio):
    everything = encoder.features(audio[0])
    assert everything.shape == (3, 49, TINY.dim) and everything.dtype == torch.float32
    assert torch.equal(encoder.features(audio[0], layers=1), everything[1])
    assert torch.equal(encoder.features(audio[0], layers=[2, 0]), everything[[2, 0]])
    torch.nn.Linear(TINY.dim, 2)(everything).sum().backward()  # can be learned from


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"audio": "gone.wav"}, "gone.wav: no such file"),
        ({"audio": np.zeros(9000)}, "unknown rate; give it, as in rate=16000"),
        ({"audio": np.zeros(100), "rate": 16_000}, "audio 1 of 1: shorter than one frame"),
        (
            {"audio": [(np.zeros(9000), 16_000), (np.full(900, np.nan), 16_000)]},
            "audio 2 of 2: has",
        ),
        ({"audio": (np.zeros(9000), 16)}, "a sampling rate of 16 Hz"),
        ({"audio": np.zeros((300, 200)), "rate": 16_000}, r"shape \(300, 200\); give samples"),
        ({"audio": np.zeros(9000, complex), "rate": 16_000}, "of complex128; give float"),
        ({"audio": [0.1, 0.2]}, "a float; give a path, or an array"),
        ({"audio": []}, "no audio; give"),
        ({"audio": (np.zeros(900), 16_000), "layers": 3}, "layers 0 to 2; choose"),
        ({"audio": (np.zeros(900), 16_000), "layers": "last"}, "layers last: .* or all"),
    ],
)
def test_what_cannot_be_is_named(encoder, given, says):
    with pytest.raises(ValueError, match=says):
        encoder.features(**given)


def test_a_checkpoint_or_device_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"gone\.pt: no such checkpoint"):
        mt4ssl.load("gone.pt")
    with pytest.raises(ValueError, match="tpu"):
        mt4ssl.load(tiny_checkpoint(), device="tpu")


def test_torch_hub_and_the_folder_form(tmp_path, encoder, audio):
    root = str(Path(mt4ssl.__file__).parents[1])
    found = torch.hub.load(root, "mt4ssl", str(tiny_checkpoint()), source="local")
    assert repr(found) == repr(encoder)
    copy = mt4ssl.Encoder.from_pretrained(encoder.save_pretrained(tmp_path / "hf"))
    assert {path.name for path in (tmp_path / "hf").iterdir()} == {
        *("README.md", "config.json", "model.safetensors", "preprocessor_config.json"),
    }
    torch.testing.assert_close(copy.features(audio[0]), encoder.features(audio[0]))


def test_an_upstream_of_s3prls(audio):
    encoder = mt4ssl.load("fbank")
    assert (encoder.name, encoder.layers, encoder.dim, encoder.frame_rate) == ("fbank", 1, 240, 100)
    together = encoder.features(audio, layers=0)
    for path, found in zip(audio, together, strict=True):
        torch.testing.assert_close(found, encoder.features(path)[0])
    assert together[0].shape == (98, 240)
