"""analysis/records/score_files.py."""

import json
from pathlib import Path

import pytest
import score_runs
from score_runs import MINI, record

from analysis.records import score_files


def test_published_scores_have_source_unit_and_size():
    found = score_files.published()
    hubert = {
        (s.task, s.metric, s.setting.stage): s for s in found.scores if s.model == "HuBERT Base"
    }
    assert len(hubert) == 16 and hubert["asr", "wer", "lm"].value == 4.79
    assert all("public.json" in score.source for score in hubert.values())
    units = [hubert[task, metric, "test"].unit for task, metric in (("se", "pesq"), ("pr", "per"))]
    assert units == ["MOS", "percent"]
    assert found.sizes["HuBERT Base"] == score_files.Size(94680000, 1669156022848)
    assert len(found.sizes) == 32
    second = {s.model for s in found.scores if s.source.endswith("(at second hand)")}
    assert second == {
        "FBANK (normalised)", "data2vec Base", "data2vec 2.0 Base (in MCR-Data2vec 2.0)",
        "DinoSR", "SPEAR Large (speech)", "SPEAR XLarge",
    }  # fmt: skip


def test_a_suite_s_records_become_scores(tmp_path):
    store = {"exactness": "near-exact", "precision": "fp16"}
    run = score_runs.suite(
        tmp_path / "ours",
        record("ks", 0.9, store=store),
        record("asr", 6.4),
        record("asr", 4.7, stage="lm"),
        params=94_000_000,
    )
    found = score_files.read([run, str(run)])  # given twice: read once
    ks, asr, lm = found.scores
    assert (ks.model, ks.value, ks.unit, ks.direction) == ("ours", 0.9, "fraction", "max")
    assert ks.source == f"{run}/results.jsonl:1" and ks.setting.comparable
    assert ks.setting.remarks == ("features stored in fp16",)
    assert (asr.setting.stage, lm.setting.stage) == ("test", "lm")
    assert found.sizes == {"ours": score_files.Size(94_000_000, None)}


def test_settings_are_told_apart(tmp_path):
    runs = [
        score_runs.suite(tmp_path / "mini", record("ks", 0.5, corpus=MINI)),
        score_runs.suite(tmp_path / "real", record("ks", 0.6)),
        score_runs.suite(tmp_path / "smoke", record("ks", 0.7, smoke=True, overrides={"a": 1})),
        score_runs.suite(tmp_path / "set", record("ks", 0.8, overrides={"a": 1})),
        score_runs.suite(tmp_path / "part", record("ks", 0.9, corpus={"kind": "partial"})),
        score_runs.suite(tmp_path / "small", record("sid", 0.4, protocol="mini")),
    ]
    found = score_files.read(runs).scores
    assert [(s.model, s.setting.corpus, s.setting.state) for s in found] == [
        ("mini", "mini", ""),
        ("real", "real", ""),
        ("smoke", "real", "smoke"),
        ("set", "real", "changed"),
        ("part", "partial", ""),
        ("small", "real", ""),
    ]
    assert [s.setting.protocol for s in found] == [*[""] * 5, "mini"]
    assert not found[-1].setting.comparable
    assert found[0].setting.made == "version 1, seed 0, size default"


def test_crops_from_a_bank_are_another_setting_and_near_exact_features_a_remark(tmp_path):
    exact = {"kind": "pooled", "precision": "fp32", "exactness": "exact", "crops": None}
    near = {**exact, "precision": "fp16", "exactness": "near-exact"}
    run = score_runs.suite(
        tmp_path / "run",
        record("ks", 0.5, store={**exact, "crops": 10}),
        record("pr", 0.5, store=near),
        record("ic", 0.5, store=exact),
        record("er", 0.5, store=None),
    )
    ks, pr, ic, er = (score.setting for score in score_files.read([run]).scores)
    assert ks.state == "changed" and not ks.comparable
    assert ks.remarks == ("trained on 10 crops per file",)
    assert pr.comparable and pr.remarks == ("features stored in fp16",)
    assert ic.comparable and er.comparable and not ic.remarks + er.remarks


