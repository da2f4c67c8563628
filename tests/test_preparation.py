import pytest
import toy_suite

from upstream import corpora
from upstream.corpora import Survey
from upstream.suite import preparation


@pytest.fixture
def root(tmp_path, monkeypatch):
    made = toy_suite.make_tasks(tmp_path, monkeypatch, corpora=False)
    monkeypatch.setattr(corpora, "survey", lambda *_: Survey({"test": 2}, hours=1.0))
    monkeypatch.setattr(corpora, "prepare", lambda *_: None)
    return made


def test_what_a_corpus_is(root, monkeypatch, capsys):
    found = preparation.prepare(["rate"], {"rate": root})["rate"]
    assert found["kind"] == "real" and found["counts"] == {"test": 2} and found["hours"] == 1.0
    (root / corpora.MINI).write_text('{"version": 1, "seed": 5, "size": "tiny", "tasks": {}}')
    mini = preparation.prepare(["rate"], {"rate": root})["rate"]
    assert (mini["kind"], mini["seed"], mini["size"]) == ("mini", 5, "tiny")
    assert len({found["fingerprint"], mini["fingerprint"]}) == 2
    preparation.prepare_some("rate", str(root), None)
    assert "rate: Toy (mini): test 2; ready for s3prl" in capsys.readouterr().out


def test_all_problems_of_all_corpora_at_once(root, monkeypatch):
    problems = {"rate": ["a.wav is missing", "b.wav has 8000 Hz"], "fold": ["c.csv is cut off"]}
    monkeypatch.setattr(
        corpora, "survey", lambda code, *_: Survey({"test": 1}, problems.get(code, []))
    )
    folders = dict.fromkeys(("rate", "fold", "lm"), root)
    with pytest.raises(ValueError) as caught:
        preparation.prepare(list(folders), folders)
    lines = str(caught.value).splitlines()
    assert lines[0] == "4 problem(s) with the corpora:"
    assert lines[1:4] == [
        "  rate: a.wav is missing",
        "  rate: b.wav has 8000 Hz",
        "  fold: c.csv is cut off",
    ]
    assert lines[4].startswith(f"  lm: {root / 'lm'}: test has 1 of 2; get the")
    found = preparation.prepare(["lm"], folders, allow_partial=True)
    assert found["lm"]["kind"] == "partial"


def test_preparations_that_fail_are_told_together(root, monkeypatch):
    def prepare(code, folder):
        raise ValueError(f"no lexicon for {code}; get it from https://example.org")

    monkeypatch.setattr(corpora, "prepare", prepare)
    with pytest.raises(ValueError, match=r"2 problem.*\n.*rate: no lexicon.*\n.*fold: no lexicon"):
        preparation.prepare(["rate", "fold"], {"rate": root, "fold": root})


def test_one_way_to_say_where(root):
    for where in ((None, None), ("a", "b")):
        with pytest.raises(ValueError, match="give the corpus with --root DIR"):
            preparation.prepare_some("rate", *where)


def test_packages(monkeypatch):
    headers = {
        "ks": {"packages": ["json"], "extra": "superb"},
        "sd": {"packages": ["no_h5py", "json"], "extra": "superb"},
        "se": {"packages": ["no_pesq"], "extra": "superb-sg"},
    }
    monkeypatch.setattr(preparation.tasks, "header", headers.__getitem__)
    preparation.require_packages(["ks"])
    with pytest.raises(ValueError) as caught:
        preparation.require_packages(["ks", "sd", "se"])
    said = str(caught.value)
    assert "sd needs no_h5py" in said and "se needs no_pesq" in said and "ks needs" not in said
    assert 'pip install "mt4ssl[superb,superb-sg]"' in said
