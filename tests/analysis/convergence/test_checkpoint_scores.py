"""Where the scores of checkpoints come from, and bad ones."""

import json
import shutil
from pathlib import Path

import pytest
import score_runs
from pretraining_runs import checkpoints, run

from analysis.abx.items import ItemFile
from analysis.convergence import checkpoint_scores, point_table
from analysis.labelled_speech import speech
from analysis.labelled_speech.speech import LabelledUtterance
from analysis.probes import probing
from analysis.records import training_runs
from upstream.door import cache

SPEECH = [
    LabelledUtterance("a/1", Path("/x/1.wav"), 16_000, speaker="s"),
    LabelledUtterance("a/2", Path("/2"), 900),
]


def found(*folders):
    return training_runs.find_runs(folders)[0]


def values(table):
    return [tuple(row) for row in table[["run", "update", "metric", "value"]].to_numpy()]


@pytest.fixture
def probe(monkeypatch):
    """Probes that score 0.1 per ten updates on layer 0 and twice that on layer 1; the calls."""
    calls = []

    def score(checkpoint, utterances, probes, seed=0, minutes=20.0, device="auto", items=None):
        calls.append((checkpoint.name, tuple(probes), seed))
        value = int(checkpoint.stem.partition("_")[2]) / 100
        return [
            {"layer": layer, "measure": name, "value": value * (layer + 1), "unit": "fraction",
             "low": float("nan"), "direction": "max", "held_out": value, "chosen": layer == 1}
            for name in probes for layer in (0, 1)
        ]  # fmt: skip

    monkeypatch.setattr(probing, "score_layers", score, raising=False)
    return calls


def test_held_out_losses_of_runs_with_the_same_labels(tmp_path):
    runs = found(run(tmp_path / "a", (4.0, 2.0)), run(tmp_path / "b", (None,), online=0.5))
    table, notes = checkpoint_scores.held_out(runs)
    assert notes == [] and values(table) == [
        ("a", 10, "offline_loss", 4.0), ("a", 10, "offline_accuracy", 0.25),
        ("a", 20, "offline_loss", 2.0), ("a", 20, "offline_accuracy", 0.5),
    ]  # fmt: skip
    assert list(table["direction"][:2]) == ["min", "max"]


@pytest.mark.parametrize(
    "judge",
    [
        {"data__labels": "/of/hubert/train.km"},  # a file of the same name
        {"data__valid": "/data/valid.tsv"}, {"masking__prob": 0.5}, {"data__max_seconds": 4.0},
        {"data__min_seconds": 0.25}, {"masking__same_count": True}, {"data__train": "/data/2.tsv"},
        {"encoder__frontend": "mel", "encoder__mel_stack": 4},
    ],
)  # fmt: skip
def test_held_out_losses_of_runs_that_are_judged_otherwise_are_left_out(tmp_path, judge):
    runs = found(
        run(tmp_path / "other", **judge), run(tmp_path / "a"), run(tmp_path / "b", run__seed=2)
    )
    table, notes = checkpoint_scores.held_out(runs)
    assert set(table["run"]) == {"a", "b"}
    assert notes == [
        "held-out losses of other are left out: their labels, masks, frames or audio differ"
    ]


def test_held_out_losses_of_both_front_ends_at_one_frame_rate_are_compared(tmp_path):
    mel = {"encoder__frontend": "mel", "encoder__mel_stack": 2}
    conv = {"encoder__frontend": "conv", "encoder__mel_stack": 4}  # which says nothing
    runs = found(run(tmp_path / "a", **mel), run(tmp_path / "b", **conv), run(tmp_path / "c"))
    assert len(training_runs.judged_alike(runs)) == 3


def test_what_says_nothing_of_the_held_out_audio_does_not_part_runs(tmp_path):
    held_out = {"data__valid": "/v.tsv", "data__valid_labels": "/v.km"}
    a = run(tmp_path / "a", **held_out, data__valid_share=0.01, masking__same_count=False)
    b = run(tmp_path / "b", **held_out, data__valid_share=0.0, data__labels="/of/hubert/train.km")
    assert set(checkpoint_scores.held_out(found(a, b))[0]["run"]) == {"a", "b"}