def test_the_crops_of_a_protocol_are_no_change_of_it_and_an_unknown_one_is_refused(tmp_path):
    crops = {"kind": "pooled", "precision": "fp32", "exactness": "exact", "crops": 1}
    run = score_runs.suite(tmp_path / "run", record("sid", 0.5, store=crops, protocol="mini"))
    [score] = score_files.read([run]).scores
    assert score.setting.state == ""
    assert score.setting.remarks == ("--protocol mini", "trained on 1 crop per file")
    odd = score_runs.suite(tmp_path / "odd", record("sid", 0.5, protocol="tiny"))
    with pytest.raises(ValueError, match=r"odd/results\.jsonl:1: protocol is 'tiny', expected"):
        score_files.read([odd])


def test_folders_of_one_checkpoint_are_one_model(tmp_path):
    one = score_runs.suite(tmp_path / "one", record("ks", 0.5))
    two = score_runs.suite(tmp_path / "two", record("pr", 0.5))
    assert {s.model for s in score_files.read([one, two]).scores} == {"one"}
    other = score_runs.suite(tmp_path / "x", record("ks", 0.5), fingerprint="f1")
    assert {s.model for s in score_files.read([one, other]).scores} == {"one", "x"}
    again = score_runs.suite(tmp_path / "y", record("ks", 0.6), seed=2)
    with pytest.raises(ValueError, match=r"one: ks acc twice: 0\.5 .*one/results\.jsonl:1, seed "
                       r"1337\) and 0\.6 .*y/results\.jsonl:1, seed 2\); give only"):  # fmt: skip
        score_files.read([one, again])
    same = score_runs.suite(tmp_path / "z" / "one", record("ks", 0.5), fingerprint="f2")
    with pytest.raises(ValueError, match=r"two models would be called 'one'; rename a folder"):
        score_files.read([one, same])


def test_experiments_of_s3prl(tmp_path):
    paths = {"downstream_expert.datarc.speech_commands_root": "/nowhere"}
    dev = {**record("ks", 0.1), "split": "dev"}
    test = record("ks", 0.9)
    score_runs.experiment(tmp_path / "exp" / "ks", dev, test, corpus=paths)
    asr = record("asr", 6.4, split="test-clean")
    score_runs.experiment(tmp_path / "exp" / "asr", asr, corpus={"a": ["/x", "/y"]})
    found = score_files.read([tmp_path / "exp"]).scores
    assert [(s.task, s.value, s.model) for s in found] == [("asr", 6.4, "exp"), ("ks", 0.9, "exp")]
    assert {(s.setting.corpus, s.setting.state) for s in found} == {("unknown", "unchecked")}
    assert found[1].source.endswith("exp/ks/results.json[1]")


def test_experiments_on_mini_superb_are_known_by_its_mark(tmp_path):
    (tmp_path / "corpora" / "ks").mkdir(parents=True)
    (tmp_path / "corpora" / "mini_superb.json").write_text(json.dumps(MINI))
    corpus = {"downstream_expert.datarc.speech_commands_root": str(tmp_path / "corpora" / "ks")}
    score_runs.experiment(tmp_path / "exp", record("ks", 0.9), corpus=corpus)
    (score,) = score_files.read([tmp_path / "exp"]).scores
    assert (score.setting.corpus, score.setting.made) == ("mini", "version 1, seed 0, size default")


def test_several_upstreams_below_one_folder_have_their_names(tmp_path):
    for name in ("fbank", "mt4ssl"):
        ckpt = "/c/last.pt" if name == "mt4ssl" else None
        one = record("ks", 0.5, upstream=name, fingerprint=ckpt and "f0", corpus={})
        score_runs.experiment(tmp_path / "exp" / name, one, upstream_ckpt=ckpt)
    found = score_files.read([tmp_path / "exp"]).scores
    assert [s.model for s in found] == ["exp: fbank", "exp"]


