"""analysis/probes/splits.py."""

from analysis.labelled_speech.speech import LabelledUtterance
from analysis.probes import splits


def people(count, each, split=None, samples=48_000):
    return [
        LabelledUtterance(f"{s}-{i}", None, samples, split, speaker=f"s{s}")
        for s in range(count)
        for i in range(each)
    ]


def test_speakers_of_the_test_are_not_trained_on():
    train, test = splits.by_speaker(people(100, 5))
    assert not {i.speaker for i in train} & {i.speaker for i in test}
    assert 15 < len(test) / 5 < 35 and len(train) + len(test) == 500
    given = [*people(2, 5, "test"), *people(4, 5, "train")]
    train, test = splits.by_speaker(given)
    assert len(test) == 10 and {i.speaker for i in train} == {"s2", "s3"}


def test_speakers_are_learnt_from_other_utterances_of_theirs():
    train, test = splits.same_speakers(people(30, 12))
    assert {i.speaker for i in test} <= {i.speaker for i in train} and len(train) > 2 * len(test)
    assert not {i.id for i in train} & {i.id for i in test}
    others = [LabelledUtterance("o", None, 48_000, "train", speaker="o")]
    train, test = splits.same_speakers([*people(5, 8, "test"), *others])
    assert {i.speaker for i in train} == {f"s{s}" for s in range(5)}


def test_a_split_with_the_same_speakers_is_kept():
    train = people(5, 8, "train")
    test = [LabelledUtterance("t", None, 48_000, "test", speaker="s1")]
    assert splits.same_speakers([*train, *test]) == (train, test)


def test_single_words_and_rare_speakers_are_not_asked_for_their_speaker():
    assert splits.same_speakers(people(5, 8, samples=16_000)) == ([], [])
    assert splits.same_speakers(people(5, 3)) == ([], [])


def test_minutes_are_drawn_the_same_way_each_time():
    all_of_them = people(20, 10)
    drawn = splits.some(all_of_them, 2.0)
    assert len(drawn) == 40 and drawn == splits.some(all_of_them[::-1], 2.0)
    assert set(splits.some(all_of_them, 1.0)) < set(drawn)


def test_many_speakers_rather_than_much_of_a_few():
    drawn = splits.some_speakers(people(50, 100), 20.0)  # five minutes of each
    assert len({i.speaker for i in drawn}) == 20 and len(drawn) == 20 * 20
    assert drawn == splits.some_speakers(people(50, 100)[::-1], 20.0)
    assert len(splits.some_speakers(people(3, 5), 20.0)) == 15
