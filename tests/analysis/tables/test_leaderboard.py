"""Leaderboard: published scores and runs in one table, and what must not be in it."""

import io
import math
import re

import pandas as pd
import pytest
import score_runs
from score_runs import MINI, record

from analysis.records import score_files
from analysis.records.score_files import ModelScores
from analysis.tables import leaderboard

HUBERT = {  # with a bit more than HuBERT Base's on two tasks
    "pr": 0.0541, "asr": 6.42, "ks": 0.97, "qbe": 0.0736, "sid": 0.99, "asv": 0.0511, "sd": 0.0588,
    "ic": 0.9834, "er": 0.6492,
}  # fmt: skip


def full_run(folder, **changes):
    sf = [record("sf", 0.8853, "slot_type_f1"), record("sf", 0.252, "slot_value_cer")]
    rest = [record(task, value) for task, value in HUBERT.items()]
    return score_runs.suite(folder, *rest, *sf, **changes)


def rows(markdown, title="SUPERB"):
    """Cells by model of one table."""
    part = next(p for p in re.split(r"\n(?=\*\*)", markdown) if p.startswith(f"**{title}"))
    lines = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("|")]
    heads = lines[0]
    return {line[0]: dict(zip(heads, line, strict=True)) for line in lines[2:]}


def test_the_published_scores_alone():
    found = rows(leaderboard.leaderboard([]))
    assert found["HuBERT Base"]["superb_s ↑"] == "941" and len(found) == 32
    assert found["WavLM Large"]["superb_s ↑"] == "**1145**"
    assert found["WavLM Base+"]["superb_s ↑"] == "<u>1106</u>"
    assert found["WavLM Base+"]["QbE MTWV ↑"] == "**9.88**"
    assert found["HuBERT Large"]["PR PER ↓"] == "3.53"
    assert found["DinoSR"]["PR PER ↓"] == "<u>3.21</u>"
    assert found["HuBERT Base"]["Params M"] == "94.68" and found["HuBERT Base"]["MACs G"] == "1,669"
    assert found["data2vec Base"]["superb_s ↑"] == "(2/10)"
    assert found["FBANK (normalised)"]["SID Acc ↑"] == "0.00085"
    assert list(found["FBANK"])[1:4] == ["superb_s ↑", "Params M", "MACs G"]
    assert list(found["FBANK"])[4:9] == [
        "PR PER ↓", "ASR WER ↓", "ASR WER +LM ↓", "KS Acc ↑", "QbE MTWV ↑",
    ]  # fmt: skip
    public = rows(leaderboard.leaderboard([], score_set="public"))
    assert public["HuBERT Base"]["superb_s ↑"] == "778"
    assert public["WavLM Base+"]["superb_s ↑"] == "<u>1157</u>"
    assert public["DistilHuBERT"]["superb_s ↑"] == "(7/10)"
    assert "KS Acc ↑" not in public["FBANK"] and public["FBANK"]["SE STOI ↑"] == "93.60"


def test_a_run_stands_below_the_rule_with_its_score(tmp_path):
    found = rows(leaderboard.leaderboard([full_run(tmp_path / "ours")]))
    names = list(found)
    assert names[-2:] == ["—", "ours"] and len(names) == 34
    ours = found["ours"]
    assert ours["SID Acc ↑"] == "**99.00**" and found["SPEAR XLarge"]["SID Acc ↑"] == "<u>96.34</u>"
    assert ours["PR PER ↓"] == "5.41" and ours["Params M"] == "-"
    assert ours["ASR WER +LM ↓"] == "-"
    gain = 1000 * ((97 - 96.3) / (96.66 - 41.3826674) + (99 - 81.42) / (90.3 - 20.058174)) / 10
    assert ours["superb_s ↑"] == f"{941.0369 + gain:.0f}"


def test_an_unfinished_run_has_a_count_instead(tmp_path):
    run = score_runs.suite(tmp_path / "ours", record("ks", 0.9), record("sf", 0.8, "slot_type_f1"))
    assert rows(leaderboard.leaderboard([run]))["ours"]["superb_s ↑"] == "(1/10)"