def test_of_two_runs_that_are_judged_otherwise_neither_is_taken(tmp_path):
    runs = found(run(tmp_path / "a"), run(tmp_path / "b", masking__prob=0.5))
    table, notes = checkpoint_scores.held_out(runs)
    assert table.empty and "held-out losses of a, b are left out" in notes[0]


def test_probes_are_kept_beside_the_run_and_not_done_twice(tmp_path, probe):
    runs = found(checkpoints(run(tmp_path / "a"), 10, 20))
    table = checkpoint_scores.probed(runs, SPEECH, ["keyword"])
    assert values(table) == [("a", 10, "keyword", 0.2), ("a", 20, "keyword", 0.4)]
    assert list(table["layer"]) == [1, 1] and len(probe) == 2
    assert len(list((tmp_path / "a" / "probes").glob("*/update_10.json"))) == 1
    table = checkpoint_scores.probed(runs, SPEECH, ["keyword"], layer="0")
    assert list(table["value"]) == [0.1, 0.2] and len(probe) == 2
    checkpoint_scores.probed(runs, SPEECH, ["keyword", "speaker"])  # only what is new
    assert [call[1] for call in probe[2:]] == [("speaker",)] * 2
    checkpoint_scores.probed(runs, SPEECH[:1], ["keyword"])  # other speech
    checkpoint_scores.probed(runs, SPEECH[:1], ["keyword"], seed=1)
    assert len(probe) == 8


def test_abx_of_an_item_file_is_done_again_when_the_file_changes(tmp_path, probe):
    runs, path = found(checkpoints(run(tmp_path / "a"), 10)), tmp_path / "words.item"
    for text in ("one", "one", "other"):
        path.write_text(text)
        checkpoint_scores.probed(runs, SPEECH, ["abx_across"], items=ItemFile(path, {}))
    assert len(probe) == 2
    checkpoint_scores.probed(runs, SPEECH, ["keyword"])
    checkpoint_scores.probed(runs, SPEECH, ["keyword", "abx_across"], items=ItemFile(path, {}))
    assert [call[1] for call in probe[2:]] == [("keyword",)]  # other probes do not touch ABX


def test_scores_in_a_folder_of_others_are_not_kept_and_said(tmp_path, probe, capsys):
    runs = found(checkpoints(run(tmp_path / "a"), 10))
    (tmp_path / "a" / "probes").write_text("a file where a folder should be made")
    assert len(checkpoint_scores.probed(runs, SPEECH, ["keyword"])) == 1
    assert "scores are not kept: " in capsys.readouterr().err


def test_other_minutes_do_not_throw_away_what_is_kept(tmp_path, probe):
    runs = found(checkpoints(run(tmp_path / "a"), 10))
    for minutes in (20.0, 2.0, 20.0):
        checkpoint_scores.probed(runs, SPEECH, ["keyword"], minutes=minutes)
    assert len(probe) == 2


def test_a_probe_that_is_named_twice_is_one(tmp_path, probe):
    runs = found(checkpoints(run(tmp_path / "a"), 10))
    for names in (["keyword", "keyword"], ["keyword"]):
        assert len(checkpoint_scores.probed(runs, SPEECH, names)) == 1
    assert [call[1] for call in probe] == [("keyword",)]


def test_another_checkpoint_or_a_damaged_file_is_probed_again(tmp_path, probe):
    folder = checkpoints(run(tmp_path / "a"), 10)
    checkpoint_scores.probed(found(folder), SPEECH, ["keyword"])
    (kept,) = (folder / "probes").glob("*/update_10.json")
    kept.write_text('{"checkpoint"')
    checkpoint_scores.probed(found(folder), SPEECH, ["keyword"])
    assert len(probe) == 2
    with open(folder / "update_10.pt", "ab") as file:
        file.write(b"\0")
    checkpoint_scores.probed(found(folder), SPEECH, ["keyword"])
    assert len(probe) == 3


