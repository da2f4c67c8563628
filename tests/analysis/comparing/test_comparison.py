import json
from dataclasses import replace

import compared_runs as runs
import numpy as np
import pytest

from analysis.comparing import comparison, telling

NAMES = [f"up-{speaker:04x}_nohash_{n}.wav" for speaker in range(30) for n in range(4)]


def ks(out, share, seeds=(1337,), names=NAMES, **changes):
    """A run of keyword spotting whose heads have ``share`` of the utterances right."""
    tests = []
    for seed in seeds:
        right = np.random.default_rng([seed, int(share * 1000)]).random(len(names)) < share
        folder = f"ks/seed_{seed}"
        said = {n: ("up" if ok else "no", "up") for n, ok in zip(names, right, strict=True)}
        value = runs.labels(out / folder, said)
        tests.append((folder, value, {"seed": seed, **changes.get("record", {})}))
    return runs.run(out, "ks", tests, **{k: v for k, v in changes.items() if k != "record"})


def test_a_difference_is_told_in_a_sentence(tmp_path):
    one, other = ks(tmp_path / "good", 0.9), ks(tmp_path / "bad", 0.5)
    found = comparison.compare(one, other)
    [finding] = found.findings
    assert finding.differs and finding.low > 10
    assert (finding.items, finding.speakers, finding.seeds) == (120, 30, (1, 1))
    assert {*finding.tests} == {"bootstrap over items", "bootstrap over speakers", "McNemar"}
    assert finding.p == max(finding.tests.values())
    [said] = telling.sentences(found)
    assert said.startswith("ks acc: good is better by ") and said.endswith(
        ", p < .001; of these heads, not of their encoders"
    )
    back = comparison.compare(other, one)
    assert telling.sentences(back) == [said]
    assert back.findings[0].gain == -finding.gain


def test_heads_of_several_seeds_are_all_counted(tmp_path):
    one = ks(tmp_path / "a", 0.8, seeds=(1337, 1338, 1339))
    other = ks(tmp_path / "b", 0.79, seeds=(1337, 1338, 1339))
    found = comparison.compare(one, other)
    [finding] = found.findings
    assert finding.seeds == (3, 3)
    assert not finding.differs
    assert finding.deviations[0] > 0
    assert "no difference shown: " in telling.sentences(found)[0]
    shown = replace(finding, corrected=0.04)
    assert telling.sentence(shown, "a", "b").endswith(", p = .04")  # of the encoders
    assert comparison.ONE_SEED not in found.notes
    assert "±" in telling.text(found)


@pytest.mark.parametrize(
    ("p", "told"),
    [(0.0496, "= .0496"), (0.0512, "= .051"), (0.05, "= .05"),
     (0.02, "= .02"), (0.004, "= .004"), (0.0001, "< .001"), (1.0, "= 1.00")],
)  # fmt: skip
def test_a_p_beside_the_level_is_told_on_its_side_of_it(tmp_path, p, told):
    one, other = ks(tmp_path / "good", 0.9), ks(tmp_path / "bad", 0.5)
    [finding] = comparison.compare(one, other).findings
    assert f", p {told}" in telling.sentence(replace(finding, corrected=p), "a", "b")


def test_it_is_printed_and_written(tmp_path, capsys):
    found = comparison.compare(ks(tmp_path / "a|b", 0.9), ks(tmp_path / "c", 0.5))
    telling.tell(found, tmp_path / "out")
    assert "a|b is better by" in capsys.readouterr().out
    read = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert read["findings"][0]["sentence"] == telling.sentences(found)[0]
    assert "a\\|b" in (tmp_path / "out" / "compare.md").read_text()


def test_errors_of_transcripts_and_corrections_for_several_scores(tmp_path):
    for name, wrong in (("a", 0), ("b", 1)):
        said = {
            f"{n % 10}-1-{n:04}": (f"DH {'B' if wrong and n % 3 else 'AH0'} S", "DH AH0 S")
            for n in range(60)
        }
        runs.texts(tmp_path / name / "pr" / "head", said)
        value = sum("B" in pair[0] for pair in said.values()) / 180
        runs.run(tmp_path / name, "pr", [("pr/head", value, {})])
    [finding] = comparison.compare(tmp_path / "a", tmp_path / "b").findings
    assert (finding.metric, finding.direction) == ("per", "min")
    assert finding.gain == pytest.approx(100 * 40 / 180)
    assert "matched pairs" in finding.tests
    assert finding.differs


