import os
import pickle

import numpy as np
import pytest
import soundfile

from upstream.store.audio_sources import SOUNDFILE, SOX, TORCHAUDIO, Recent, Source

EFFECTS = (("channels", "1"), ("rate", "16000"), ("gain", "-3.0"))


@pytest.fixture
def path(tmp_path):
    wave = 0.1 * np.random.default_rng(0).standard_normal(5000)
    soundfile.write(tmp_path / "a.flac", wave, 16000)
    return str(tmp_path / "a.flac")


def test_each_reader(path):
    whole = soundfile.read(path, dtype="float32")[0]
    np.testing.assert_array_equal(Source(TORCHAUDIO, path).read(), whole, strict=True)
    part = Source(SOUNDFILE, path, (100, 900)).read()
    np.testing.assert_array_equal(part, whole[100:900], strict=True)
    quieter = Source(SOX, path, EFFECTS, (5, 50)).read()
    np.testing.assert_allclose(quieter, whole[5:50] * 10 ** (-3 / 20), atol=1e-7)


def test_identities(path, tmp_path, monkeypatch):
    sources = [
        Source(TORCHAUDIO, path),
        Source(TORCHAUDIO, path, (), (0, 9)),
        Source(TORCHAUDIO, path, (), (0, 8)),
        Source(SOX, path, EFFECTS),
        Source(SOX, path, EFFECTS[:2]),
        Source(SOUNDFILE, path, (0, None)),
        Source(SOUNDFILE, path, (0, 9)),
    ]
    found = [source.identity() for source in sources]
    assert len(set(found)) == len(sources) and {len(identity) for identity in found} == {16}
    assert [pickle.loads(pickle.dumps(source)).identity() for source in sources] == found
    monkeypatch.chdir(tmp_path)
    assert Source(TORCHAUDIO, "a.flac").identity() == found[0]
    os.utime(path, (1, 1))
    assert not {source.identity() for source in sources} & set(found)
    assert Source(TORCHAUDIO, str(tmp_path / "no")).identity() is None


def test_a_file_that_is_no_longer_the_kind_it_was(path):
    soundfile.write(path, np.zeros((100, 2)), 16000)
    with pytest.raises(ValueError, match=r"a\.flac: was mono audio.*start it again"):
        Source(TORCHAUDIO, path).read()


def test_only_so_much_is_kept():
    recent, arrays = Recent(1000), [np.zeros(100, np.float32) for _ in range(4)]
    recent.put(None, arrays[0])
    recent.put(b"big", np.zeros(300, np.float32))
    for number in (0, 1):
        recent.put(bytes([number]), arrays[number])
    assert recent.get(b"\0") is arrays[0] and recent.get(b"big") is None
    for number in (2, 3):
        recent.put(bytes([number]), arrays[number])
    assert [recent.get(bytes([n])) is not None for n in range(4)] == [False, False, True, True]