def test_an_interrupted_study_of_probes_goes_on(tmp_path, probe, monkeypatch):
    runs, score = found(checkpoints(run(tmp_path / "a"), 10, 20)), probing.score_layers

    def stops(checkpoint, *args, **options):
        if checkpoint.name == "update_20.pt":
            raise KeyboardInterrupt
        return score(checkpoint, *args, **options)

    monkeypatch.setattr(probing, "score_layers", stops)
    with pytest.raises(KeyboardInterrupt):
        checkpoint_scores.probed(runs, SPEECH, ["keyword"])
    monkeypatch.setattr(probing, "score_layers", score)
    checkpoint_scores.probed(runs, SPEECH, ["keyword"])
    assert [call[0] for call in probe] == ["update_10.pt", "update_20.pt"]


def test_bad_requests_for_probes(tmp_path, probe):
    empty, full = run(tmp_path / "a"), checkpoints(run(tmp_path / "b"), 10)
    with pytest.raises(ValueError, match=r"a: no checkpoints to score; pre-train with run\.keep"):
        checkpoint_scores.probed(found(empty), SPEECH, ["keyword"])
    with pytest.raises(ValueError, match=r"--layer 7: .*update_10\.pt has the layers 0 to 1"):
        checkpoint_scores.probed(found(full), SPEECH, ["keyword"], layer="7")


def test_a_checkpoint_that_its_run_replaces_meanwhile_is_left_out(tmp_path, probe, monkeypatch):
    folder, score = checkpoints(run(tmp_path / "a"), 10, last=20), probing.score_layers

    def late(checkpoint, *args, **options):
        if checkpoint.name == "last.pt":
            checkpoints(folder, last=30)
        return score(folder / "update_10.pt", *args, **options)

    monkeypatch.setattr(probing, "score_layers", late)
    monkeypatch.setattr(checkpoint_scores, "_possible", lambda probes, *_: probes)
    broken = []
    table = checkpoint_scores.probed(found(folder), SPEECH, ["keyword"], broken=broken)
    assert values(table) == [("a", 10, "keyword", 0.2)]
    assert broken[-1].startswith(f"not probed: a at update 20: {folder}/last.pt: of update 30 by")


def test_a_probe_that_is_no_number_is_an_error(tmp_path, monkeypatch):
    nan = {"layer": 0, "measure": "keyword", "value": float("nan"), "unit": "fraction"}
    nan |= {"direction": "max", "held_out": 0.5, "chosen": True}
    monkeypatch.setattr(probing, "score_layers", lambda *_, **__: [nan], raising=False)
    with pytest.raises(ValueError, match=r"update_10\.pt: keyword is None; remove .*update_10\.js"):
        checkpoint_scores.probed(found(checkpoints(run(tmp_path / "a"), 10)), SPEECH, ["keyword"])


def test_superb_results_in_the_run_become_points(tmp_path):
    folder = checkpoints(run(tmp_path / "a"), 10, 20, last=30)
    for name, value in (("update_10", 0.3), ("last", 0.5)):
        ks = score_runs.record("ks", value, corpus=score_runs.MINI)
        identity = cache.file_fingerprint(folder / f"{name}.pt")
        score_runs.suite(folder / "superb" / name, ks, fingerprint=identity)
    table = checkpoint_scores.superb(found(folder))
    assert values(table) == [("a", 10, "ks/acc", 0.3), ("a", 30, "ks/acc", 0.5)]
    assert set(table["unit"]) == {"fraction"} and set(table["direction"]) == {"max"}
    other = score_runs.record("ks", 0.4, corpus={**score_runs.MINI, "fingerprint": "other"})
    other["fingerprint"] = cache.file_fingerprint(folder / "update_20.pt")
    score_runs.suite(folder / "superb" / "update_20", other)
    with pytest.raises(ValueError, match="ks: scored on different corpora or under different sett"):
        checkpoint_scores.superb(found(folder))
    shutil.rmtree(folder / "superb" / "update_20")
    checkpoints(folder, last=40)  # trained on since it was scored
    with pytest.raises(
        ValueError, match=r"superb/last/results.jsonl: scores of another checkpoint"
    ):
        checkpoint_scores.superb(found(folder))