def test_folders_without_results_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a: no such folder; give what `mt4ssl superb run` made"):
        score_files.read([tmp_path / "a"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty: neither results\.jsonl nor a results\.json .*"
                       "leave the folder out"):  # fmt: skip
        score_files.read([tmp_path / "empty"])
    begun = score_runs.suite(tmp_path / "begun")
    score_runs.experiment(begun / "ks" / "lr_1", record("ks", 0.1))  # must not be taken for it
    with pytest.raises(ValueError, match=r"begun: no results in results\.jsonl yet; finish it"):
        score_files.read([begun])
    (begun / "results.jsonl").unlink()
    with pytest.raises(ValueError, match=r"begun: no results in results\.jsonl yet; finish it"):
        score_files.read([begun])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"corpus": {"kind": "huge"}}, r"jsonl:1: corpus\.kind is 'huge', expected real, partial"),
        ({"corpus": None}, r"jsonl:1: corpus cannot be None"),
        ({"corpus": "real"}, r"jsonl:1: corpus cannot be 'real'"),
        ({"store": "x"}, r"jsonl:1: store cannot be 'x'"),
        ({"task": ["ks"]}, r"jsonl:1: not a record with task"),
        ({"fingerprint": 5}, r"jsonl:1: fingerprint cannot be 5"),
        ({"params": "many"}, r"jsonl:1: params cannot be 'many'"),
        ({"value": 10**400}, r"jsonl:1: ks acc: value 1000.* is no finite number"),
        ({"value": None}, r"jsonl:1: ks acc: value None is no finite number"),
        ({"metric": "accuracy"}, r"jsonl:1: ks: unknown metric 'accuracy'; .*ks has acc"),
        ({"task": "nope"}, r"jsonl:1: task 'nope': choose among"),
    ],
)
def test_damaged_records_are_refused(tmp_path, changes, message):
    run = score_runs.suite(tmp_path / "run", record("ks", 0.5), **changes)
    with pytest.raises(ValueError, match=message):
        score_files.read([run])


def test_missing_keys_and_broken_files_are_named(tmp_path):
    cut = {k: v for k, v in record("ks", 0.5).items() if k != "overrides"}
    run = score_runs.suite(tmp_path / "run", cut)
    with pytest.raises(ValueError, match=r"jsonl:1: the record has no 'overrides'; score the task"):
        score_files.read([run])
    (run / "results.jsonl").write_text('{"task": ')
    with pytest.raises(ValueError, match=r"results\.jsonl:1: not JSON"):
        score_files.read([run])
    exp = score_runs.experiment(tmp_path / "exp", record("ks", 0.5))
    (exp / "results.json").write_text("[{")
    with pytest.raises(ValueError, match=r"results\.json: not valid JSON"):
        score_files.read([exp])
    (exp / "results.json").write_text('{"task": "ks"}')
    with pytest.raises(ValueError, match=r"expected a list of records; evaluate the experiment"):
        score_files.read([exp])


def test_the_suite_in_a_run_is_found(tmp_path):
    score_runs.suite(tmp_path / "run" / "superb", record("ks", 0.5))
    score_runs.experiment(tmp_path / "run" / "superb" / "ks" / "lr_1", record("ks", 0.4))
    one = record("ks", 0.3, fingerprint="f1")
    score_runs.suite(tmp_path / "run" / "superb" / "update_10", one)  # of another checkpoint
    (score,) = score_files.read([tmp_path / "run"]).scores
    assert (score.model, score.value, score.setting.comparable) == ("run", 0.5, True)


def test_checkpoints_of_one_file_name_are_told_apart(tmp_path):
    for name in ("aaaaaaaa", "bbbbbbbb"):
        one = record("ks", 0.5, fingerprint=name, upstream_ckpt=f"/{name}/last.pt")
        score_runs.experiment(tmp_path / "run" / name, one)
    names = {score.model for score in score_files.read([tmp_path / "run"]).scores}
    assert names == {"run: aaaaaaaa", "run: bbbbbbbb"}


def test_mini_and_real_corpora_in_one_folder_are_refused(tmp_path):
    run = score_runs.suite(tmp_path / "run", record("ks", 0.5), record("pr", 0.5, corpus=MINI))
    with pytest.raises(ValueError, match=r"run: results of different corpora \(mini, real\) in one "
                       "folder; score them again"):  # fmt: skip
        score_files.read([run])


def test_a_model_is_called_as_its_checkpoint_unless_another_is(tmp_path):
    def scored(run: str, ckpt: str, fingerprint: str) -> Path:
        one = record("ks", 0.5, ckpt=ckpt, fingerprint=fingerprint)
        return score_runs.suite(tmp_path / run, one)

    hubert, wavlm = scored("a", "/c/hubert.pt", "f0"), scored("b", "/c/wavlm/model.pt", "f1")
    named = [s.model for s in score_files.read([hubert, wavlm]).scores]
    assert named == ["hubert", "wavlm"]
    other = scored("c", "/d/hubert.pt", "f2")
    assert [s.model for s in score_files.read([hubert, other]).scores] == ["a", "c"]
    untrained = score_runs.suite(
        tmp_path / "u", record("ks", 0.1, ckpt="/c/hubert.pt", upstream="mt4ssl_untrained")
    )
    assert [s.model for s in score_files.read([hubert, untrained]).scores] == ["hubert", "u"]
