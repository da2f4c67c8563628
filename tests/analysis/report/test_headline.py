"""What a report says first, and what it does not claim."""

import report_runs
import score_runs
from score_runs import MINI, record

from analysis.records import model_names, score_files
from analysis.report import headline
from analysis.report.page import Missing
from analysis.tables import leaderboard


def said(*folders):
    found = score_files.read(folders)
    tables = leaderboard.tables(found, score_files.published())
    own = {model for model, upstream in found.upstreams.items() if not model_names.kind(upstream)}
    return headline.headline(tables, own, found.upstreams, "mine")


def numbers(found):
    return {number.what: number.value for number in found.numbers}


def references(folder, **values):
    """Folders of a model, of its untrained copy and of filter banks, each with one score of KS."""
    return [
        score_runs.suite(folder / name, record("ks", value, corpus=MINI), upstream=upstream,
                         fingerprint=name)
        for (name, value), upstream in zip(
            values.items(), ("mt4ssl", "mt4ssl_untrained", "fbank", "fbank_no_cmvn"), strict=False
        )
    ]  # fmt: skip


def test_superb_s_stands_beside_filter_banks_and_the_nearest_published_model(tmp_path):
    found = said(report_runs.published(tmp_path / "mine"))
    assert numbers(found) == {
        "superb_s, paper set": "941",
        "points against filter banks (published: 0)": "+941",
        "points against HuBERT Base, the nearest published": "0",
    }
    (untrained,) = found.remarks
    assert isinstance(untrained, Missing) and "untrained copy" in untrained.what


def test_some_tasks_are_compared_with_models_that_have_the_same(tmp_path):
    run = score_runs.suite(tmp_path / "mine", record("ks", 0.97), record("ic", 0.98))
    found = said(run)
    assert found.sentence.startswith("mine has ") and "on the same 2 tasks" in found.sentence
    assert "points, mean of 2 of 10 tasks" in numbers(found)


def test_synthesised_corpora_are_compared_among_themselves_only(tmp_path):
    found = said(*references(tmp_path, mine=0.5, copy=0.2, banks=0.1, plain=0.6))
    assert numbers(found) == {
        "scores better than an untrained copy": "1 of 1",
        "scores better than filter banks, the better of 2": "0 of 1",
    }
    assert found.sentence == (
        "mine is better than an untrained copy in 1 of 1 scores, and than filter banks in 0 of 1 "
        "scores."
    )
    assert "not comparable with SUPERB" in found.remarks[-1].text


def test_normalised_filter_banks_alone_are_told(tmp_path):
    found = said(*references(tmp_path, mine=0.5, copy=0.2, banks=0.1))
    assert "filter banks in 1 of 1" in found.sentence
    told = found.remarks[0]
    assert isinstance(told, Missing) and told.what.startswith("fbank is normalised")
    assert "--upstream fbank_no_cmvn" in told.command


def test_what_is_not_there_is_said(tmp_path):
    found = said(*references(tmp_path, mine=0.5))
    assert not found.numbers and "nothing to compare" in found.sentence
    assert [type(remark) for remark in found.remarks[:2]] == [Missing, Missing]
    assert "no score on SUPERB's tasks yet" in said_nothing()


def said_nothing():
    found = leaderboard.tables(score_files.ModelScores([], {}), score_files.published())
    return headline.headline(found, set(), {}, "mine").sentence
