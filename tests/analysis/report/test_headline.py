"""What a report says first, and what it does not claim."""

import compared_runs
import head_runs
import report_runs
import score_runs
from score_runs import record

from analysis.records import model_names, score_files
from analysis.report import headline
from analysis.report.page import Details, Missing
from analysis.tables import leaderboard


def said(*folders):
    found = score_files.read(folders)
    tables = leaderboard.tables(found, score_files.published())
    own = {model for model, upstream in found.upstreams.items() if not model_names.kind(upstream)}
    return headline.headline(tables, own, found.upstreams, "mine")


def numbers(found):
    return {number.what: number.value for number in found.numbers}


def heard(folder, right):
    """Leave what a head says of 200 keywords, the first ``right`` of which are; its accuracy."""
    names = [f"up-{n % 40:04x}_nohash_{n}.wav" for n in range(200)]
    pairs = {name: ("up" if n < right else "no", "up") for n, name in enumerate(names)}
    return compared_runs.labels(folder, pairs)


def references(folder, seeds=(1337,), **rights):
    """Folders of a model, of its untrained copy and of filter banks, each with one score of KS:
    how many of 200 utterances are right, the first ones, by the head of each seed.
    """
    upstreams = ("mt4ssl", "mt4ssl_untrained", "fbank", "fbank_no_cmvn")
    found = []
    for (name, right), upstream in zip(rights.items(), upstreams, strict=False):
        tests = [
            (f"ks/head{seed}", heard(folder / name / f"ks/head{seed}", right), {"seed": seed})
            for seed in seeds
        ]
        found.append(compared_runs.run(folder / name, "ks", tests, upstream=upstream))
    return found


def test_superb_s_stands_beside_filter_banks_and_the_nearest_published_model(tmp_path):
    found = said(report_runs.published(tmp_path / "mine"))
    assert numbers(found) == {
        "superb_s, paper set": "941",
        "points against filter banks (published: 0)": "+941",
        "points against HuBERT Base, the nearest published": "0",
    }
    untrained, seed = found.remarks
    assert seed.what.startswith("One head seed") and seed.command.endswith("--seeds 3")
    assert isinstance(untrained, Missing) and "untrained copy" in untrained.what


def test_some_tasks_are_compared_with_models_that_have_the_same(tmp_path):
    run = score_runs.suite(tmp_path / "mine", record("ks", 0.97), record("ic", 0.98))
    found = said(run)
    assert found.sentence.startswith("mine has ") and "on the same 2 tasks" in found.sentence
    assert "points, mean of 2 of 10 tasks" in numbers(found)


def test_synthesised_corpora_are_compared_among_themselves_only(tmp_path):
    found = said(*references(tmp_path, mine=100, copy=40, banks=20, plain=150))
    assert numbers(found) == {
        "scores of these heads shown to be better than an untrained copy": "1 of 1",
        "scores of these heads shown to be better than filter banks, each of 2": "0 of 1",
    }
    assert found.sentence == (
        "The heads on mine are shown to be better than those on an untrained copy in 1 of 1 "
        "scores, and than those on filter banks in 0 of 1 scores (worse in KS Acc)."
    )
    assert "not comparable with SUPERB" in found.remarks[-1].text


def test_a_difference_within_its_interval_is_no_advantage(tmp_path):
    found = said(*references(tmp_path, mine=100, copy=98, banks=20, plain=10))
    assert found.sentence == (
        "The heads on mine are shown to be better than those on an untrained copy in 0 of 1 "
        "scores (no difference shown in KS Acc), and than those on filter banks in 1 of 1 scores."
    )
    told, seed, details = found.remarks[:3]
    assert "paired tests" in told.text and "One head seed" in seed.what
    against, *_ = details.blocks[0].lines
    assert against.startswith("against copy: ks acc: no difference shown: mine is ahead by 1.00")
    assert details.summary == "Every comparison (3)"


def test_with_several_heads_the_encoder_is_spoken_of(tmp_path):
    found = said(*references(tmp_path, seeds=(1337, 1338, 1339), mine=100, copy=40))
    assert found.sentence == "mine is shown to be better than an untrained copy in 1 of 1 scores."
    assert numbers(found) == {"scores shown to be better than an untrained copy": "1 of 1"}


def test_the_tests_of_a_headline_are_corrected_for_their_number(tmp_path):
    alone = references(tmp_path / "alone", mine=100, copy=94)
    assert "in 1 of 1" in said(*alone).sentence  # p = .03
    three = references(tmp_path / "three", mine=100, copy=94, banks=99, plain=99)
    assert "no difference shown in KS Acc), and" in said(*three).sentence


def test_experiments_in_one_folder_are_tested(tmp_path):
    for upstream, right in (("mt4ssl", 100), ("mt4ssl_untrained", 40), ("fbank_no_cmvn", 97)):
        folder = tmp_path / "run/superb/ks" / upstream
        record = {"value": heard(folder, right), "unit": "fraction", "seed": 1, "corpus": None}
        record |= {"config": compared_runs.config_of("ks"), "upstream": upstream}
        head_runs.leave_results(folder, "ks", folder / "gone.ckpt", **record)
    found = said(tmp_path / "run").sentence
    assert "better than those on an untrained copy in 1 of 1 scores, and" in found
    assert "filter banks in 0 of 1 scores (no difference shown in KS Acc)" in found


def test_scores_without_predictions_are_not_tested(tmp_path):
    mine, copy = references(tmp_path, mine=100, copy=40)
    (copy / "ks/head1337/test_predict.txt").unlink()
    found = said(mine, copy)
    assert "in 0 of 1 scores (not tested in KS Acc)" in found.sentence
    details = next(each for each in found.remarks if isinstance(each, Details))
    [line] = details.blocks[0].lines
    assert "test_predict.txt: no such file" in line


def test_normalised_filter_banks_alone_are_told(tmp_path):
    found = said(*references(tmp_path, mine=100, copy=40, banks=20))
    assert "filter banks in 1 of 1" in found.sentence
    told = found.remarks[0]
    assert isinstance(told, Missing) and told.what.startswith("fbank is normalised")
    assert "--upstream fbank_no_cmvn" in told.command


def test_what_is_not_there_is_said(tmp_path):
    found = said(*references(tmp_path, mine=100))
    assert not found.numbers and "nothing to compare" in found.sentence
    assert [type(remark) for remark in found.remarks[:2]] == [Missing, Missing]
    assert "no score on SUPERB's tasks yet" in said_nothing()


def said_nothing():
    found = leaderboard.tables(score_files.ModelScores([], {}), score_files.published())
    return headline.headline(found, set(), {}, "mine").sentence
