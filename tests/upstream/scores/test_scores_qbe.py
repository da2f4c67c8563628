"""Term weighted values: against what follows on paper, and against a plain recomputation."""

import numpy as np
import pytest
from superb_data import corpus

from upstream.corpora.qbe import ground_truth
from upstream.scores import qbe
from upstream.scores.qbe import BETA, detections, term_weighted_values

DOCUMENTS = {f"d{k}" for k in range(10)}


def found(rows):
    """Rows of (query, recording, score, decision)."""
    result = {}
    for query, document, score, yes in rows:
        result.setdefault(query, {})[document] = (score, yes)
    return result


def test_the_weight_of_a_false_alarm_is_that_of_the_task():
    assert pytest.approx(12.49) == BETA
    effective = qbe.C_MISS * qbe.P_TARGET
    effective /= effective + qbe.C_FA * (1 - qbe.P_TARGET)
    assert effective == pytest.approx(0.0741289, abs=1e-7)  # what MediaEval's script prints


def test_a_perfect_search_has_one_and_a_silent_one_has_zero():
    truth = {"a": {"d0", "d1"}, "b": {"d2"}}
    perfect = found([("a", "d0", 5, True), ("a", "d1", 4, True), ("b", "d2", 3, True)])
    assert term_weighted_values(perfect, truth, DOCUMENTS) == {
        "mtwv": 1.0,
        "atwv": 1.0,
        "threshold": 3.0,
    }
    silent = {q: {d: (v, False) for d, (v, _) in rows.items()} for q, rows in perfect.items()}
    assert term_weighted_values(silent, truth, DOCUMENTS)["atwv"] == 0.0
    assert term_weighted_values({}, truth, DOCUMENTS)["mtwv"] == 0.0


def test_one_hit_one_miss_one_false_alarm():
    truth = {"a": {"d0", "d1"}}
    rows = [("a", "d0", 3, True), ("a", "d5", 2, True), ("a", "d1", 1, False)]
    values = term_weighted_values(found(rows), truth, DOCUMENTS)
    assert values["mtwv"] == pytest.approx(0.5)  # the first alone
    assert values["threshold"] == 3
    assert values["atwv"] == pytest.approx(1 - (0.5 + BETA / 8))  # 8 recordings do not have it


def test_a_false_alarm_above_all_hits_is_worth_it_only_among_many_recordings():
    truth = {"a": {"d0"}}
    rows = [("a", "d5", 2, True), ("a", "d0", 1, True)]
    assert term_weighted_values(found(rows), truth, DOCUMENTS)["mtwv"] == 0.0
    many = {f"d{k}" for k in range(1001)}
    values = term_weighted_values(found(rows), truth, many)
    assert values["mtwv"] == values["atwv"] == pytest.approx(1 - BETA / 1000)


def test_equal_scores_are_taken_together():
    truth = {"a": {"d0"}}
    rows = [("a", "d0", 2, True), ("a", "d5", 2, True)]
    assert term_weighted_values(found(rows), truth, DOCUMENTS)["mtwv"] == 0.0


def test_what_was_not_searched_counts_as_missed_and_strangers_do_not_count():
    truth = {"a": {"d0"}, "another language": {"d1"}}
    rows = [("a", "d0", 2, True), ("not listed", "d1", 9, True), ("a", "elsewhere", 9, True)]
    values = term_weighted_values(found(rows), truth, DOCUMENTS)
    assert values["mtwv"] == values["atwv"] == 0.5


def test_scores_that_are_no_numbers_are_never_found():
    rows = [("a", "d0", float("nan"), True), ("a", "d5", float("inf"), True)]
    assert term_weighted_values(found(rows), {"a": {"d0"}}, DOCUMENTS)["mtwv"] == 0.0


def plain(rows, truth, documents, take):
    """1 - mean (P_miss + beta P_fa), from its definition."""
    total = 0.0
    for query, there in truth.items():
        taken = {d for q, d, score, yes in rows if q == query and take(score, yes)}
        miss = len(there - taken) / len(there)
        false = len(taken - there) / (len(documents) - len(there))
        total += miss + BETA * false
    return 1 - total / len(truth)