def test_what_else_was_measured_follows(tmp_path):
    run = score_runs.suite(
        tmp_path / "ours", record("st", 20.0), record("ood", 0.5), record("qbe", 0.1, "atwv")
    )
    text = leaderboard.leaderboard([run])
    found = rows(text)
    assert (found["ours"]["ST BLEU ↑"], found["HuBERT Base"]["ST BLEU ↑"]) == ("20.00", "15.53")
    assert (found["ours"]["OOD-ASR WER ↓"], found["HuBERT Base"]["OOD-ASR WER ↓"]) == ("50.00", "-")
    assert "Not shown, not of SUPERB: qbe/atwv" in text


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({"corpus": MINI}, "mini_superb, synthesised corpora: not comparable"),
        ({"corpus": {"kind": "partial"}}, "Parts of SUPERB's corpora: not comparable"),
        ({"smoke": True}, r"SUPERB (smoke runs)"),
        ({"overrides": {"runner.total_steps": 5}}, r"SUPERB (changed settings)"),
        ({"corpus": MINI, "smoke": True}, "mini_superb, synthesised corpora"),
        ({"protocol": "mini"}, "MiniSUPERB's recipe"),
        ({"protocol": "mini", "overrides": {"a": 1}}, "MiniSUPERB's recipe"),
    ],
)
def test_what_is_not_superb_s_never_stands_beside_it(tmp_path, changes, title):
    run = full_run(tmp_path / "ours", **changes)
    text = leaderboard.leaderboard([run])
    assert set(rows(text, "SUPERB**")) == set(rows(leaderboard.leaderboard([])))
    other = rows(text, title)
    assert list(other) == ["ours"] and other["ours"]["Tasks of 10"] == "10"
    assert not any("superb_s" in head for head in other["ours"])
    assert "**" not in "".join(other["ours"].values())  # nothing to be better than
    table = pd.read_csv(io.StringIO(leaderboard.leaderboard([run], "csv")))
    ours = table[table["from"] == "run"]
    assert ours.superb_s.isna().all() and not set(ours.table) & {"SUPERB"}
    page = leaderboard.leaderboard([run], "html")
    assert page.count('<table class="sortable"') == 2
    assert leaderboard.leaderboard([run], "latex").count(r"\begin{table*}") == 2
    assert leaderboard.leaderboard([run], "booktabs").count(r"\bottomrule") == 2


def test_one_checkpoint_on_both_has_a_row_in_both_tables(tmp_path):
    mini = score_runs.suite(tmp_path / "mini", record("ks", 0.3), corpus=MINI)
    text = leaderboard.leaderboard([mini, full_run(tmp_path / "real")])
    assert "real" in rows(text, "SUPERB**") and "mini" not in rows(text, "SUPERB**")
    assert list(rows(text, "mini_superb")) == ["mini"]


def test_means_over_seeds_stand_with_their_deviation(tmp_path):
    seeds = {"seeds": {"1": {}, "2": {}, "3": {}}, "deviation": 0.0123}
    run = score_runs.suite(tmp_path / "ours", record("ks", 0.91, **seeds), record("sid", 0.5))
    text = leaderboard.leaderboard([run])
    found = rows(text)["ours"]
    assert (found["KS Acc ↑"], found["SID Acc ↑"]) == ("91.00 ±1.23", "50.00")
    assert "±: sample deviation over the seeds of heads" in text
    [frame] = [pd.read_csv(io.StringIO(leaderboard.leaderboard([run], "csv")))]
    ours = frame[frame["model"] == "ours"].iloc[0]
    assert ours["ks/acc ±"] == pytest.approx(1.23) and math.isnan(frame["ks/acc ±"].iloc[0])
    assert r"91.00 $\pm$1.23" in leaderboard.leaderboard([run], "latex")
    damaged = score_runs.suite(tmp_path / "odd", record("ks", 0.9, seeds=[1, 2]))
    with pytest.raises(ValueError, match=r"odd/results\.jsonl:1: seeds cannot be"):
        leaderboard.leaderboard([damaged])


def test_other_heads_have_rows_and_ranks_of_their_own(tmp_path):
    runs = []
    for place, (official, deep) in enumerate([(0.5, 0.9), (0.6, 0.7), (0.7, 0.8), (0.8, 0.95)]):
        model = {"fingerprint": f"f{place}", "ckpt": f"/m{place}/last.pt"}
        runs.append(score_runs.suite(tmp_path / f"m{place}", record("ks", official, **model)))
        changed = {"heads": "deep", "overrides": {"a": 1}, **model}
        score_runs.suite(runs[-1] / "heads_deep", record("ks", deep, **changed))
    text = leaderboard.leaderboard(runs)
    assert rows(text)["m1"]["KS Acc ↑"] == "60.00"
    other = rows(text, "SUPERB (changed")
    assert list(other) == [f"m{place} (deep heads)" for place in range(4)]
    assert other["m1 (deep heads)"]["KS Acc ↑"] == "70.00"
    assert (
        "Rank correlation (Spearman) of deep with official heads: ks/acc 0.40 (4 models)." in text
    )
    alone = score_runs.suite(tmp_path / "alone" / "heads_deep", record("ks", 0.5, **changed))
    for folder in (alone, alone.parent):
        assert "alone (deep heads)" in leaderboard.leaderboard([folder], names=["alone"])