def test_superb_is_run_on_every_checkpoint_and_failures_are_told(tmp_path, monkeypatch):
    folder, asked = checkpoints(run(tmp_path / "a"), 10, 20), []

    def fake(request):
        asked.append((Path(request.ckpt).name, request.out, request.names, list(request.set)))
        return int(request.ckpt.endswith("update_20.pt"))

    monkeypatch.setattr(checkpoint_scores.suite, "run", fake)
    settings = ["ks:runner.total_steps=10"]
    failed = checkpoint_scores.run_superb(found(folder), "ks", "roots.yaml", settings)
    assert asked == [
        (f"update_{u}.pt", folder / "superb" / f"update_{u}", ["ks"], settings) for u in (10, 20)
    ]
    assert failed == [f"a: SUPERB failed at update 20: see {folder}/superb/update_20/logs"]


def test_numbers_from_a_table(tmp_path):
    runs, path = found(run(tmp_path / "a")), tmp_path / "scores.csv"
    path.write_text("run,update,metric,value\na,10,test wer,40\na,20,test wer,30\na,20,mos,2\n")
    table = point_table.from_csv(path, runs)
    assert values(table) == [
        ("a", 10, "test wer", 40),
        ("a", 20, "test wer", 30),
        ("a", 20, "mos", 2),
    ]
    assert list(table["direction"]) == ["min", "min", "max"]
    path.write_text("run,update,metric,value,unit,direction\na,10,x,4,dB,min\n")
    table = point_table.from_csv(path, runs)
    assert (table["unit"][0], table["direction"][0]) == ("dB", "min")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run,metric,value\n", "no column update among"),
        ("run,update,metric,value\nb,10,x,1\n", "line 2: no run 'b'; is it a?"),
        ("run,update,metric,value\na,10,x,1\na,10,x,nan\n", "line 3: value 'nan' is no finite num"),
        ("run,update,metric,value\na,ten,x,1\n", "line 2: update 'ten' is no finite number"),
        ("run,update,metric,value\na,900,x,1\n", "line 2: a has no update 900"),
        ("run,update,metric,value\na,10,x,1\na,10,x,2\n", "line 3: a 10.0 x a second time"),
        ("run,update,metric,value,direction\na,10,x,1,up\n", "line 2: direction 'up'; write min"),
        ("", "not a table"),
    ],
)
def test_bad_tables(tmp_path, text, message):
    runs, path = found(run(tmp_path / "a")), tmp_path / "scores.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        point_table.from_csv(path, runs)
    assert str(path) in str(error.value)


def test_points_of_two_sources_must_not_contradict(tmp_path):
    runs, path = found(run(tmp_path / "a"), run(tmp_path / "b")), tmp_path / "scores.csv"
    path.write_text("run,update,metric,value\na,10,offline_loss,1\n")
    parts = [checkpoint_scores.held_out(runs)[0], point_table.from_csv(path, runs)]
    with pytest.raises(ValueError, match="a: offline_loss at update 10 from two sources"):
        point_table.joined(parts)
    path.write_text("run,update,metric,value,unit\na,10,x,1,dB\nb,10,x,1,percent\n")
    with pytest.raises(ValueError, match="x: unit is dB and percent; make them alike"):
        point_table.joined([point_table.from_csv(path, runs)])


def test_the_fingerprint_is_of_labels_not_of_places(tmp_path):
    moved = [LabelledUtterance("a/1", Path("/y/1.wav"), 16_000, speaker="s"), SPEECH[1]]
    assert speech.speech_fingerprint(moved) == speech.speech_fingerprint(SPEECH[::-1])
    other = [LabelledUtterance("a/1", Path("/x/1.wav"), 16_000, speaker="t"), SPEECH[1]]
    assert speech.speech_fingerprint(other) != speech.speech_fingerprint(SPEECH)
    assert json.dumps(speech.speech_fingerprint([]))
