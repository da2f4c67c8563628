"""An encoder in a user's Python file: every broken one is named, and none runs unasked."""

import re

import numpy as np
import own_encoders
import pytest
import soundfile
import torch
from own_encoders import BROKEN, write

import mt4ssl
from mt4ssl_core.checkpoints import python_file
from mt4ssl_core.checkpoints.convert import export_hf, load_encoder
from mt4ssl_core.checkpoints.encoder_check import check, counts
from mt4ssl_core.checkpoints.fingerprints import checkpoint_fingerprint
from mt4ssl_core.labelling.extract import extract
from mt4ssl_core.labelling.kmeans_fit import fit_corpus
from mt4ssl_core.labelling.kmeans_label import label_corpus

RNG = np.random.default_rng(0)
MIXED = ("lengths = torch", "waves = [w - torch.cat(list(waves)).mean() for w in waves]\n        "
         "lengths = torch")  # fmt: skip


@pytest.fixture
def good(tmp_path):
    return write(tmp_path)


@pytest.fixture
def audio(tmp_path):
    (tmp_path / "audio").mkdir()
    for i, size in enumerate((16_000, 9_000, 12_345)):
        wave = 0.1 * RNG.standard_normal(size)
        soundfile.write(tmp_path / f"audio/{i}.wav", wave, 16_000, subtype="FLOAT")
    return tmp_path / "audio"


def test_it_is_an_encoder_as_any_other(good):
    encoder = mt4ssl.load(good)
    assert (encoder.name, encoder.layers, encoder.dim, encoder.frame_rate) == ("windows", 2, 24, 50)
    assert encoder.params == 1
    wave = (0.1 * RNG.standard_normal(16_000), 16_000)
    assert encoder.features(wave).shape == (2, 49, 24)
    assert encoder.features(wave, layers=1).abs().max() <= 1


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_one_is_named(tmp_path, what):
    old, new, says = BROKEN[what]
    named = write(tmp_path, old, new)
    with pytest.raises(ValueError, match=says) as caught:
        mt4ssl.load(named)
    assert str(caught.value).startswith(str(tmp_path / "my.py"))
    said = []
    assert not check(named, "cpu", said.append)
    assert said == [f"FAILED  can be used: {caught.value}"]


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ("gone.py:MyEncoder", r"gone\.py: no such file"),
        ("my.py", r"which class\? give FILE\.py:CLASS"),
    ],
)
def test_a_file_or_class_that_is_not_named_is_asked_for(good, tmp_path, monkeypatch, named, says):
    monkeypatch.chdir(tmp_path)
    for use in (mt4ssl.load, check, lambda name: extract(name, tmp_path, tmp_path / "out")):
        with pytest.raises(ValueError, match=says):
            use(named)


def test_a_file_runs_only_where_the_user_names_it(tmp_path):
    named = write(tmp_path, "import torch\n", "import torch\nopen(__file__ + '.ran', 'w')\n")
    for use in (load_encoder, checkpoint_fingerprint):
        with pytest.raises(ValueError, match="is code, and is run only where you name it"):
            use(named)
    assert not (tmp_path / "my.py.ran").exists()
    mt4ssl.load(named)
    assert (tmp_path / "my.py.ran").exists()


def test_a_changed_file_or_weight_is_another_encoder(tmp_path, good):
    python_file.allow(good)
    names = {checkpoint_fingerprint(good)}
    assert names == {checkpoint_fingerprint(good)} == {mt4ssl.load(good).fingerprint()}
    for old, new in [("1e-3", "1e-4"), ("tensor(3.0)", "tensor(2.0)")]:
        write(tmp_path, old, new)
        names |= {checkpoint_fingerprint(good)}
    assert len(names) == 3


