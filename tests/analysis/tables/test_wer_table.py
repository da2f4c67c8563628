"""The papers' table of word error rates, from records of `mt4ssl decode`."""

import csv
import io
import json

import pytest

import mt4ssl_cli
from analysis.records import decodings
from analysis.tables import wer_table
from mt4ssl_core.files import write_json


def record(folder, data="LibriSpeech/test-clean", wer=0.05, labelled="10h", **changes):
    name = data.rstrip("/").rpartition("/")[2]
    found = {
        "labelled": labelled,
        "fingerprint": "a" * 64,
        "data": data,
        "utterances": decodings.SPLITS.get(name, 7),
        "wer": {"rate": wer, "interval": [wer - 0.01, wer + 0.01]},
        "search": {"kind": "greedy"},
        "skipped": [],
        **changes,
    }
    write_json(folder / "decode.json", found)


FOUR = {"kind": "beam", "lm": "x/4-gram.arpa.gz", "lexicon": None, "lm_order": 4}


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "mine"
    record(folder / "clean", wer=0.0312)
    record(folder / "clean_lm", wer=0.0277, search=FOUR)
    record(folder / "other", "LibriSpeech/test-other", wer=0.09)
    record(folder / "hundred", wer=0.02, labelled="100h")
    return folder


def test_results_stand_in_the_cells_of_the_papers(run):
    text = wer_table.wer_table([run])
    ten = text.partition("10 h of")[2].partition("**LibriSpeech, 100 h")[0]
    (row,) = [line for line in ten.splitlines() if line.startswith("| mine ")]
    cells = [cell.strip(" *<>u/") for cell in row.split("|")[1:-1]]
    missing = "not run"
    assert cells == ["mine", missing, missing, "3.1", "9.0", missing, missing, "2.8", missing]
    assert "**3.1**" in row  # the best of its column
    minutes = text.partition("10 min of")[2].partition("**LibriSpeech, 1 h")[0]
    assert "| mine | not run | not run |" in minutes
    assert "not comparable" not in text


def test_published_rates_have_their_source():
    text = wer_table.wer_table([])
    assert "| HuBERT Base | - | - | <u>10.1</u> | <u>16.8</u> |" in text
    assert "ILS-SSL/README.md" in text and "(at second hand)" in text
    for one in decodings.published():
        assert 0 < one.wer < 1 and one.labelled in wer_table.AMOUNTS and one.source


@pytest.mark.parametrize(
    "change",
    [
        {"utterances": 100},
        {"labelled": None},
        {"labelled": "5h"},
        {"data": "an4/test.csv"},
        {"search": {**FOUR, "lm_order": 3, "lm": "3gram.arpa"}},
        {"search": {**FOUR, "lm_order": 3}},
        {"search": {**FOUR, "lm": "my_4gram.arpa"}},
        {"search": {**FOUR, "lm": "my_4-gram.bin", "lm_order": None}},
        {"search": {**FOUR, "lm": "x/4-gram", "lm_order": None}},
        {"search": {"kind": "beam", "lm": None, "lexicon": "words.txt"}},
    ],
)
def test_what_is_not_the_papers_setting_stands_apart(tmp_path, change):
    record(tmp_path / "mine", **change)
    text = wer_table.wer_table([tmp_path / "mine"])
    papers, _, rest = text.partition("**Other speech")
    assert "5.0 (4.0 to 6.0)" in rest
    assert "| mine | not run |" in papers


def test_a_4_gram_of_ones_own_is_called_so(tmp_path):
    record(tmp_path / "mine", search={**FOUR, "lm": "lm.arpa"})
    assert "| test-clean own 4-gram |" in wer_table.wer_table([tmp_path / "mine"])
    record(tmp_path / "mine", search={**FOUR, "lm": "4-gram.bin", "lm_order": None})
    assert "own" not in wer_table.wer_table([tmp_path / "mine"]).partition("**Other speech")[2]


def test_lists_of_one_name_are_told_apart_by_their_folders(tmp_path):
    record(tmp_path / "mine" / "a", "data/an4/test.csv", 0.5)
    record(tmp_path / "mine" / "b", "data/other/test.csv", 0.6)
    text = wer_table.wer_table([tmp_path / "mine"])
    assert "| model | labelled | an4/test no LM | other/test no LM |" in text
    assert "| mine | 10h | 50.0 (49.0 to 51.0) | 60.0 (59.0 to 61.0) |" in text