@pytest.mark.parametrize("seed", range(5))
def test_against_the_definition(seed):
    rng = np.random.default_rng(seed)
    documents = {f"d{k}" for k in range(60)}
    names = sorted(documents)
    truth = {f"q{k}": set(rng.choice(names, rng.integers(1, 6))) for k in range(4)}
    rows = []
    for query in [*truth, "unlisted"]:
        for name in names:
            hit = name in truth.get(query, ())
            score = round(float(rng.normal(2.5 if hit else 0)), 1)  # with ties
            rows.append((query, name, score, score > 2))
    values = term_weighted_values(found(rows), truth, documents)
    assert values["atwv"] == pytest.approx(plain(rows, truth, documents, lambda s, yes: yes))
    best = max(
        plain(rows, truth, documents, lambda s, yes, low=low: s >= low)
        for low in [np.inf, *(row[2] for row in rows)]
    )
    assert values["mtwv"] == pytest.approx(best)
    at_threshold = plain(rows, truth, documents, lambda s, yes: s >= values["threshold"])
    assert best == pytest.approx(max(at_threshold, 0))


# ---------------------------------------------------------------- files


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a.tlist.xml").write_text(
        '<termlist><term termid="q1"><termtext>x</termtext></term><term termid="q2"/>'
        '<term termid="never"/></termlist>'
    )
    (tmp_path / "a.ecf.xml").write_text(
        '<ecf><excerpt audio_filename="d1.wav" dur="1"/><excerpt audio_filename="x/d2.wav"/></ecf>'
    )
    (tmp_path / "a.rttm").write_text(
        "SPEAKER d1 1 0.000 2.5 <NA> <NA> SELF <NA>\n"
        "LEXEME d1 1 0.000 2.5 q1 lex SELF <NA>\n"
        "LEXEME d1 1 1.000 0.5 q1 lex SELF <NA>\n"  # once more in the same recording
        "LEXEME d2 1 0.000 2.5 NO_KEYWORD lex SELF <NA>\n"
        "LEXEME d2 1 0.000 2.5 q2 lex SELF <NA>\n\n"
        "LEXEME d9 1 0.000 2.5 q2 lex SELF <NA>\n"
    )
    return tmp_path


def test_ground_truth(folder):
    truth, documents = ground_truth(folder)
    assert truth == {"q1": {"d1"}, "q2": {"d2"}}  # "never" does not count
    assert documents == {"d1", "d2"}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.rttm", "LEXEME d1\n", "line 1: expected LEXEME RECORDING"),
        ("a.rttm", "", "none of the queries occurs"),
        ("a.ecf.xml", "<ecf>", r"a\.ecf\.xml: not readable as XML"),
        ("b.rttm", "", r"expected one \*\.rttm, found 2"),
    ],
)
def test_ground_truth_that_is_broken(folder, name, text, message):
    (folder / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        ground_truth(folder)


def test_detections_as_s3prl_writes_them(tmp_path):
    path = tmp_path / "benchmark.stdlist.xml"
    path.write_text(
        '<stdlist><detected_termlist termid="q1" oov_term_count="1">'
        '<term file="d1" channel="1" tbeg="0.000" dur="0.00" score="2.5" decision="YES"/>'
        '<term file="d2" channel="1" tbeg="0.000" dur="0.00" score="-nan" decision="NO"/>'
        "</detected_termlist></stdlist>"
    )
    rows = detections(path)["q1"]
    assert rows["d1"] == (2.5, True)
    assert np.isnan(rows["d2"][0])
    path.write_text(
        '<stdlist><detected_termlist termid="q"><term file="a"/></detected_termlist></stdlist>'
    )
    with pytest.raises(ValueError, match=r"without score.*evaluate again"):
        detections(path)
    with pytest.raises(ValueError, match=r"not readable as XML.*evaluate again"):
        detections(tmp_path / "gone.xml")


def test_the_mini_corpus_has_a_ground_truth_of_all_languages():
    root = corpus("qbe") / "quesst14Database"
    for split, other in (("dev", "test"), ("eval", "dev")):
        assert qbe.truth_folder(root, split) != qbe.truth_folder(root, other) or split == "eval"
        truth, documents = ground_truth(root / "scoring" / f"groundtruth_quesst14_{split}")
        assert len(documents) == len(list((root / "Audio").glob("*.wav"))) == 16
        english = [query for query, there in truth.items() if len(there) == 2]
        assert len(english) == 3
        assert len(truth) >= 3
