from pathlib import Path

import pytest
import toy_suite

from upstream.suite import roots


@pytest.fixture
def corpora(tmp_path, monkeypatch):
    return toy_suite.make_tasks(tmp_path, monkeypatch)


def test_the_papers_order_and_each_task_once():
    names = roots.pick("all")
    assert names[0] == "pr" and names.index("ks") < names.index("sid")
    assert roots.pick("sid, ks,sid") == ["ks", "sid"]
    assert roots.in_order(["vc", "new", "er"]) == ["er", "vc", "new"]


def test_an_unknown_task_is_named_with_the_nearest():
    with pytest.raises(ValueError, match=r"'sidd' \(did you mean sid\?\); unknown task 'x'"):
        roots.pick("ks,sidd,x")
    with pytest.raises(ValueError, match="no task given"):
        roots.pick(" ,")


def test_one_folder_for_all(corpora):
    assert roots.read(corpora, ["rate", "fold"]) == {"rate": corpora, "fold": corpora}


def test_a_file_with_lines_relative_to_it(corpora, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    file = tmp_path / "roots.yaml"
    file.write_text("rate: elsewhere\nall: corpora\n")
    found = roots.read(file, ["rate", "fold"])
    assert found == {"rate": tmp_path / "elsewhere", "fold": corpora}
    assert roots.read(tmp_path, ["rate"]) == {"rate": tmp_path / "elsewhere"}  # its roots.yaml


def test_all_mistakes_of_a_file_at_once(corpora, tmp_path):
    file = tmp_path / "roots.yaml"
    file.write_text("ratee: corpora\n")
    with pytest.raises(ValueError, match=r"1 problem.*\n.*'ratee' \(did you mean rate\?\)"):
        roots.read(file, ["rate"])
    file.write_text("fold: 3\nlayer: gone\nrate: corpora\n")
    with pytest.raises(ValueError) as caught:
        roots.read(file, ["rate", "fold", "layer", "every"])
    said = str(caught.value)
    for part in (
        f"{file}: 3 problem(s)",
        "fold: 3 is not a folder",
        f"layer: {tmp_path / 'gone'} is not there",
        "every has no line; add 'every: FOLDER'",
    ):
        assert part in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- a\n", "found list"),
        ("a: [", "cannot be read"),
        ("", "found NoneType"),
        ("? &a [*a]\n: 1\n", "cannot be read"),
    ],
)
def test_files_that_are_no_roots(text, says, tmp_path):
    (tmp_path / "roots.yaml").write_text(text)
    with pytest.raises(ValueError, match=says):
        roots.read(tmp_path / "roots.yaml", ["ks"])


def test_nothing_there():
    with pytest.raises(ValueError, match="no such file or folder; give a YAML file"):
        roots.read(Path("/gone/roots.yaml"), ["ks"])


def test_home_and_what_is_left_without_a_folder(corpora, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "roots.yaml"
    file.write_text("rate: ~/corpora\nfold: ~/gone\nlayer: ~nobody_here/x\n")
    found, wrong = roots.read_each("~/roots.yaml", ["rate", "fold", "every"])
    assert found == {"rate": corpora}
    assert list(wrong) == ["fold", "every"]
    assert f"fold: {tmp_path / 'gone'} is not there" in wrong["fold"][0]
