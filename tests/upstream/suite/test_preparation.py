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
    found = preparation.prepare(["rate"], {"rate": root})[0]["rate"]
    assert found["kind"] == "real" and found["counts"] == {"test": 2} and found["hours"] == 1.0
    (root / corpora.MINI).write_text('{"version": 1, "seed": 5, "size": "tiny", "tasks": {}}')
    mini = preparation.prepare(["rate"], {"rate": root})[0]["rate"]
    assert (mini["kind"], mini["seed"], mini["size"]) == ("mini", 5, "tiny")
    assert len({found["fingerprint"], mini["fingerprint"]}) == 2
    preparation.prepare_some("rate", str(root), None)
    assert "rate: Toy (mini): test 2; ready for s3prl" in capsys.readouterr().out


def test_all_problems_of_all_corpora_at_once(root, monkeypatch):
    problems = {"rate": ["a.wav is missing", "b.wav has 8000 Hz"], "fold": ["c.csv is cut off"]}
    monkeypatch.setattr(
        corpora, "survey", lambda code, *_: Survey({"test": 1}, problems.get(code, []))
    )
    with pytest.raises(ValueError) as caught:
        preparation.prepare_some("rate,fold,lm", str(root), None)
    lines = str(caught.value).splitlines()
    assert lines[0] == "3 task(s) without a corpus that is ready (4 problem(s)):"
    assert {
        "  rate: a.wav is missing",
        "  rate: b.wav has 8000 Hz",
        "  fold: c.csv is cut off",
    } < set(lines)
    assert any(line.startswith(f"  lm: {root / 'lm'}: test has 1 of 2; get the") for line in lines)
    found, wrong = preparation.prepare(["lm"], {"lm": root}, allow_partial=True)
    assert found["lm"]["kind"] == "partial" and not wrong


def test_preparations_that_fail_are_told_together_and_cost_the_others_nothing(
    root, monkeypatch, capsys
):
    def prepare(code, folder):
        if code in ("rate", "fold"):
            raise ValueError(f"no lexicon for {code}; get it from https://example.org")

    monkeypatch.setattr(corpora, "prepare", prepare)
    with pytest.raises(ValueError) as caught:
        preparation.prepare_some("rate,fold,lm", str(root), None)
    assert "rate: no lexicon" in str(caught.value) and "fold: no lexicon" in str(caught.value)
    assert "lm: Toy (real): test 2; ready for s3prl" in capsys.readouterr().out


@pytest.mark.parametrize(
    "error", [KeyError("x"), IndexError(), UnicodeDecodeError("a", b"", 0, 1, "b")]
)
def test_whatever_a_corpus_does_is_named_and_costs_the_others_nothing(root, monkeypatch, error):
    def survey(code, *_):
        if code == "rate":
            raise error
        return Survey({"test": 2})

    monkeypatch.setattr(corpora, "survey", survey)
    found, wrong = preparation.prepare(["rate", "lm"], dict.fromkeys(("rate", "lm"), root))
    assert list(found) == ["lm"]
    assert f"{root}: cannot be read ({type(error).__name__}" in wrong["rate"][0]


@pytest.mark.parametrize("lacking", [["no wav files in yes"], ["a", "b"], ["x", "y", "z"]])
def test_what_a_part_may_lack_says_how_to_accept_it(root, monkeypatch, lacking):
    monkeypatch.setattr(corpora, "survey", lambda *_: Survey({"test": 1}, lacking=lacking))
    _, wrong = preparation.prepare(["rate"], {"rate": root})
    assert wrong["rate"] == [
        f"{line}, or accept what is there with --allow-partial" for line in lacking
    ]
    found, wrong = preparation.prepare(["rate"], {"rate": root}, allow_partial=True)
    assert found["rate"]["kind"] == "partial" and not wrong
    monkeypatch.setattr(corpora, "survey", lambda *_: Survey({"test": 1}, ["bad"], lacking=lacking))
    _, wrong = preparation.prepare(["rate"], {"rate": root})
    assert wrong["rate"] == ["bad", *lacking]  # would not be accepted


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
    assert "sd: needs no_h5py" in said and "se: needs no_pesq" in said and "ks: " not in said
    assert 'pip install "mt4ssl[superb]"' in said and 'pip install "mt4ssl[superb-sg]"' in said
