"""analysis/convergence/scoring_checks.py: what is refused before anything is trained or probed."""

import pytest

import mt4ssl_cli
from analysis.convergence import comparison, study
from analysis.convergence.scoring import Scoring

ABX = "--probes abx_within --items"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--probes keyword", "--probes: says nothing without --probe-data"),
        ("--minutes 3", "--minutes: says nothing without --probe-data"),
        ("--layer 2", "--layer: says nothing without --probe-data"),
        ("--items a.item", "--items: says nothing without --probe-data"),
        ("--alignments a", "--alignments: says nothing without --probe-data"),
        ("--roots {here}", "--roots: says nothing without --tasks"),
        ("--set ks:runner.total_steps=5", "--set: says nothing without --tasks"),
        ("--allow-partial", "--allow-partial: says nothing without --tasks; give that, or leave"),
        ("--probe-data {here} --probes phonectc", "--probes phonectc: unknown; choose from phone"),
        ("--probe-data {here} --probes ,", "--probes ',': no name in it"),
        ("--probe-data {here} --layer last", "--layer last: expected auto or a number"),
        ("--probe-data {here}/gone", "--probe-data {here}/gone: no such file or folder"),
        ("--probe-data {here} --alignments {here}/gone", "--alignments {here}/gone: no such file"),
        ("--probe-data {here} --items a.item", "--items a.item: says what abx_within and abx_"),
        ("--probe-data {here} " + ABX + " {here}/gone.item", "gone.item: no such file"),
        ("--tasks ks", "--tasks: where are the corpora? give --roots"),
        ("--tasks kss --roots {here}", "unknown task 'kss'"),
        ("--tasks ks --roots {here}/gone.yaml", "gone.yaml: no such file or folder"),
        ("--tasks ks --roots {here} --set ks:runner.total_step=5", "runner.total_step"),
        ("--scores {here}/gone.csv", "gone.csv: no such file"),
        ("--target keyword", "--target keyword: expected METRIC=VALUE"),
    ],
)  # fmt: skip
def test_mistakes_are_found_before_anything_is_trained(tmp_path, capsys, monkeypatch, words, told):
    monkeypatch.setattr(study, "plan", None)
    given = f"study tiny {words} --out {tmp_path / 'out'}".format(here=tmp_path)
    assert mt4ssl_cli.main(["convergence", *given.split()]) == 2
    assert told.format(here=tmp_path) in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_mistakes_are_found_before_anything_is_probed(tmp_path):
    with pytest.raises(ValueError, match="--probes: says nothing without --probe-data"):
        comparison.compare(["gone"], tmp_path, scoring=Scoring(probes="keyword"))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("study tiny --labels a", "--labels: groups of a study are called after its configs"),
        ("runs --seeds 2", "--seeds 2: of `convergence study CONFIG ...`; leave it out"),
        ("runs --jobs 2", "--jobs 2: of `convergence study"),
    ],
)
def test_options_of_studies_and_of_runs(capsys, words, told):
    assert mt4ssl_cli.main(["convergence", *words.split()]) == 2
    assert told in capsys.readouterr().err