def test_csv_has_all_digits_and_says_which_table(tmp_path):
    mini = score_runs.suite(tmp_path / "m, n", record("ks", 0.31234567), corpus=MINI)
    table = pd.read_csv(io.StringIO(leaderboard.leaderboard([mini], "csv")))
    fbank, ours = table.iloc[0], table.iloc[-1]
    assert (fbank.model, fbank["from"], fbank["ks/acc"]) == ("FBANK", "published", 41.3826674)
    assert (ours.model, ours["from"], ours["ks/acc"]) == ("m, n", "run", pytest.approx(31.234567))
    assert ours.table.startswith("mini_superb") and math.isnan(ours.superb_s) and ours.tasks == 1
    assert set(table.table) == {"SUPERB", ours.table}
    assert table.set_index("model").superb_s["HuBERT Base"] == pytest.approx(941.0369, abs=1e-4)


def test_marks():
    frame = pd.DataFrame({"a": [1.001, 1.0, 3.0, None], "b": [5.0, None, None, None]})
    found = leaderboard.marks(frame, {"a": "min", "b": "max"})
    assert list(found.a) == ["best", "best", "second", ""] and list(found.b) == [""] * 4
    assert list(leaderboard.marks(frame, {"a": "max"}).a) == ["second", "second", "best", ""]


def test_numbers():
    assert [leaderboard.number(v) for v in (1.0, 0.00085, -0.0, math.nan, -12.345)] == [
        "1.00", "0.00085", "0.00", "-", "-12.35" if round(-12.345, 2) == -12.35 else "-12.34",
    ]  # fmt: skip
    assert [leaderboard.number(v, 0) for v in (941.04, -0.3, -31.8)] == ["941", "0", "-32"]
    assert [leaderboard.short(v, 1e6) for v in (0.0, 94.68e6, 94.7e6, 1234.5e6, 30e6)] == [
        "0", "94.68", "94.7", "1,234", "30",
    ]  # fmt: skip


def test_bad_requests(tmp_path):
    with pytest.raises(
        ValueError, match="--format pdf: no such format; choose one of md, latex, booktabs"
    ):
        leaderboard.leaderboard([], "pdf")
    with pytest.raises(ValueError, match="--set x: no such set; choose one of paper, public"):
        leaderboard.leaderboard([], score_set="x")
    run = full_run(tmp_path / "HuBERT Base")
    with pytest.raises(
        ValueError, match="HuBERT Base: published scores have this name; give another"
    ):
        leaderboard.leaderboard([run])


def test_one_column_has_one_corpus(tmp_path):
    other = {**MINI, "fingerprint": "m1", "seed": 7}
    runs = [
        score_runs.suite(tmp_path / "a", record("ks", 0.5), corpus=MINI),
        score_runs.suite(tmp_path / "b", record("ks", 0.6), corpus=other, fingerprint="f1"),
    ]
    with pytest.raises(ValueError, match=r"ks: different corpora in one column: a on m0 \(.*a/resul"
                       r"ts\.jsonl:1\), b on m1 \(.*b/results\.jsonl:1\); score"):  # fmt: skip
        leaderboard.leaderboard(runs)


def test_stored_features_are_named(tmp_path):
    store = {"exactness": "near-exact", "precision": "fp16"}
    run = score_runs.suite(tmp_path / "ours", record("ks", 0.9, store=store), record("pr", 0.1))
    assert "- ours: ks: features stored in fp16" in leaderboard.leaderboard([run])


def test_no_published_score_is_shown_where_there_is_none_to_show():
    (table,) = leaderboard.tables(ModelScores([], {}), score_files.published())
    assert table.published == 32 and table.scored
    assert table.frame.loc["GLaS-JEPA"].notna().sum() == 7  # 5 scores, parameters, the count


def test_rows_are_called_as_asked(tmp_path):
    runs = [full_run(tmp_path / "a" / "out"), full_run(tmp_path / "b" / "out", fingerprint="f1")]
    with pytest.raises(ValueError, match=r"two models would be called 'out'.*--name"):
        leaderboard.leaderboard(runs)
    found = rows(leaderboard.leaderboard(runs, names=["first | try"]))
    assert list(found)[-2:] == [r"first \| try", "out"]