def test_folds_are_averaged(tmp_path):
    def leave(out, share):
        tests = []
        for fold in range(1, 6):
            config = runs.config_of("er")
            config["downstream_expert"]["datarc"]["test_fold"] = f"fold{fold}"
            said = {
                f"Ses0{fold}F_impro01_{'FM'[n % 2]}{n:03}": (
                    "hap" if n < share * 40 else "sad",
                    "hap",
                )
                for n in range(40)
            }
            value = runs.labels(out / f"er/fold{fold}", said, f"fold{fold}")
            tests.append((f"er/fold{fold}", value, {"config": config}))
        return runs.run(out, "er", tests)

    [finding] = comparison.compare(leave(tmp_path / "a", 0.9), leave(tmp_path / "b", 0.3)).findings
    assert (finding.items, finding.speakers) == (200, 10)
    assert (finding.first, finding.second) == pytest.approx((90, 30))


def refused(one, other, match, **asked):
    with pytest.raises(ValueError, match=match):
        comparison.compare(one, other, **asked)
    with pytest.raises(ValueError, match=match):
        comparison.compare(other, one, **asked)


def test_what_are_no_tests_of_two_systems(tmp_path):
    whole = ks(tmp_path / "whole", 0.9)
    refused(whole, ks(tmp_path / "smoke", 0.9, smoke=True), "ks is a smoke run.*or --force")
    other = {**runs.MINI, "fingerprint": "m1"}
    refused(whole, ks(tmp_path / "corpus", 0.9, corpus=other), r"other corpora: mini \(m")
    short = {"config": runs.config_of("ks", total_steps=7)}
    refused(whole, ks(tmp_path / "short", 0.9, record=short), "other protocols: runner.total_steps")
    refused(whole, ks(tmp_path / "fewer", 0.9, names=NAMES[1:]), "1 items were tested in one of")
    single = [ks(tmp_path / name, 1.0, names=NAMES[:1]) for name in ("one", "other")]
    refused(*single, r"ks: 1 item\(s\), too few to draw from again; test both on more")
    whitened = {"kind": "whiten"}
    refused(whole, ks(tmp_path / "white", 0.9, feature_transform=whitened), "other features: ")
    rate = runs.config_of("ks")
    rate["optimizer"]["lr"] = 0.5  # was chosen on dev
    assert comparison.compare(whole, ks(tmp_path / "rate", 0.9, record={"config": rate})).findings


def test_smoke_runs_are_compared_when_asked_for(tmp_path):
    runs_ = [ks(tmp_path / name, 0.9, smoke=True) for name in "ab"]
    found = comparison.compare(*runs_, force=True)
    assert "smoke runs: these say nothing of the systems" in found.notes


def test_files_of_another_test_are_not_believed(tmp_path):
    whole, other = ks(tmp_path / "a", 0.9), ks(tmp_path / "b", 0.8)
    runs.labels(other / "ks" / "seed_1337", {name: ("up", "up") for name in NAMES})
    refused(whole, other, "they are of another test; test again")
    (other / "ks" / "seed_1337" / "test_predict.txt").unlink()
    refused(whole, other, "no such file; test again")


def test_tasks_that_are_only_in_one(tmp_path):
    whole = ks(tmp_path / "a", 0.9)
    refused(
        whole, ks(tmp_path / "b", 0.8), "(?s)sid: no results in .*leave them out", asked="ks,sid"
    )
    refused(whole, ks(tmp_path / "c", 0.8), "vc: nothing is kept of its single utt", asked="vc")
    with pytest.raises(ValueError, match="give what `mt4ssl superb run` made"):
        comparison.compare(whole, tmp_path / "gone")