def test_every_format(run):
    rows = list(csv.DictReader(io.StringIO(wer_table.wer_table([run], "csv"))))
    mine = [row for row in rows if row["from"] == "run"]
    assert {(row["labelled"], row["lm"], row["split"], row["wer"]) for row in mine} >= {
        ("10h", "no LM", "test-clean", "3.12"), ("10h", "4-gram", "test-clean", "2.77"),
    }  # fmt: skip
    assert wer_table.wer_table([run], "latex").count(r"\begin{table*}") == 4
    assert r"\toprule" in wer_table.wer_table([run], "booktabs")
    assert "<table" in wer_table.wer_table([run], "html")
    with pytest.raises(ValueError, match="no such format"):
        wer_table.wer_table([run], "doc")


def test_two_results_for_one_cell_are_told_apart(run):
    record(run / "again", wer=0.04)
    text = wer_table.wer_table([run])
    assert "| mine/again |" in text and "| mine/clean |" in text


def test_of_two_results_for_one_cell_the_one_in_the_run_itself_is_called_like_the_run(run):
    record(run, wer=0.041)
    text = wer_table.wer_table([run])
    assert "| mine/clean |" in text and "mine/." not in text
    (row,) = [line for line in text.splitlines() if line.startswith("| mine |") and "4.1" in line]
    assert "9.0" in row


def test_two_folders_of_one_name_do_not_share_a_cell(tmp_path):
    record(tmp_path / "a" / "mine")
    record(tmp_path / "b" / "mine")
    runs = [tmp_path / "a" / "mine", tmp_path / "b" / "mine"]
    with pytest.raises(ValueError, match="two results for test-clean of mine"):
        wer_table.wer_table(runs)
    assert "| first |" in wer_table.wer_table(runs, names=["first"])


@pytest.mark.parametrize(
    "change",
    [
        {"wer": {"rate": 0.1, "interval": [0.1]}},
        {"wer": {"rate": 0.1, "interval": [0.1, 0.2, 0.3]}},
        {"wer": {"rate": 0.1, "interval": "ab"}},
        {"wer": {"rate": 0.1, "interval": [None, 0.2]}},
        {"wer": {"rate": 0.1, "interval": [0.1, 1e9]}},
        {"wer": {"interval": [0.1, 0.2]}},
        {"labelled": ["10h"]},
    ],
)
def test_a_record_of_another_form_is_refused(tmp_path, change):
    record(tmp_path / "mine")
    path = tmp_path / "mine" / "decode.json"
    write_json(path, {**json.loads(path.read_text()), **change})
    with pytest.raises(ValueError, match="not a record of `mt4ssl decode`"):
        wer_table.wer_table([tmp_path / "mine"])


@pytest.mark.parametrize(
    "content",
    [[], {}, {"wer": {"rate": 0.1}}, {"wer": "x"}, "text"],
)
def test_a_damaged_record_is_named(tmp_path, run, content):
    write_json(tmp_path / "bad" / "decode.json", content)
    with pytest.raises(ValueError, match=r"bad/decode\.json: not a record of `mt4ssl decode`"):
        wer_table.wer_table([tmp_path / "bad"])
    broken = []
    assert "| mine |" in wer_table.wer_table([tmp_path / "bad", run], broken=broken)
    assert len(broken) == 1 and "bad" in broken[0]


def test_the_command(run, tmp_path, capsys):
    assert mt4ssl_cli.main(["wer-table", str(run), "--name", "first"]) == 0
    assert "| first |" in capsys.readouterr().out
    out = tmp_path / "wer.tex"
    words = ["wer-table", str(run), "--format", "latex", "--out", str(out)]
    assert mt4ssl_cli.main(words) == 0
    assert out.read_text().startswith(r"\begin{table*}")
    assert mt4ssl_cli.main(["wer-table", str(run), "--name", "HuBERT Base"]) == 2
    assert "published rates have this name" in capsys.readouterr().err
    (tmp_path / "none").mkdir()
    assert mt4ssl_cli.main(["wer-table", str(tmp_path / "none")]) == 2
    assert "no decode.json" in capsys.readouterr().err
    assert mt4ssl_cli.main(["wer-table", str(run), str(tmp_path / "none")]) == 1
