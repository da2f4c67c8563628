from pathlib import Path

import numpy as np
import pytest

from analysis.labelled_speech import alignments
from analysis.labelled_speech.alignments import Alignment, Interval
from analysis.labelled_speech.speech import LabelledUtterance
from analysis.probes import probe_tasks, probe_training
from analysis.probes.probe_data import Kept

WORDS, SIZE = ("go", "up", "bed"), 40_000


def speech(speakers=24, each=12, aligned=True):
    """Utterances of 2.5 s whose phones, keyword, speaker and gender are known."""
    found = []
    for s in range(speakers):
        for i in range(each):
            steps = np.random.default_rng([s, i]).integers(1, 3, 8)  # none twice in a row
            phones = ["abc"[place % 3] for place in np.cumsum(steps)]
            rows = [Interval(0.3 * k, 0.3 * (k + 1), p) for k, p in enumerate(phones)]
            alignment = Alignment(f"{s}-{i}", {"phones": tuple(rows)}, SIZE / 16_000, "made")
            found.append(
                LabelledUtterance(
                    f"{s}-{i}", Path(), SIZE, "test" if s % 3 == 0 else "train", f"s{s}",
                    "fm"[s % 2], WORDS[i % 3], tuple(phones), alignment if aligned else None,
                )
            )  # fmt: skip
    return found


def features(utterances, layers=2, seed=0):
    """Layer 1 shows all labels, layer 0 none of them."""
    rng, kept = np.random.default_rng(seed), Kept()
    speakers = sorted({item.speaker for item in utterances})
    voices = {name: rng.normal(size=12) for name in speakers}
    for item in utterances:
        frames = alignments.num_frames(item.samples)
        x = rng.normal(size=(layers, frames, 20))
        x[1, :, :12] = voices[item.speaker]
        x[1, :, 12:15] = np.eye(3)[WORDS.index(item.keyword)]
        x[1, :, 15] = item.gender == "f"
        labels = alignments.frame_labels(item.alignment, "phones", item.samples)
        for k, phone in enumerate("abc"):
            x[1, :, 16 + k] = labels == phone
        kept.frames[item.id] = x.astype(np.float16)
        kept.means[item.id] = x.mean(1).astype(np.float32)
    return kept


def test_a_distance_without_abx_is_refused():
    for aligned, names in ((True, ["keyword"]), (False, None), (False, ["abx_across", "keyword"])):
        chosen, lacking = probe_tasks.possible_probes(speech(aligned=aligned), names)
        with pytest.raises(ValueError, match=r"^--distance cosine: of abx_within and .* leave it"):
            probe_tasks.check_distance("cosine", chosen, lacking)
        probe_tasks.check_distance("angular", chosen, lacking)  # as it is without the option
    probe_tasks.check_distance("cosine", *probe_tasks.possible_probes(speech()))


@pytest.fixture(scope="module")
def rows():
    utterances = speech()
    chosen, left_out = probe_tasks.possible_probes(utterances)
    assert [task.name for task in chosen] == list(probe_tasks.DEFAULT) and not left_out
    found = probe_training.run_probes(chosen, features(utterances), layers=2, show=False)
    return {(row["measure"], row["layer"]): row for row in found}


@pytest.mark.parametrize("probe", probe_tasks.DEFAULT)
def test_the_layer_that_has_it_is_found(rows, probe):
    without, having = rows[probe, 0], rows[probe, 1]
    assert having["chosen"] and not without["chosen"]
    errors = having["direction"] == "min"
    assert having["value"] < without["value"] if errors else having["value"] > 0.9
    assert having["low"] <= having["value"] <= having["high"]


