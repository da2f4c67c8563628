import json
import zipfile

import pytest

from upstream.door import tasks
from upstream.suite import run_folder, submission
from upstream.suite.submission import PARTS

OWNER = {"upstream": "mt4ssl", "ckpt": "/a.pt", "fingerprint": "aa", "seed": 1, "smoke": False}
WER = {"name": "wer", "direction": "min"}
HEADERS = {
    "er": {"metrics": [{"name": "acc", "direction": "max"}], "variants": {"values": ["fold1"]}},
    "asr": {"metrics": [WER, {**WER, "stage": "lm"}]},
    "asv": {"metrics": [{"name": "eer", "direction": "min"}]},
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A folder with the results of every task that the leaderboard takes."""
    tasks.headers()  # which are read once: the real ones
    monkeypatch.setattr(tasks, "names", lambda: [*PARTS, "vc"])
    plain = {"metrics": [{"name": "acc", "direction": "max"}]}
    monkeypatch.setattr(tasks, "header", lambda name: HEADERS.get(name, plain))
    out = tmp_path / "run"
    with run_folder.claimed(out, OWNER):
        for name in PARTS:
            fill(out, name)
    return out


def fill(out, name, kind="real"):
    variants = HEADERS.get(name, {}).get("variants", {}).get("values", [None])
    records, metric = [], tasks.header(name)["metrics"][0]
    for variant in variants:
        found = []
        # of the speaker verification, every checkpoint is tested; the second is the best
        for number, value in enumerate([0.5, 0.1, 0.3] if name == "asv" else [0.2]):
            folder = out / name / (variant or "") / str(number)
            for part in PARTS[name]:
                source = folder / part.source.format(variant=variant)
                if not part.name:
                    source.mkdir(parents=True)
                    source = source / "rec.h5"
                source.parent.mkdir(parents=True, exist_ok=True)
                source.write_text(f"{name} {number} {part.source}")
                found.append(
                    {
                        "metric": metric["name"],
                        "direction": metric["direction"],
                        "value": value,
                        "stage": part.stage,
                        "folder": str(folder.relative_to(out)),
                    }
                )
        job = "/".join(filter(None, (name, variant, "test")))
        run_folder.write_state(out, job, {"state": "done", "result": {"records": found}})
        records.append({"task": name, "metric": metric["name"], "value": 0.1,
                        "corpus": {"kind": kind}, "overrides": {}})  # fmt: skip
    run_folder.write_results(out, [name], records)


def test_the_zip_has_every_task_under_the_leaderboards_names(run):
    path = submission.submit(run)
    assert path == run / "predict.zip"
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        assert archive.read("predict/sv_public/predict.txt") == b"asv 1 test_predict.txt"
        assert archive.read("predict/asr_lm_public/predict.ark").endswith(b"LM-hyp.ark")
    assert names == {
        "predict/pr_public/predict.ark",
        "predict/asr_public/predict.ark",
        "predict/asr_lm_public/predict.ark",
        "predict/ks_public/predict.txt",
        "predict/qbe_public/benchmark.stdlist.xml",
        "predict/sid_public/predict.txt",
        "predict/sv_public/predict.txt",
        "predict/sd_public/rec.h5",
        "predict/ic_public/predict.csv",
        "predict/sf_public/predict.ark",
        "predict/er_fold1_public/predict.txt",
        "predict/se_public/metrics.txt",
        "predict/ss_public/metrics.txt",
        "predict/st_public/predict.tsv",
    }


def test_everything_that_is_missing_is_listed_at_once(run):
    (run / "ks" / "0" / "test_predict.txt").write_text("")
    (run / "sd" / "0" / "scoring" / "predictions" / "rec.h5").unlink()
    run_folder.write_state(run, "er/fold1/test", {"state": "failed", "error": "x"})
    run_folder.write_results(run, ["pr"], [])
    state = run_folder.read_state(run, "asr/test")
    del state["result"]["records"][1]
    run_folder.write_state(run, "asr/test", state)
    with pytest.raises(ValueError) as caught:
        submission.submit(run)
    said = str(caught.value)
    for part in (
        "5 thing(s) missing",
        "pr: not in results.jsonl",
        "asr: asr/test: the evaluation lm was not done",
        "test_predict.txt is not there or empty",
        "er: er/fold1/test is not done",
        "predictions is not there or empty",
        "leave them out with --tasks",
    ):
        assert part in said
    assert not (run / "predict.zip").exists()
    with zipfile.ZipFile(submission.submit(run, "sid,ic", run / "part.zip")) as archive:
        assert len(archive.namelist()) == 2


def test_what_is_no_result_of_superb_is_refused(run):
    real = run_folder.read_results(run)
    changed = [r | {"overrides": {"runner.total_steps": 9}} for r in real]
    run_folder.write_results(run, list(PARTS), changed)
    with pytest.raises(ValueError, match="ks with changed settings"):
        submission.submit(run)
    banked = [r | {"store": {"crops": 4}} for r in real]
    run_folder.write_results(run, list(PARTS), banked)
    with pytest.raises(ValueError, match=r"ks with crops from a bank \(--store-crops\)"):
        submission.submit(run)
    mini = [r | {"corpus": {"kind": "mini"}} for r in real]
    run_folder.write_results(run, list(PARTS), mini)
    with pytest.raises(ValueError, match=r"ks on a mini corpus.*with --force"):
        submission.submit(run)
    owner = json.loads((run / "suite.json").read_text())
    (run / "suite.json").write_text(json.dumps({**owner, "smoke": True}))
    with pytest.raises(ValueError, match="no results of SUPERB: a smoke run, "):
        submission.submit(run)
    assert submission.submit(run, force=True).is_file()


def test_what_the_leaderboard_does_not_take(run, tmp_path):
    with pytest.raises(ValueError, match="the leaderboard takes no vc; choose among pr, asr, ks"):
        submission.submit(run, "ks,vc")
    with pytest.raises(ValueError, match=r"no suite\.json here"):
        submission.submit(tmp_path / "gone")


def test_a_result_on_transformed_features_is_never_submitted(run):
    records = run_folder.read_results(run)
    records[0]["feature_transform"] = {"kind": "whiten"}
    run_folder.write_results(run, [records[0]["task"]], records[:1])
    says = f"{records[0]['task']} was scored with --feature-transform"
    for force in (False, True):
        with pytest.raises(ValueError, match=says):
            submission.submit(run, force=force)
    submission.submit(run, records[1]["task"])
