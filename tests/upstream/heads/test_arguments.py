"""What run_downstream says before it imports torch and s3prl."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from superb_data import corpora, tiny_checkpoint

from upstream.door import s3prl_names, tasks
from upstream.heads import arguments, command

REPOSITORY = Path(arguments.__file__).parents[2]


def found(*words):
    args = arguments.parse(["-m", "evaluate", "-n", "NAME", "-u", "fbank", *words])
    header = arguments.find_task(args)
    assert header is not None
    assert args.config == str(tasks.path_of(header["code"]))
    return header["code"]


@pytest.mark.parametrize(
    ("words", "task"),
    [
        ("-d speech_commands", "ks"),
        ("-d asr", "asr"),
        ("-d quesst14_dtw", "qbe"),
        ("-d voxceleb1", "sid"),
        ("-d sv_voxceleb1", "asv"),
        ("-d diarization", "sd"),
        ("-d fluent_commands", "ic"),
        ("-d emotion", "er"),
        ("-d emotion -c downstream/emotion/config.yaml", "er"),
        ("-d ctc -c downstream/ctc/libriphone.yaml", "pr"),
        ("-d ctc -c downstream/ctc/snips.yaml", "sf"),
        ("-d ctc -c ./downstream/ctc/cv_config/cv_es.yaml", "ood"),
        ("-d ctc --task pr", "pr"),
        ("-d enhancement_stft -c downstream/enhancement_stft/configs/cfg_voicebank.yaml", "se"),
        ("-d separation_stft -c downstream/separation_stft/configs/cfg.yaml", "ss"),
        ("-d separation_stft", "ss"),
        ("-d speech_translation -c downstream/speech_translation/config.yaml", "st"),
        ("-d a2o-vc-vcc2020 -c downstream/a2o-vc-vcc2020/config.yaml", "vc"),
    ],
)
def test_a_task_as_superbs_documentation_names_it(words, task, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # without a clone of s3prl, whose configs these are
    assert found(*words.split()) == task


def test_every_folder_of_s3prl_that_superb_has_is_found_or_says_what_to_add():
    for task, header in tasks.headers().items():
        folder = header["s3prl"]
        assert folder in s3prl_names.TASKS
        if folder == "ctc":
            with pytest.raises(ValueError, match=r"add --task ood .* or --task pr .* or --task sf"):
                found("-d", folder)
        else:
            assert found("-d", folder) == task


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("-d speech_comands", "did you mean speech_commands"),
        ("-d ks", "with --task ks"),
        ("-d ctc -c downstream/ctc/cv_config/cv_zh.yaml", r"cv_zh\.yaml: no such config"),
        ("-d speech_commands --sed 1", "--sed: no such option; did you mean --seed"),
        ("-d speech_commands --seed one", "--seed: 'one'; expected a whole number"),
        ("-d speech_commands -l one", "-l/--upstream_layer_selection: invalid int"),
        ("-d speech_commands --device gpu", "'gpu': unknown; use auto, cpu"),
        ("-d speech_commands -i gone.ckpt", r"-i gone\.ckpt: no such file"),
        ("-d speech_commands -u fbnk", "Did you mean fbank"),
        ("-d speech_commands -u eval", "no such upstream"),
        ("-d speech_commands -u mt4ssl_local", "needs a checkpoint; give one with -k"),
        ("-d speech_commands -u mt4ssl -k gone.pt", r"gone\.pt: no such checkpoint"),
        ("-d speech_commands -o config.optimizr.lr=1", r"Did you mean optimizer\.lr"),
        ("-d speech_commands -o args.seed=x", "expected a number"),
        ("-d speech_commands -t tset", r"args\.evaluate_split: 'tset' is not known"),
        ("-d speech_commands", r"the corpus \(Speech Commands .* is not set; .*--root DIR"),
        ("-d speech_commands --root gone", "gone: no such folder"),
        ("-e gone.ckpt", r"-e gone\.ckpt: no such checkpoint"),
    ],
)
def test_mistakes_are_named(words, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    argv = ["-m", "evaluate", "-p", "exp", *words.split()]
    argv += [] if "-u" in argv or "-e" in argv else ["-u", "fbank"]
    with pytest.raises(ValueError, match=says):
        command.resolve(argv)


def test_before_anything_slow_is_imported(tmp_path):
    script = """
import sys, json
from upstream.heads import command
said = []
for words in json.loads(sys.argv[1]):
    try:
        command.resolve(words.split())
    except ValueError as error:
        said.append(str(error))
slow = [name for name in ("torch", "s3prl", "numpy", "soundfile") if name in sys.modules]
print(json.dumps([said, slow]))
"""
    start = "-m train -n NAME -d speech_commands"
    commands = [
        f"{start} -u mt4ssl -k gone.pt",
        f"{start} -u fbnk",
        f"{start} -u fbank -o config.a=1",
    ]
    commands += [f"{start} -u fbank --root {tmp_path}", "-m train -n NAME -u fbank -d ctc"]
    words = [sys.executable, "-c", script, json.dumps(commands)]
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    said, slow = json.loads(done.stdout)
    assert len(said) == len(commands)
    assert slow == []


def test_home_in_every_path(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "corpora").symlink_to(corpora())
    (tmp_path / "last.pt").symlink_to(tiny_checkpoint())
    argv = ["-m", "train", "-d", "speech_commands", "-u", "mt4ssl", "-k", "~/last.pt"]
    argv += ["-p", "~/exp", "--store-dir", "~/store", "-o"]
    train, test = (f"~/corpora/ks/speech_commands_{part}v0.01" for part in ("", "test_set_"))
    keys = "config.downstream_expert.datarc.speech_commands"
    asked = command.resolve([*argv, f"{keys}_root={train},,{keys}_test_root={test}"])
    assert asked.expdir == tmp_path / "exp"
    assert asked.store.place == tmp_path / "store"
    assert asked.argv[asked.argv.index("--upstream_ckpt") + 1] == str(tmp_path / "last.pt")
    asked = command.resolve([*argv[:-1], "--root", "~/corpora"])
    assert f"root='{tmp_path}/corpora/ks" in asked.argv[asked.argv.index("--override") + 1]
