import copy

import pytest
import yaml
from superb_data import corpora

from upstream.door import overrides, tasks

REAL = {  # where the files of the real corpora come to lie when they are unpacked in one folder
    "ks": [
        "speech_commands_v0.01/yes/0a7c2a8d_nohash_0.wav",
        "speech_commands_v0.01/_background_noise_/running_tap.wav",
        "speech_commands_test_set_v0.01/yes/0a7c2a8d_nohash_0.wav",
    ],
    "sid": [
        "VoxCeleb1/dev/wav/id10001/1zcIwhmdeo4/00001.wav",
        "VoxCeleb1/test/wav/id10270/5r0dWxy17C8/00001.wav",
        "iden_split.txt",
    ],
    "pr": [
        "LibriSpeech/train-clean-100/103/1240/103-1240.trans.txt",
        "librispeech-lexicon-200k-g2p.txt",
        "librispeech-lexicon-allothers-g2p.txt",
    ],
}


UNITS = {"fraction", "percent", "dB", "Hz", "MOS"}
PAPER = ["pr", "asr", "ks", "qbe", "sid", "asv", "sd", "ic", "sf", "er"]
EXTRAS = {"superb", "superb-sg", "lm"}


def test_all_fifteen_tasks_are_there():
    suites = {name: tasks.header(name)["suite"] for name in tasks.names()}
    assert len(suites) == 15
    assert sorted(name for name, suite in suites.items() if suite == "superb") == sorted(PAPER)
    assert set(suites.values()) == {"superb", "superb-sg"}
    assert sorted(header["order"] for header in tasks.headers().values()) == list(range(1, 16))


@pytest.mark.parametrize("task", tasks.names())
def test_every_task_states_what_it_is(task):
    config = tasks.read(tasks.path_of(task))
    header = config["superb"]
    assert header["code"] == task
    assert header["task"] and header["s3prl"] and header["corpus"]["source"]
    assert isinstance(header["pooled"], bool)
    assert type(header["order"]) is int and set(header.get("score_sets", [])) <= {"paper", "public"}
    assert header["extra"] in EXTRAS
    for metric in header["metrics"]:
        assert metric["direction"] in ("min", "max")
        assert metric["unit"] in UNITS
        if reference := metric.get("reference"):
            assert {"fbank", "sota", "unit"} == set(reference)
            assert (reference["sota"] > reference["fbank"]) == (metric["direction"] == "max")
    stages = {stage["name"] for stage in header.get("stages", [{"name": "test"}])}
    assert {tasks.stage_of(metric) for metric in header["metrics"]} == stages
    assert all(isinstance(rate, float) for rate in header["learning_rates"])
    keys = dict(overrides.flatten(config))
    assert all(key in keys for key in header["root_keys"])


@pytest.mark.parametrize("setting", ["smoke", "learn"])
@pytest.mark.parametrize("task", tasks.names())
def test_what_shortens_a_task_are_keys_of_its_config(task, setting):
    config = tasks.read(tasks.path_of(task))
    changes = config["superb"][setting]
    assert changes
    overrides.override(overrides.render(changes), None, config)
    assert all(tasks.get(config, key) == value for key, value in changes.items())


@pytest.mark.parametrize("task", tasks.names())
def test_every_number_is_one_to_yaml(task):
    text = tasks.path_of(task).read_text()
    assert yaml.load(text, yaml.FullLoader) == tasks.read(tasks.path_of(task))


@pytest.mark.parametrize("task", sorted(REAL))
def test_one_root_sets_every_path_of_the_real_layout(task, tmp_path):
    for file in REAL[task]:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    check(task, tmp_path)


@pytest.mark.parametrize("task", sorted(REAL))
def test_one_root_sets_every_path_of_the_synthesised_corpora(task):
    check(task, corpora())
    check(task, corpora() / task)


def test_pr_takes_both_lexicons_in_superbs_order(tmp_path):
    for file in REAL["pr"]:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    paths = tasks.paths_under(tasks.read(tasks.path_of("pr"))["superb"], tmp_path)
    lexicons = paths["downstream_expert.corpus.lexicon"]
    assert lexicons == [str(tmp_path / file) for file in REAL["pr"][1:]]


def check(task, root):
    config = copy.deepcopy(tasks.read(tasks.path_of(task)))
    with pytest.raises(ValueError, match=r"is not set; give its folder with --root"):
        tasks.check_corpus(config)
    paths = tasks.paths_under(config["superb"], root)
    overrides.override(overrides.render(paths), None, config)
    tasks.check_corpus(config)
    assert tasks.corpus_paths(config) == paths


def test_a_corpus_that_is_not_there_is_named(tmp_path):
    config = tasks.read(tasks.path_of("ks"))
    with pytest.raises(ValueError, match="gone: no such folder"):
        tasks.paths_under(config["superb"], tmp_path / "gone")
    with pytest.raises(ValueError, match=r"found no speech_commands_v0\.01.*download\.tensorflow"):
        tasks.paths_under(config["superb"], tmp_path)
    datarc = config["downstream_expert"]["datarc"]
    datarc["speech_commands_root"] = str(tmp_path)
    with pytest.raises(ValueError, match="must hold _background_noise_"):
        tasks.check_corpus(config)
    datarc["speech_commands_root"] = str(tmp_path / "gone")
    with pytest.raises(ValueError, match=r"gone: not there \(the training folder"):
        tasks.check_corpus(config)


def test_task_names_and_configs_that_are_wrong(tmp_path):
    with pytest.raises(ValueError, match="Did you mean asr"):
        tasks.path_of("asrr")
    with pytest.raises(ValueError, match="no such config"):
        tasks.read(tmp_path / "gone.yaml")
    path = tmp_path / "a.yaml"
    path.write_text("runner: {total_steps: 1}\noptimizer: {lr: 5e-4}\ndownstream_expert: {}\n")
    with pytest.raises(ValueError, match=r"optimizer\.lr: YAML reads 5e-4 as text; write 5\.0e-04"):
        tasks.read(path)
    path.write_text("- 1\n")
    with pytest.raises(ValueError, match="expected sections"):
        tasks.read(path)
    whole = "runner: {}\ndownstream_expert: {}\n"
    for text in ("a: [", "a: !!python/object/apply:os.system [true]", f"&a [*a]\n{whole}"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"a\.yaml: cannot be read"):
            tasks.read(path)
    path.write_text(f"{whole}a: &a\n  b: *a\n")  # endless
    with pytest.raises(ValueError, match=r"a\.yaml: cannot be read \(RecursionError"):
        tasks.read(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"a\.yaml: cannot be read"):
        tasks.read(path)
    for header in ("3", "{}", "{code: ks, s3prl: x, metrics: 3, root_keys: {}, corpus: {}}"):
        path.write_text(f"{whole}superb: {header}\n")
        with pytest.raises(ValueError, match=r"a\.yaml: superb: .*metrics.* missing or of another"):
            tasks.read(path)


@pytest.mark.parametrize("value", [None, 0, -1, 1.5, "many", True, [3]])
def test_steps_are_whole_numbers(value):
    steps = {"total_steps": 2, "log_step": 1, "eval_step": 1, "save_step": 1}
    tasks.check_steps({"runner": steps})
    with pytest.raises(ValueError, match=r"config\.runner\.eval_step: .*; give a whole number"):
        tasks.check_steps({"runner": {**steps, "eval_step": value}})
