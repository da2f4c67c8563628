import pytest
import toy_suite
import yaml

from upstream import corpora
from upstream.compat import torchaudio_pair
from upstream.corpora import Survey
from upstream.door import packages
from upstream.suite import doctor, preparation
from upstream.suite.upstream_trial import Probe


@pytest.fixture
def roots(tmp_path, monkeypatch):
    folder = toy_suite.make_tasks(tmp_path, monkeypatch, corpora=False)
    surveys = {"rate": Survey({"test": 2}, hours=0.5), "layer": Survey({"test": 2}, hours=10.0)}
    broken = Survey({"test": 0}, ["a.wav is missing; copy it again"])
    monkeypatch.setattr(corpora, "survey", lambda code, *_: surveys.get(code, broken))
    return folder


def test_time_from_steps_audio_and_the_upstreams_speed(roots):
    found = doctor.examine(roots, "rate,layer", Probe(layers=3, dim=8, seconds=0.01))
    by_task = {finding.task: finding for finding in found}
    # 100 steps of 4 utterances of a quarter of an hour, at 0.01 s per second, and the head
    assert by_task["rate"].hours == pytest.approx(100 * 4 * 0.25 * 0.01 * doctor.BACKWARD)
    assert by_task["rate"].rates == 3 and by_task["rate"].corpus == "real"
    assert by_task["layer"].hours == pytest.approx(10 * 0.01) and by_task["layer"].rates == 3
    frames = {"datarc": {"max_tokens": 1000}}
    assert doctor._batch_hours(frames, 0.25) == pytest.approx(1000 * 0.01 / 3600)
    assert doctor._batch_hours({"datarc": {"batch_size": 2, **frames}}, 0.25) == 0.5
    assert doctor._batch_hours({"datarc": {}}, 0.25) is None
    (without,) = doctor.examine(roots, "rate")
    assert without.hours is None


def test_what_is_missing_is_in_the_report_and_the_exit_code(roots, tmp_path, capsys):
    path = tmp_path / "tasks" / "rate.yaml"
    config = yaml.safe_load(path.read_text())
    config["superb"] |= {"packages": ["no_such_package"], "extra": "superb-sg"}
    path.write_text(yaml.safe_dump(config))
    assert doctor.doctor(str(roots), asked="rate,fold") == 1
    said = capsys.readouterr().out
    for part in (
        "no_such_package missing",
        'pip install "mt4ssl[superb-sg]"',
        "fold: a.wav is missing; copy it again",
        "GB free",
    ):
        assert part in said
    assert "missing, 1 problem(s)" in said
    assert doctor.doctor(str(roots), asked="layer") == 0


def test_a_task_without_a_folder_is_a_finding_and_not_an_error(roots, tmp_path):
    (tmp_path / "roots.yaml").write_text("rate: corpora\n")
    found = {f.task: f for f in doctor.examine(str(tmp_path / "roots.yaml"), "rate,fold")}
    assert found["fold"].corpus == "missing" and "fold has no line" in found["fold"].problems[0]
    assert found["rate"].problems == []
    with pytest.raises(ValueError, match="no such file or folder"):
        doctor.examine("/gone.yaml")


def test_half_a_corpus(roots, monkeypatch):
    half = {"test": 1}
    monkeypatch.setattr(corpora, "survey", lambda *_: Survey(half, hours=0.1))
    corpus, problems = preparation.survey("rate", roots)
    assert corpus["kind"] == "partial"
    (problem,) = problems
    assert "test has 1 of 2" in problem and "--allow-partial" in problem
    assert preparation.survey("rate", roots, allow_partial=True)[1] == []


def test_the_size_of_stored_features(roots, tmp_path, capsys):
    path = tmp_path / "tasks" / "rate.yaml"
    config = yaml.safe_load(path.read_text())
    config["superb"]["pooled"] = True
    path.write_text(yaml.safe_dump(config))
    found = Probe(layers=3, dim=8, seconds=0.01, frames=100.0)
    stored = {f.task: f.stored for f in doctor.examine(roots, "rate,layer", found)}
    assert stored["rate"] == pytest.approx(2 * 3 * 8 * 4 / 1e9)  # utterances, float32
    assert stored["layer"] == pytest.approx(10 * 3600 * 100 * 3 * 8 * 2 / 1e9)  # frames, float16
    assert "store GB" in doctor.diagnosis(doctor.examine(roots, "rate", found), tmp_path)


def test_a_stack_that_does_not_go_together_is_named_before_anything_is_timed(
    roots, monkeypatch, capsys
):
    def wrong() -> str:
        raise ValueError("s3prl 1 and espnet-s3prl 2 are both installed")

    assert doctor.doctor(str(roots), asked="layer") == 0
    said = capsys.readouterr().out
    assert said.startswith("torch 2.") and ", torchaudio 2." in said and ", s3prl " in said
    monkeypatch.setattr(packages, "s3prl", wrong)
    monkeypatch.setattr(torchaudio_pair, "install", lambda: wrong())
    assert doctor.doctor(str(roots), ckpt="gone.pt", asked="layer") == 1
    assert capsys.readouterr().out.count("are both installed") == 2


def test_hours_are_those_of_the_full_schedules_and_a_smoke_run_takes_minutes(roots, tmp_path):
    for found in (None, Probe(layers=3, dim=8, seconds=0.01)):
        told = doctor.diagnosis(doctor.examine(roots, "rate", found), tmp_path)
        assert "hours: of SUPERB's full schedules" in told
        assert "take minutes: mt4ssl superb run --smoke" in told
