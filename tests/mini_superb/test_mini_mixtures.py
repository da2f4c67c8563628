"""mini_superb's mixtures: SD, SE and SS in the layouts of the real corpora."""

import csv

import numpy as np
import pytest
import soundfile
import superb_data

import mini_superb
from mini_superb import se, ss
from upstream import corpora
from upstream.corpora.rttm import read_rttm
from upstream.door import tasks


@pytest.fixture(scope="module")
def root():
    for name in ("sd", "se", "ss"):
        superb_data.corpus(name)
    return superb_data.corpus("sd").parent


def read(path):
    wave, rate = soundfile.read(path)
    assert rate == 16000
    return wave


@pytest.mark.parametrize("code", ["sd", "se", "ss"])
def test_the_survey_finds_nothing_wrong(root, code):
    found = corpora.survey(code, root / code, tasks.header(code))
    assert found.problems == [] and all(found.counts.values())
    assert corpora.is_mini(root / code)


def test_the_same_seed_gives_the_same_mixtures(root, tmp_path):
    mini_superb.make(tmp_path / "two", ["sd", "se", "ss"], size="tiny", jobs=2, progress=False)
    for pattern in ("sd/**/mix_both/*.wav", "se/noisy_*/*.wav", "ss/**/mix_both/*.wav"):
        ours = sorted((tmp_path / "two").glob(pattern))
        assert ours
        for path in ours:
            theirs = root / path.relative_to(tmp_path / "two")
            assert path.read_bytes() == theirs.read_bytes()


def test_nothing_but_the_corpus_is_left(root):
    assert sorted(path.name for path in (root / "sd").iterdir()) == [
        "Libri2Mix", "metadata", "prepared",
    ]  # fmt: skip
    assert sorted(path.name for path in (root / "ss").iterdir()) == ["Libri2Mix", "prepared"]


def test_noisy_is_clean_plus_noise_at_the_corpus_ratios(root):
    for part, split in (("trainset_28spk", "train"), ("testset", "test")):
        folder = root / "se" / f"clean_{part}_wav_16k"
        for path in folder.glob("*.wav"):
            clean = read(path)
            noise = read(root / "se" / f"noisy_{part}_wav_16k" / path.name) - clean
            ratio = 10 * np.log10(np.mean(clean**2) / np.mean(noise**2))
            assert min(abs(ratio - allowed) for allowed in se.SNR_DB[split]) < 0.2
            assert (root / "se" / f"{part}_txt" / f"{path.stem}.txt").read_text().strip()


def test_separation_mixtures_are_sums_of_their_parts(root):
    base = root / ss.CORPUS
    for part in ("train-100", "dev", "test"):
        for path in (base / part / "mix_clean").glob("*.wav"):
            first, second, noise, clean, both, single = (
                read(base / part / condition / path.name)
                for condition in ("s1", "s2", "noise", "mix_clean", "mix_both", "mix_single")
            )
            step = 3 / 32768  # roundings of 16-bit files
            np.testing.assert_allclose(clean, first + second, atol=step)
            np.testing.assert_allclose(both, first + second + noise, atol=step)
            np.testing.assert_allclose(single, first + noise, atol=step)
            assert len({name.split("-")[0] for name in path.stem.split("_")}) == 2
        with open(base / "metadata" / f"mixture_{part}_mix_clean.csv") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == len(list((base / part / "s1").glob("*.wav")))
        assert all(int(row["length"]) == len(read(row["mixture_path"])) for row in rows)


def test_the_turns_are_where_the_speech_is(root):
    folder = root / "sd" / "prepared" / "sd" / "train"
    louder = []
    for name, turns in read_rttm(folder / "rttm").items():
        wave = read(root / "sd/Libri2Mix/wav16k/max/train-100/mix_both" / f"{name}.wav")
        speech = np.zeros(len(wave), bool)
        for _, start, end in turns:
            assert 0 <= start < end <= len(wave) / 16000
            speech[round(start * 16000) : round(end * 16000)] = True
        assert len({speaker for speaker, *_ in turns}) == 2
        if (~speech).any():
            louder.append(np.mean(wave[speech] ** 2) / np.mean(wave[~speech] ** 2))
    assert np.median(louder) > 5