def test_numbers_of_utterances_are_found_where_they_are():
    utterances, rng = speech(), np.random.default_rng(0)
    kept, names = features(utterances), list(probe_tasks.VOICE)
    for item in utterances:
        numbers = {"pitch": rng.normal(7, 0.5), "energy": rng.normal(-30, 5)}
        kept.voices[item.id] = numbers | ({"pitch": np.nan} if rng.random() < 0.1 else {})
        kept.means[item.id][1, :2] = numbers["pitch"], numbers["energy"]
    chosen, _ = probe_tasks.possible_probes(utterances, names)
    found = probe_training.run_probes(chosen[:2], kept, layers=2, show=False)
    for row in found:
        assert row["chosen"] == (row["layer"] == 1) and row["unit"] == "R2"
        assert row["value"] > 0.99 if row["layer"] else row["value"] < 0.1
        assert row["low"] <= row["value"] <= row["high"]
    assert [task.name for task in chosen] == names
    failed = []
    probe_training.run_probes(chosen[2:], kept, layers=2, show=False, failed=failed)
    for item in utterances:
        kept.voices[item.id]["pitch"] = np.nan
    probe_training.run_probes(chosen[:1], kept, layers=2, show=False, failed=failed)
    assert failed == [
        "tempo: all utterances have one tempo; give others with --data",
        "pitch: 0 utterances to train on and 0 to test on have a pitch, 20 of each are needed; "
        "give more --data",
    ]


def test_without_information_a_probe_is_no_better_than_the_baseline(rows):
    for probe in ("phone", "keyword", "gender", "speaker"):
        row = rows[probe, 0]
        assert abs(row["value"] - row["baseline"]) < 0.2


def test_the_control_task_can_be_learnt_by_heart_from_a_voice(rows):
    """Layer 1 shows who speaks: a random keyword per speaker is as easy as the real one."""
    assert rows["keyword", 1]["control"] > 0.9 > 0.6 > rows["keyword", 0]["control"]
    assert rows["speaker", 1]["control"] is None


def test_all_but_speaker_are_tested_on_other_speakers():
    for task in probe_tasks.possible_probes(speech())[0]:
        same = {i.speaker for i in task.train} & {i.speaker for i in task.test}
        assert bool(same) == (task.name == "speaker")
        held_out = task.held_out()
        assert 0 < held_out.sum() < len(held_out)


def test_a_frame_has_the_phone_at_its_centre_and_the_one_before():
    (item, *_) = speech()
    found = probe_training.labelled([item])
    assert len(found.phones) == 120 and (found.utterance == 0).all()  # 0.0 to 2.4 s
    assert found.pairs[0] == f" {item.phones[0]}"
    assert found.pairs[20] == f"{item.phones[0]} {item.phones[1]}"


def test_silence_is_no_phone():
    rows = (Interval(0.0, 0.5, "sil"), Interval(0.5, 1.0, "AE1"), Interval(1.0, 1.5, "_"))
    alignment = Alignment("x", {"phones": rows}, SIZE / 16_000, "made")
    found = probe_training.labelled([LabelledUtterance("x", Path(), SIZE, alignment=alignment)])
    assert set(found.phones) == {"AE"} and set(found.pairs) == {" AE"}


def test_what_the_labels_do_not_allow():
    few = [item for item in speech(aligned=False) if item.keyword == "go"]
    chosen, left_out = probe_tasks.possible_probes(few)
    assert "keyword" not in {task.name for task in chosen}
    assert any(text.startswith("phone: 0 utterances have its labels") for text in left_out)
    with pytest.raises(ValueError, match=r"keyword: 96 utterances.*; give more --data or --min"):
        probe_tasks.possible_probes(few, ["keyword"])
    with pytest.raises(ValueError, match="--probes tone: unknown; choose from phone"):
        probe_tasks.possible_probes(few, ["tone"])
    with pytest.raises(ValueError, match="no probe is possible"):
        probe_tasks.possible_probes(few[:3])


def test_a_class_of_few_speakers_is_not_held_out():
    def of(name, gender, count):
        return [LabelledUtterance(f"{name}{i}", None, 16_000, speaker=name, gender=gender)
                for i in range(count)]  # fmt: skip

    for man in "abcdefgh":
        train = [*of(man, "m", 5), *of("x", "f", 30), *of("y", "f", 30)]
        held_out = probe_tasks.ProbeTask("gender", train, train).held_out()
        left = {item.gender for item, out in zip(train, held_out, strict=True) if not out}
        assert held_out.any() and left == {"m", "f"}


def test_minutes_bound_both_sides():
    for task in probe_tasks.possible_probes(speech(), minutes=2.0)[0]:
        spoken = [sum(i.samples for i in side) / 960_000 for side in (task.train, task.test)]
        assert sum(spoken) <= 4.0 and max(spoken) > 1.0
