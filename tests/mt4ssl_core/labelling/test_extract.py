"""Features on disk are those of each utterance alone, whatever the batch or an interruption."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from mt4ssl_core import config
from mt4ssl_core.checkpoints import checkpoint
from mt4ssl_core.checkpoints.checksums import Checksums
from mt4ssl_core.checkpoints.convert import load_encoder
from mt4ssl_core.config import EncoderConfig
from mt4ssl_core.labelling.extract import extract
from mt4ssl_core.model.encoder import Encoder

CONV = [[16, 10, 5]] + [[16, 3, 2]] * 4 + [[16, 2, 2]] * 2
SIZES = {"a/one.wav": 16_000, "a/two.flac": 9_000, "b/one.wav": 12_345}


@pytest.fixture
def audio(tmp_path) -> Path:
    rng = np.random.default_rng(0)
    for name, size in SIZES.items():
        path = tmp_path / "audio" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, 0.1 * rng.standard_normal(size), 16_000)
    return tmp_path / "audio"


def model(path: Path, **changes) -> Path:
    cfg = EncoderConfig(conv_layers=CONV, dim=32, layers=2, heads=4, ffn_dim=64, **changes)
    torch.manual_seed(0)
    whole = config.Config(data=config.DataConfig(train=""), encoder=cfg, targets={})
    parts = {"config": config.to_dict(whole), "encoder": Encoder(cfg).state_dict(), "targets": {}}
    checkpoint.save(path, {**parts, "optimizer": None, "scaler": None, "progress": {}})
    return path


@torch.inference_mode()
def alone(ckpt: Path, path: Path) -> torch.Tensor:
    wave = torch.from_numpy(soundfile.read(path, dtype="float32")[0])
    wave = torch.nn.functional.layer_norm(wave, wave.shape)[None]
    return torch.cat(load_encoder(ckpt)(wave, torch.tensor([wave.shape[1]])).hidden_states)


@pytest.mark.parametrize("isolate", [True, False])
def test_features_are_those_of_each_utterance_alone(tmp_path, audio, isolate):
    ckpt = model(tmp_path / "m.pt", isolate_padding=isolate)
    assert extract(ckpt, audio, tmp_path / "out") == 3
    for name, size in SIZES.items():
        features = np.load((tmp_path / "out" / name).with_suffix(".npy"))
        assert features.shape == (3, (size - 400) // 320 + 1, 32)
        assert features.dtype == np.float32
        np.testing.assert_allclose(features, alone(ckpt, audio / name), atol=1e-5)
    written = sorted(p.name for p in (tmp_path / "out").rglob("*") if p.is_file())
    assert written == ["SHA256SUMS", "features.json", "one.npy", "one.npy", "two.npy"]


def test_interrupted_extraction_goes_on(tmp_path, audio, capsys):
    ckpt, out = model(tmp_path / "m.pt"), tmp_path / "out"
    extract(ckpt, audio, out)
    (out / "a/two.npy").unlink()
    os.utime(out / "a/one.npy", (1, 1))
    assert extract(ckpt, audio, out) == 1
    assert (out / "a/one.npy").stat().st_mtime == 1  # left alone
    assert np.load(out / "a/two.npy").shape == (3, 27, 32)
    assert "2 of 3 files exist already" in capsys.readouterr().out


def test_single_files_chosen_layers_and_safetensors(tmp_path, audio):
    ckpt, out = model(tmp_path / "m.pt"), tmp_path / "out"
    files = [audio / "a/one.wav", audio / "a/two.flac"]
    assert extract(ckpt, files, out, layers=[2, 0], format="safetensors", batch_seconds=0.1) == 2
    features = load_file(out / "two.safetensors")["hidden_states"]
    expected = alone(ckpt, files[1])
    torch.testing.assert_close(features, expected[[2, 0]], rtol=0, atol=1e-5)


def test_bad_files_are_named_and_skipped_or_stop(tmp_path, audio, capsys):
    ckpt = model(tmp_path / "m.pt")
    (audio / "a/noise.wav").write_bytes(b"no audio")
    soundfile.write(audio / "nan.wav", np.full(8000, np.nan), 16_000, subtype="FLOAT")
    assert extract(ckpt, audio, tmp_path / "out", max_skipped=0.5) == 3
    said = capsys.readouterr().out
    assert "noise.wav" in said and "nan.wav: has NaN" in said and "2 files were skipped" in said
    with pytest.raises(ValueError, match=r"noise\.wav"):
        extract(ckpt, audio, tmp_path / "strict", strict=True)
    assert not (tmp_path / "strict").exists()
    with pytest.raises(ValueError, match=r"no usable audio .1 skipped, first .*noise\.wav"):
        extract(ckpt, audio / "a/noise.wav", tmp_path / "none")


def test_requests_that_cannot_be_met(tmp_path, audio):
    ckpt, out = model(tmp_path / "m.pt"), tmp_path / "out"
    with pytest.raises(ValueError, match=r"layers \[3\]: .*m\.pt has layers 0 to 2"):
        extract(ckpt, audio, out, layers=[3])
    with pytest.raises(ValueError, match="format 'csv': unknown; use npy or safetensors"):
        extract(ckpt, audio, out, format="csv")
    with pytest.raises(ValueError, match=r"both would be written to .*one\.npy; extract them to"):
        extract(ckpt, [audio / "a/one.wav", audio / "b/one.wav"], out)
    with pytest.raises(ValueError, match=r"gone\.wav"):
        extract(ckpt, audio / "gone.wav", out)
    assert not out.exists()
    with pytest.raises(ValueError, match=r"audio: holds other files and no features\.json; give"):
        extract(ckpt, audio, audio)
    extract(ckpt, audio / "a", out, layers=[1])
    with pytest.raises(ValueError, match=r"features\.json: features with another layers are"):
        extract(ckpt, audio, out)
    with pytest.raises(ValueError, match="another sha256"):
        extract(model(ckpt, normalize=False), audio, out, layers=[1])


def test_nothing_is_written_outside_the_folder(tmp_path, audio):
    ckpt = model(tmp_path / "m.pt")
    tsv = audio / "b" / "list.tsv"
    tsv.write_text(f"{audio / 'b'}\n../a/one.wav\t16000\n")
    with pytest.raises(ValueError, match=r"\.\./a/one\.wav: .* outside"):
        extract(ckpt, tsv, tmp_path / "out")


@pytest.mark.parametrize("format", ["npy", "safetensors"])
@pytest.mark.parametrize("damage", ["flip", "cut", "unlisted"])
def test_damaged_features_are_computed_again(tmp_path, audio, capsys, format, damage):
    ckpt, out = model(tmp_path / "m.pt"), tmp_path / "out"
    extract(ckpt, audio, out, format=format)
    path = out / f"a/one.{format}"
    whole = path.read_bytes()
    if damage == "flip":
        path.write_bytes(whole[:700] + bytes([whole[700] ^ 1]) + whole[701:])
    elif damage == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    else:
        lines = (out / "SHA256SUMS").read_text().splitlines(True)
        (out / "SHA256SUMS").write_text("".join(line for line in lines if "a/one" not in line))
    assert extract(ckpt, audio, out, format=format) == 1
    assert f"a/one.{format}: damaged, or without a line" in capsys.readouterr().out
    assert path.read_bytes() == whole
    check = ["sha256sum", "--strict", "-c", "SHA256SUMS"]
    assert not subprocess.run(check, cwd=out, capture_output=True).returncode


def test_checksums_of_odd_names(tmp_path):
    names = ["plain", "back\\slash", "line\nbreak", "both\\n\n", "ü ü"]
    sums = Checksums(tmp_path)
    for name in names:
        (tmp_path / name).write_text(name)
        sums.add(tmp_path / name, tmp_path / name)
    assert all(Checksums(tmp_path).whole(tmp_path / name) for name in names)
    check = ["sha256sum", "--strict", "-c", "SHA256SUMS"]
    assert not subprocess.run(check, cwd=tmp_path, capture_output=True).returncode
    (tmp_path / "plain").write_text("other")
    assert not Checksums(tmp_path).whole(tmp_path / "plain")


@pytest.mark.parametrize("bad", [2, 3])
def test_too_many_bad_files_are_an_error_in_the_end(tmp_path, audio, capsys, bad):
    ckpt, out = model(tmp_path / "m.pt"), tmp_path / "out"
    for number in range(bad):
        (audio / f"bad{number}.wav").write_bytes(b"")
    with pytest.raises(ValueError, match=rf"{bad} of {3 + bad} files could not be used"):
        extract(ckpt, audio, out)
    assert f"extract: 3 of {3 + bad} utterances are in {out}" in capsys.readouterr().out
    assert len(list(out.rglob("*.npy"))) == 3


def test_absolute_rows_and_long_names(tmp_path, audio):
    ckpt, name = model(tmp_path / "m.pt"), "ü" * 124 + ".wav"
    (audio / "a/one.wav").rename(audio / name)
    tsv = tmp_path / "x.tsv"
    rows = [f"{audio / name}\t16000\n", f"{audio}/b/one.wav\t12345\n"]
    tsv.write_text("/\n" + "".join(rows))
    assert extract(ckpt, tsv, tmp_path / "out", format="safetensors") == 2
    below = tmp_path / "out" / str(audio).lstrip("/")
    assert (below / "b/one.safetensors").is_file()
    assert len(list(below.glob("ü*-*.safetensors"))) == 1
    assert extract(ckpt, tsv, tmp_path / "out", format="safetensors") == 0


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("can't allocate memory: 9 bytes")])
def test_what_is_too_long_for_the_memory_is_skipped(tmp_path, audio, monkeypatch, capsys, error):
    real = Encoder.forward

    def short(self, waves, lengths):
        if len(waves) > 1 or lengths.max() == 12_345:
            raise error
        return real(self, waves, lengths)

    monkeypatch.setattr(Encoder, "forward", short)
    assert extract(model(tmp_path / "m.pt"), audio, tmp_path / "out") == 2
    assert "b/one.wav: out of memory over 1 s; cut it into pieces" in capsys.readouterr().out
    with pytest.raises(ValueError, match="out of memory"):
        extract(tmp_path / "m.pt", audio, tmp_path / "strict", strict=True)


@pytest.mark.parametrize("format", ["npy", "safetensors"])
def test_a_file_size_limit_is_one_line(tmp_path, audio, format):
    ckpt, out = model(tmp_path / "m.pt"), tmp_path / "out"
    command = ["extract", str(ckpt), str(audio), str(out), "--format", format]
    script = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000));"
    script += f"from mt4ssl_cli import main; sys.exit(main({command!r}))"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith(f"mt4ssl: error: {out}/")
    assert "cannot be written (File too large)" in ended.stderr
    assert not list(out.rglob(f"*.{format}")) and not list(out.rglob(".*"))
