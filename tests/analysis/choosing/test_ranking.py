import json
import math

import pytest

from analysis.choosing.ranking import Criterion, rank
from benchmarks import choose
from benchmarks.choose import agreement

LOSS = Criterion("loss", "held-out loss", "min", 3)
RANK = Criterion("rank", "effective rank", "max", 1)
SHOWN = Criterion("shown", "only shown", "max", 0)


def test_the_weighted_mean_of_places_decides():
    values = [
        {"loss": 3.0, "rank": 9.0, "shown": 0.0},
        {"loss": 1.0, "rank": 2.0, "shown": 1.0},
        {"loss": 2.0, "rank": 5.0, "shown": 9.0},
    ]
    found = rank(values, [LOSS, RANK, SHOWN])
    assert found.scores == [0.25, 0.75, 0.5] and found.order == [1, 2, 0]
    assert found.places[1] == {"loss": 1, "rank": 3, "shown": 2}


def test_of_equals_the_later_one_is_first():
    found = rank([{"loss": 1.0}, {"loss": 1.0}, {"loss": 2.0}], [LOSS])
    assert found.order == [1, 0, 2] and found.scores == [0.75, 0.75, 0.0]
    assert [place["loss"] for place in found.places] == [1, 1, 3]


def test_one_candidate_alone_is_first():
    found = rank([{"loss": 1.0, "shown": 2.0}], [LOSS, SHOWN])
    assert found.scores == [1.0] and found.places == [{"loss": 1, "shown": 1}]
    assert found.used == [LOSS, SHOWN] and not found.left_out


def test_what_is_the_same_for_all_is_shown_and_does_not_count():
    values = [{"loss": 2.0, "rank": 5.0}, {"loss": 1.0, "rank": 5.0}]
    found = rank(values, [LOSS, RANK])
    assert found.scores == [0.0, 1.0]
    assert [(one.name, one.weight) for one in found.used] == [("loss", 3), ("rank", 0)]
    assert found.left_out == ["effective rank: the same for all 2, not counted"]
    assert rank(values, [RANK]).scores == [None, None]


@pytest.mark.parametrize("unknown", [None, math.nan, math.inf])
def test_what_is_unknown_of_some_does_not_count_and_is_said(unknown):
    found = rank([{"loss": 1.0, "rank": unknown}, {"loss": 2.0, "rank": 3.0}], [LOSS, RANK])
    assert found.used == [LOSS] and found.order == [0, 1]
    assert found.left_out == ["effective rank: unknown of 1 of 2, not counted"]


def test_nothing_to_compare():
    found = rank([{}, {}], [LOSS])
    assert found.scores == [None, None] and found.order == [1, 0] and not found.left_out


def test_agreement_is_spearmans_correlation_turned_so_that_better_is_more():
    stats = pytest.importorskip("scipy.stats")
    losses, scores = [3.0, 2.5, 2.6, 2.0, 2.0], [0.1, 0.3, 0.2, 0.6, 0.5]
    wanted = -stats.spearmanr(losses, scores).statistic
    assert agreement(losses, scores, (-1, 1)) == pytest.approx(wanted)
    assert agreement(losses, losses, (1, 1)) == pytest.approx(1)
    assert math.isnan(agreement([1, 1, 1, 1], scores[:4], (1, 1)))
    assert math.isnan(agreement(losses[:3], scores[:3], (1, 1)))


def test_the_study_tells_of_the_runs_that_have_both_scores(tmp_path, monkeypatch):
    def points(run, metric, direction, values):
        about = {"run": run, "metric": metric, "direction": direction}
        return [{**about, "update": at, "value": value} for at, value in enumerate(values)]

    study = tmp_path / "results.json"
    falling, rising = [5, 4, 3, 2, 1], [0.1, 0.2, 0.3, 0.4, 0.5]
    rows = [*points("a", "offline_loss", "min", falling), *points("b", "keyword", "max", rising),
            *points("a", "keyword", "max", rising), *points("b", "offline_loss", "min", falling),
            *points("a", "ks/acc", "max", rising[::-1])]  # fmt: skip
    study.write_text(json.dumps({"points": rows}))
    monkeypatch.setattr(choose, "STUDY", study)
    monkeypatch.setattr(choose, "LOSSES", {"offline_loss": "offline/loss"})
    monkeypatch.setattr(choose, "STUDIED", ("keyword", "ks/acc"))
    found = {row["probe"]: (row["spearman"], row["points"]) for row in choose.study_rows()}
    assert found == {"keyword": (pytest.approx(1), 10), "ks/acc": (pytest.approx(-1), 5)}
