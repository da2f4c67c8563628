"""The synthesised corpora of speaker verification and query-by-example search."""

from collections import Counter, defaultdict

import pytest
import soundfile
from superb_data import corpus

from mini_superb import asv, qbe
from mini_superb.corpus import TASKS

pytest.importorskip("espeakng_loader")


# ---------------------------------------------------------------- speaker verification


def test_people_of_the_two_folders_differ_and_every_trial_can_be_heard():
    root = corpus("asv")
    wav = root / "VoxCeleb1"
    dev, test = ({path.name for path in (wav / part / "wav").iterdir()} for part in ("dev", "test"))
    assert (len(dev), len(test)) == (4, 3)
    assert not dev & test
    trials = [line.split() for line in (root / "voxceleb1_test_v2.txt").read_text().splitlines()]
    for label, one, two in trials:
        assert (wav / "test" / "wav" / one).is_file() and (wav / "test" / "wav" / two).is_file()
        assert one != two
        assert (label == "1") == (one.split("/")[0] == two.split("/")[0])
    assert len({tuple(trial) for trial in trials}) == len(trials)


def test_lengths_are_over_two_seconds_and_one_at_least_over_eight():
    seconds = [
        soundfile.info(path).duration for path in (corpus("asv") / "VoxCeleb1").rglob("*.wav")
    ]
    assert len(seconds) == 4 * (4 + 3)
    assert min(seconds) > 2 and max(seconds) > 8


@pytest.mark.parametrize("size", ["tiny", "default"])
def test_trials_are_balanced(size):
    lines = asv.plan(0, size).texts[asv.TRIALS].splitlines()
    kinds = Counter(line[0] for line in lines)
    assert 0.7 < kinds["0"] / kinds["1"] < 1.5


# ---------------------------------------------------------------- query by example


def lists(root):
    base = root / "quesst14Database"
    for name in ("utterances", "dev", "eval"):
        for line in (base / "scoring" / f"language_key_{name}.lst").read_text().splitlines():
            path, language = line.split()
            yield name, base / path.removeprefix("quesst14Database/"), language


def test_every_listed_file_is_there_at_8_khz_in_three_languages():
    languages = defaultdict(Counter)
    for name, path, language in lists(corpus("qbe")):
        header = soundfile.info(path)
        assert (header.samplerate, header.channels, header.subtype) == (8000, 1, "PCM_16")
        languages[name][language] += 1
    assert languages["utterances"] == {"nnenglish": 14, "albanian": 1, "czech": 1}
    assert languages["dev"] == languages["eval"] == {"nnenglish": 3, "albanian": 1, "czech": 1}


@pytest.mark.parametrize("size", sorted(qbe.COUNTS))
def test_queries_occur_in_as_many_recordings_as_planned(size):
    plan, counts = qbe.plan(0, size), qbe.COUNTS[size]
    said = {
        split: [c for c in plan.clips if c.split == split] for split in ("audio", "dev", "eval")
    }
    terms = Counter(clip.text for clip in said["dev"] + said["eval"])
    english = [text for text in terms if " ".join(text.split()[1:]) in qbe.OBJECTS]
    assert len(english) == 2 * counts.queries
    for term in english:
        assert sum(f" {term} " in f" {c.text} " for c in said["audio"]) == counts.occurrences
    voices = {split: {clip.speaker.name for clip in clips} for split, clips in said.items()}
    assert not voices["audio"] & (voices["dev"] | voices["eval"])


def test_both_are_registered_in_the_order_of_the_paper():
    order = [name for name in TASKS if name in ("ks", "qbe", "sid", "asv")]
    assert order == ["ks", "qbe", "sid", "asv"]