def test_what_mixes_utterances_up_is_encoded_one_by_one(tmp_path):
    named = write(tmp_path, *MIXED)
    encoder = mt4ssl.load(named)
    waves = [(0.1 + RNG.standard_normal(size), 16_000) for size in (9_000, 16_000, 12_345)]
    for found, wave in zip(encoder.features(waves), waves, strict=True):
        torch.testing.assert_close(found, encoder.features(wave), rtol=0, atol=1e-6)
    said = []
    assert not check(named, "cpu", said.append)
    assert [line[:40] for line in said if line.startswith("FAILED")] == [
        "FAILED  an utterance is the same alone a"
    ]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("first = (", "padded = padded + torch.randn(())\n        first = (", "answers differ"),
        (".add(1e-3).log()", ".log()", "silence: .*layer 0 has NaN or infinity"),
        (
            own_encoders.RETURN,
            "return [first.double(), first.double()], lengths",
            "gives torch.flo",
        ),
        ('self.register_buffer("basis", ', "self.basis = (", r"self\.basis does not move"),
        (
            "lengths = torch",
            "waves = [w[: 600 if len(w) % 7 == 3 else None] for w in waves]\n"
            "        lengths = torch",
            "frames",
        ),
    ],
)
def test_the_check_finds_what_loading_does_not(tmp_path, old, new, says):
    named, said = write(tmp_path, old, new), []
    mt4ssl.load(named)
    assert not check(named, "cpu", said.append)
    failed = [line for line in said if line.startswith("FAILED")]
    assert any(re.search(says, line) for line in failed), failed


def test_waves_are_the_callers(tmp_path):
    encoder = mt4ssl.load(write(tmp_path, "padded = nn", "waves[0].mul_(2)\n        padded = nn"))
    wave = torch.ones(9_000)
    encoder.module.encode([wave])
    assert torch.equal(wave, torch.ones(9_000))


def test_a_good_one_passes(good):
    said = []
    assert check(good, "cpu", said.append)
    assert said[-1] == (
        "windows: 2 layers of 24, 50 frames per second, 1 parameters, on cpu; all checks passed"
    )
    assert {line[:8] for line in said[:-1]} == {"ok      "}
    tried = counts(320)
    assert (tried[0], tried[-1]) == (400, 64_000) and len(tried) > 40


def test_extract_and_kmeans_take_it(good, audio, tmp_path):
    assert extract(good, audio, tmp_path / "features") == 3
    found = mt4ssl.load(good).features(audio / "0.wav")
    np.testing.assert_allclose(np.load(tmp_path / "features/0.npy"), found, atol=1e-6)
    model, features = tmp_path / "km.safetensors", f"ckpt:{good}:1"
    fit_corpus(audio, model, features=features, k=3, progress=False)
    stats = label_corpus(model, audio, tmp_path / "labels", features=features, progress=False)
    assert stats["utterances"] == 3


def test_a_stored_kmeans_does_not_run_a_file(good, audio, tmp_path, monkeypatch):
    model = tmp_path / "km.safetensors"
    fit_corpus(audio, model, features=f"ckpt:{good}:1", k=3, progress=False)
    monkeypatch.setattr(python_file, "_allowed", set())  # another process
    with pytest.raises(ValueError, match="is code, and is run only where you name it"):
        label_corpus(model, audio, tmp_path / "labels", progress=False)
    with pytest.raises(ValueError, match=r"was fitted on ckpt:.*, not mfcc; leave it out"):
        label_corpus(model, audio, tmp_path / "labels", features="mfcc", progress=False)


def test_more_or_fewer_frames_than_labels_have(tmp_path, audio):
    longer = "waves):\n        waves = [nn.functional.pad(w, (0, 320)) for w in waves]\n"
    one_more = write(tmp_path, "waves):\n", longer)
    model, features = tmp_path / "km.safetensors", f"ckpt:{one_more}:1"
    fit_corpus(audio, model, features=features, k=3, progress=False, store=tmp_path / "store")
    label_corpus(model, audio, tmp_path / "l", features=features, progress=False,
                 store=tmp_path / "store")  # fmt: skip
    lines = (tmp_path / "l/train.km").read_text().splitlines()
    assert [len(line.split()) for line in lines] == [49, 27, 38]


def test_it_has_no_hugging_face_form_and_no_untrained_copy(good, tmp_path):
    python_file.allow(good)
    with pytest.raises(ValueError, match="a Hugging Face model already, or a Python file"):
        export_hf(good, tmp_path / "hf")
    with pytest.raises(ValueError, match="no untrained copy"):
        load_encoder(good, seed=0)
