import random

import compared_runs as runs
import numpy as np
import pytest

from upstream.scores import items, qbe, slots

KS = {"right-387abf4a_nohash_0.wav": ("right", "right"), "up-c7_nohash_1.wav": ("stop", "up"),
      "_silence_-1.wav": ("_silence_", "_silence_")}  # fmt: skip


def test_items_stand_in_the_order_of_their_names(tmp_path):
    runs.labels(tmp_path, KS)
    found = items.read("ks", "acc", "test", tmp_path, runs.config_of("ks"))
    assert found.names == sorted(KS)
    assert found.values.tolist() == [1, 1, 0]
    assert found.sizes.tolist() == [1, 1, 1]
    said = items.speakers("ks", found.names, {})
    assert said == [("_silence_-1.wav",), ("387abf4a",), ("c7",)]


@pytest.mark.parametrize(
    ("task", "name", "speaker"),
    [("sid", "id10001-dEogPtOnASI-00001", "id10001"), ("pr", "2466-220322-0008", "2466"),
     ("asr", "2466-220322-0008", "2466"), ("sf", "Brian-snips-test-12", "Brian"),
     ("er", "Ses01F_impro01_M003", "Ses01M")],
)  # fmt: skip
def test_names_say_who_speaks(task, name, speaker):
    assert items.speakers(task, [name], {}) == [(speaker,)]


def test_a_trial_has_two_speakers(tmp_path):
    pair = "id10270-x_-dEogPtOn-00001_id10271--_EogPtOnAS-00002"
    for name, values in (("predict", (0.25, 0.5)), ("truth", (0, 1))):
        lines = [f"{pair} {value}\n" for value in values]  # listed twice
        (tmp_path / f"test_{name}.txt").write_text("".join(lines))
    found = items.read("asv", "eer", "test", tmp_path, {})
    assert found.names == [pair, f"{pair}#2"]
    assert found.values.tolist() == [0.25, 0.5]
    assert found.sizes is None
    assert items.speakers("asv", found.names, {}) == [("id10270", "id10271")] * 2


def test_the_speakers_of_intents_stand_in_the_corpus(tmp_path):
    (tmp_path / "data").mkdir()
    table = tmp_path / "data" / "test_data.csv"
    table.write_text("path,speakerId\nwavs/speakers/a/u1.wav,a\nwavs/speakers/b/u2.wav,b\n")
    config = {"downstream_expert": {"datarc": {"file_path": str(tmp_path)}}}
    assert items.speakers("ic", ["u1", "u2"], config) == [("a",), ("b",)]
    assert items.speakers("ic", ["u1", "u3"], config) is None


def test_phones_and_empty_hypotheses(tmp_path):
    runs.texts(tmp_path, {"1-2-3": ("", "AH0 B K"), "1-2-4": ("DH AH0", "DH AH0 S")})
    found = items.read("pr", "per", "test", tmp_path, {})
    assert (found.values.tolist(), found.sizes.tolist()) == ([3, 1], [3, 3])


def test_missing_and_odd_files_are_named(tmp_path):
    config = runs.config_of("ks")
    with pytest.raises(ValueError, match=r"test_predict\.txt: no such file; test again"):
        items.read("ks", "acc", "test", tmp_path, config)
    runs.labels(tmp_path, KS)
    (tmp_path / "test_truth.txt").write_text("other x\n")
    with pytest.raises(ValueError, match="is only in one of them; test again"):
        items.read("ks", "acc", "test", tmp_path, config)
    (tmp_path / "test_truth.txt").write_text("")
    with pytest.raises(ValueError, match="nothing in it"):
        items.read("ks", "acc", "test", tmp_path, config)
    (tmp_path / "test_predict.txt").write_text("a nan\nb 0.5\n")
    (tmp_path / "test_truth.txt").write_text("a 1\nb 0\n")
    with pytest.raises(ValueError, match="expected finite scores"):
        items.read("asv", "eer", "test", tmp_path, {})


def sentence(generator):
    words = [generator.choice(["a", "bb", "ccc"]) for _ in range(generator.randrange(1, 6))]
    for kind in generator.sample(["x", "y", "z"], generator.randrange(3)):
        at = generator.randrange(len(words))
        words[at:at] = [f"B-{kind}", *generator.choices(["a", "bb", "d"], k=2), f"E-{kind}"]
    return " ".join(words)


def test_slots_are_counted_as_s3prl_does():
    from s3prl.metric import slot_filling

    generator = random.Random(0)
    pairs = [(sentence(generator), sentence(generator)) for _ in range(300)]
    said, meant = zip(*pairs, strict=True)
    for ours, theirs in (
        (slots.type_f1, slot_filling.slot_type_f1),
        (slots.value_errors, slot_filling.slot_value_cer),
    ):
        parts, sizes = np.array([ours(a, b) for a, b in pairs]).T
        assert parts.sum() / sizes.sum() == pytest.approx(theirs(said, meant))


def test_what_queries_add_has_the_term_weighted_value_as_its_mean():
    generator = np.random.default_rng(0)
    documents = {f"d{n}" for n in range(20)}
    truth = {f"q{n}": {f"d{n}", f"d{n + 5}"} for n in range(6)}
    found = {
        query: {d: (float((d in truth[query]) + generator.normal(0, 0.3)), False)
                for d in sorted(documents)}
        for query in truth
    }  # fmt: skip
    found["q0"]["d0"] = (2.0, True)
    scores = qbe.term_weighted_values(found, truth, documents)
    for metric in ("mtwv", "atwv"):
        worth = qbe.values_of_queries(found, truth, documents, metric)
        assert np.mean([*worth.values()]) == pytest.approx(scores[metric])


@pytest.mark.parametrize("config", [{}, {"downstream_expert": 3}, {"downstream_expert": {}}])
@pytest.mark.parametrize("task", ["ks", "qbe"])
def test_settings_that_are_not_there_are_said_with_the_folder(tmp_path, task, config):
    runs.labels(tmp_path, KS)
    with pytest.raises(ValueError, match=rf"{tmp_path}: cannot be read .*; test again with"):
        items.read(task, "acc", "test", tmp_path, config)


def test_a_fault_of_the_corpus_is_said_of_its_file_alone(tmp_path):
    test, corpus = tmp_path / "test", tmp_path / "corpus"
    (test / "scoring").mkdir(parents=True)
    (test / "frame_shift").write_text("320")
    (test / "scoring" / "der.json").write_text('[{"threshold": 0.5, "median": 1}]')
    settings = {
        "datarc": {"rate": 16_000, "dataset_root": str(corpus)},
        "loaderrc": {"test_dir": str(corpus)},
    }
    for task, metric, said in (
        ("sd", "der", f"{corpus}/rttm: no such file; it holds the reference turns, prepare the"),
        ("qbe", "mtwv", rf"{corpus}/scoring/.*: expected one \*\.tlist\.xml, found 0; unpack "),
    ):
        with pytest.raises(ValueError, match=f"^{said}"):
            items.read(task, metric, "test", test, {"downstream_expert": settings})
