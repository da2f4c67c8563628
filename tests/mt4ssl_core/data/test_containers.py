"""Audio whose header and bytes disagree, and files that are none."""

import os
import socket
import struct

import numpy as np
import pytest
import soundfile

from mt4ssl_core.data import ffmpeg_audio
from mt4ssl_core.data.audio import load_wave, read_header

NOISE = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
FORMATS = {
    "wav": ("WAV", "PCM_16"), "f.wav": ("WAV", "FLOAT"), "x.wav": ("WAVEX", "PCM_24"),
    "ima.wav": ("WAV", "IMA_ADPCM"), "aiff": ("AIFF", "PCM_16"), "au": ("AU", "PCM_16"),
    "w64": ("W64", "PCM_16"), "rf64": ("RF64", "PCM_16"), "sph": ("NIST", "PCM_16"),
    "voc": ("VOC", "PCM_16"), "caf": ("CAF", "PCM_16"), "flac": ("FLAC", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"), "ogg": ("OGG", "VORBIS"), "opus": ("OGG", "OPUS"),
}  # fmt: skip


def write(folder, suffix="wav"):
    path = folder / f"a.{suffix}"
    container, subtype = FORMATS[suffix]
    soundfile.write(path, NOISE, 16_000, format=container, subtype=subtype)
    return path


def changed(path, *changes):
    """Overwrite some bytes: (place, bytes)."""
    data = bytearray(path.read_bytes())
    for place, new in changes:
        data[place : place + len(new)] = new
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("suffix", FORMATS)
def test_whole_files_pass_and_halves_do_not(tmp_path, suffix):
    path = write(tmp_path, suffix)
    assert abs(read_header(path)[2] - 16_000) < 1_200 and abs(len(load_wave(path)) - 16_000) < 1_200
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(
        ValueError, match=r"truncated|lost sync|malformed|holds no samples"
    ) as caught:
        load_wave(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("claim", [0, 0xFFFFFFFF, 0x7FFFF000, 0x80000000, 0xFFFFFFDB])
@pytest.mark.parametrize("whole", [36, 0, 0xFFFFFFFF])
def test_a_wav_from_a_pipe_is_read_to_its_end(tmp_path, claim, whole):
    sizes = (4, struct.pack("<I", whole)), (40, struct.pack("<I", claim))
    path = changed(write(tmp_path), *sizes)
    assert read_header(path) == (16_000, 1, 16_000)
    np.testing.assert_allclose(load_wave(path), NOISE, atol=1e-4)


@pytest.mark.parametrize("cut", [False, True])
def test_a_flac_from_a_pipe_is_read_to_its_end(tmp_path, cut):
    path = write(tmp_path, "flac")
    path = changed(path, (21, bytes([path.read_bytes()[21] & 0xF0])), (22, b"\0" * 4))
    if not cut:
        assert read_header(path) == (16_000, 1, 16_000)
        np.testing.assert_allclose(load_wave(path), NOISE, atol=1e-4)
        return
    path.write_bytes(path.read_bytes()[:9_000])
    with pytest.raises(ValueError, match=r"a\.flac: cannot be read"):
        read_header(path)


@pytest.mark.parametrize(
    ("place", "new", "message"),
    [
        (40, struct.pack("<I", 4_000_000_000), "truncated: 32,000 of 4,000,000,000 bytes"),
        (24, struct.pack("<I", 1), "a sampling rate of 1 Hz; expected 4,000 to 768,000"),
        (24, struct.pack("<I", 2_000_000_000), "2,000,000,000 Hz|cannot be read"),
        (22, struct.pack("<HIIH", 1000, 16_000, 32_000_000, 2000), "1000 channels; expected at"),
        (22, struct.pack("<H", 0), "cannot be read"),
    ],
)
def test_absurd_claims_of_a_wav(tmp_path, place, new, message):
    path = changed(write(tmp_path), (place, new))
    for read in (read_header, load_wave):
        with pytest.raises(ValueError, match=message) as caught:
            read(path)
        assert str(path) in str(caught.value)


def test_absurd_length_of_a_flac(tmp_path):
    path = changed(write(tmp_path, "flac"), (22, b"\xff" * 4))
    with pytest.raises(ValueError, match=r"h are claimed, and one utterance may have 4 h"):
        read_header(path)


def pipe(path):
    os.mkfifo(path)


def device(path):
    path.symlink_to("/dev/zero")


def bound(path):
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def loop(path):
    path.symlink_to(path.name)


def nothing(path):
    path.symlink_to("nowhere.wav")


@pytest.mark.parametrize(
    ("make", "message"),
    [(pipe, "FIFO"), (device, "a device"), (bound, "a socket"), (loop, "symbolic"),
     (nothing, "a link to nothing")],
)  # fmt: skip
def test_what_is_no_file_is_not_waited_for(tmp_path, monkeypatch, make, message):
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    make(tmp_path.__class__("x.wav"))
    for read in (read_header, load_wave):
        with pytest.raises(ValueError, match=message):
            read("x.wav")


def test_a_name_that_is_no_text(tmp_path):
    path = write(tmp_path).rename(tmp_path / os.fsdecode(b"bad\xff.wav"))
    assert len(load_wave(path)) == 16_000


def test_short_memory_is_the_files_fault(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise MemoryError

    monkeypatch.setattr(soundfile.SoundFile, "read", full)
    with pytest.raises(ValueError, match=r"a\.wav: cannot be read \(out of memory\)"):
        load_wave(write(tmp_path))


class Decoder:
    """What we use of torchcodec."""

    def __init__(self, path):
        self.metadata = type("M", (), {"duration_seconds_from_header": 1.0})

    def get_all_samples(self):
        import torch

        samples = torch.from_numpy(np.stack([NOISE, -NOISE / 2]))
        return type("S", (), {"data": samples, "sample_rate": 16_000})


@pytest.mark.parametrize("suffix", ["m4a", "webm", "amr"])
def test_other_codecs_need_torchcodec(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b"\0\0\0 ftypM4A ")
    monkeypatch.setattr(ffmpeg_audio, "available", lambda: False)
    with pytest.raises(ValueError, match=rf"does not decode \.{suffix}: install torchcodec"):
        load_wave(path)
    monkeypatch.setattr(ffmpeg_audio, "available", lambda: True)
    module = type("D", (), {"AudioDecoder": Decoder})
    monkeypatch.setattr(ffmpeg_audio.importlib, "import_module", lambda name: module)
    assert read_header(path) == (16_000, 2, 16_000)
    np.testing.assert_allclose(load_wave(path), NOISE / 4, atol=1e-6)
