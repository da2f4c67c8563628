import numpy as np
import soundfile
from superb_data import corpus

from mini_superb import vc
from upstream.corpora import vc as official
from upstream.scores.vc import F0_RANGES


def test_speakers_and_sentences_are_those_of_the_challenge():
    base = corpus("vc") / vc.CORPUS
    files = {path.name: {f.stem for f in path.iterdir()} for path in base.glob("[ST]E[FM]?")}
    assert set(files) == {*official.SOURCES, *official.TARGETS}
    for speaker in official.TARGETS:
        assert files[speaker] == {"E10060", "E10070", "E20001", "E20002", "E30001"}
    for speaker in official.SOURCES:
        assert files[speaker] == {"E10060", "E30001"}
    prompts = (base / "prompts" / "Eng_transcriptions.txt").read_text().splitlines()
    assert {f"E{line.split()[0]}" for line in prompts} == files["TEF1"]
    for path in base.glob("*/*.wav"):
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (24000, 1, "PCM_16")


def test_what_was_16_khz_is_resampled_whole():
    path = next((corpus("vc") / vc.CORPUS / "TEF1").glob("*.wav"))
    wave, rate = soundfile.read(path)
    power = np.abs(np.fft.rfft(wave)) ** 2
    hertz = np.fft.rfftfreq(len(wave), 1 / rate)
    assert power[hertz > 8300].sum() < 1e-4 * power.sum()
    assert 1.0 < len(wave) / rate < 8.0
    assert power[hertz < 4000].sum() > 0.9 * power.sum()


def test_the_test_sentences_are_parallel_and_not_trained_on():
    clips = vc.plan(0, "default").clips
    said = {}
    for clip in clips:
        said.setdefault(clip.path.rsplit("/", 1)[1], set()).add(clip.text)
    assert all(len(texts) == 1 for texts in said.values())
    spoken = {
        name: {c.path[-10:-4] for c in clips if c.speaker.name == name} for name in vc.TARGETS
    }
    for numbers in spoken.values():
        for split, known in official.SPLITS.items():
            assert len(numbers & set(known)) == {"train": 40, "dev": 10, "test": 5}[split]


def test_a_targets_pitch_is_where_the_evaluation_looks():
    import warnings

    from upstream.scores import world

    world._pyworld()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import pyworld
    for speaker in official.TARGETS:
        wave, rate = soundfile.read(corpus("vc") / vc.CORPUS / speaker / "E30001.wav")
        f0, _ = pyworld.dio(wave, rate, f0_floor=40, f0_ceil=600)
        low, high = F0_RANGES[speaker]
        assert low < np.median(f0[f0 > 0]) < high, speaker
