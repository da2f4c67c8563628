"""The synthesised corpora: layouts as the real ones, repeatable, safe to interrupt."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import toy
import yaml

import mini_superb
import mt4ssl_cli
from mini_superb import corpus, espeak, ks, pr, pretrain, sid
from mini_superb.espeak import Espeak
from mini_superb.grammar import EVERYDAY, vocabulary
from mini_superb.synthesis import synthesise
from upstream.compat import ctc_phones

pytest.importorskip("espeakng_loader")
SILENT: dict[str, Any] = {"size": "tiny", "progress": False}
ALL = ["ks", "sid", "pr"]
PROJECT = Path(mini_superb.__file__).parent.parent
SPEAKER = Espeak()


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    out = tmp_path_factory.mktemp("corpora") / "out"
    mini_superb.make(out, ALL, jobs=2, **SILENT)
    return out


@pytest.fixture
def no_synthesis(monkeypatch):
    def fail(*_):
        raise AssertionError("synthesised again")

    monkeypatch.setattr(corpus, "synthesise", fail)


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def official_split(file_name):
    """The rule of Speech Commands, written out a second time."""
    speaker = re.sub(r"_nohash_.*$", "", file_name)
    value = int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % 2**27 * (100 / (2**27 - 1))
    return "valid" if value < 10 else "test" if value < 20 else "train"


# ---------------------------------------------------------------- layouts


def test_every_file_is_16_khz_mono_16_bit(root):
    files = [p for p in root.rglob("*") if p.suffix in (".wav", ".flac")]
    assert len(files) > 100
    for path in files:
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16"), path


def test_loudness_is_that_of_speech(root):
    for path in [p for p in root.rglob("*") if p.suffix in (".wav", ".flac")]:
        wave, _ = soundfile.read(path)
        level = 20 * np.log10(np.sqrt(np.mean(wave**2)))
        assert -50 < level < -15, path
        assert np.abs(wave).max() < 0.96, path
        assert abs(wave.mean()) < 0.01, path


def test_speech_commands_split_follows_the_hash_of_the_speaker(root):
    train = root / "ks" / "speech_commands_v0.01"
    folders = {p.name for p in train.iterdir()}
    assert set(ks.KEYWORDS) | {"_background_noise_"} <= folders
    assert folders <= {*ks.KEYWORDS, *ks.OTHER_WORDS, "_background_noise_"}
    counts = ks.COUNTS["tiny"]
    for word in ks.KEYWORDS:
        found = Counter(official_split(p.name) for p in (train / word).glob("*.wav"))
        assert found["train"] == counts.train_speakers * counts.takes
        assert found["valid"] == counts.valid_speakers * counts.takes
        assert not found["test"]
    others = [p for w in ks.OTHER_WORDS for p in (train / w).glob("*.wav")]
    assert {official_split(p.name) for p in others} == {"train", "valid"}


def test_speech_commands_clips_last_a_second_and_noises_longer(root):
    noises = list((root / "ks" / ks.TRAIN / "_background_noise_").glob("*.wav"))
    assert len(noises) == 5
    assert all(soundfile.info(p).frames > 16000 for p in noises)
    for path in set((root / "ks").rglob("*.wav")) - set(noises):
        assert soundfile.info(path).frames == 16000, path


def test_speech_commands_test_set_has_all_twelve_classes_and_new_speakers(root):
    test = root / "ks" / "speech_commands_test_set_v0.01"
    counts = ks.COUNTS["tiny"]
    each = counts.test_speakers * counts.takes
    found = {p.name: len(list(p.glob("*.wav"))) for p in test.iterdir()}
    assert found == dict.fromkeys([*ks.KEYWORDS, "_unknown_", "_silence_"], each)
    speakers = {p.name.split("_")[0] for w in ks.KEYWORDS for p in (test / w).glob("*.wav")}
    assert {official_split(s) for s in speakers} == {"test"}
    assert ks.hash_split(next(iter(speakers))) == "test"


def test_voxceleb_split_file_names_every_file_once(root):
    corpus_root = root / "sid" / "VoxCeleb1"
    lines = [line.split() for line in (corpus_root / "iden_split.txt").read_text().splitlines()]
    files = list(corpus_root.rglob("*.wav"))
    assert len(lines) == len(files) == len({name for _, name in lines})
    split_of_video: dict[str, str] = {}
    for split, name in lines:
        assert re.fullmatch(r"id\d{5}/[\w-]{11}/\d{5}\.wav", name)
        assert len(list(corpus_root.glob(f"*/wav/{name}"))) == 1
        assert 0 <= int(name[2:7]) - 10001 < 1251
        assert split_of_video.setdefault(name.rsplit("/", 1)[0], split) == split
    speakers = {split: {n[:7] for s, n in lines if s == split} for split in "123"}
    assert speakers["1"] == speakers["2"] == speakers["3"]
    counts = sid.COUNTS["tiny"]
    assert len(speakers["1"]) == counts.dev_part + counts.test_part
    assert len(list((corpus_root / "test" / "wav").iterdir())) == counts.test_part


def test_librispeech_transcripts_match_the_files_and_the_lexicon(root):
    paths = pr.paths(root)
    lexicon = {}
    for path in paths["lexicon"]:
        for line in path.read_text().splitlines():
            word, phones = line.split("\t")
            lexicon[word] = phones.split()
    phonemes = paths["vocab_file"].read_text().split()
    assert len(phonemes) == len(set(phonemes)) == 71
    assert {"SIL", "SPN", "AA0", "ZH"} <= set(phonemes)
    assert {p for phones in lexicon.values() for p in phones} <= set(phonemes)
    assert set(phonemes) <= set(ctc_phones.phones())
    for split, (speakers, utterances) in {
        "train-clean-100": pr.COUNTS["tiny"].train,
        "dev-clean": pr.COUNTS["tiny"].valid,
        "test-clean": pr.COUNTS["tiny"].test,
    }.items():
        transcripts = list((paths["path"] / split).glob("*/*/*.trans.txt"))
        assert len(transcripts) == speakers
        for path in transcripts:
            assert path.name == f"{path.parent.parent.name}-{path.parent.name}.trans.txt"
            lines = [line.split() for line in path.read_text().splitlines()]
            assert len(lines) == utterances
            assert {line[0] for line in lines} == {p.stem for p in path.parent.glob("*.flac")}
            assert all(word in lexicon for line in lines for word in line[1:])


def test_lexicon_covers_the_grammar_and_nothing_else():
    assert set(vocabulary(pr.GRAMMAR)) == set(pr.PRONUNCIATIONS)
    used = {p.rstrip("012") for phones in pr.PRONUNCIATIONS.values() for p in phones.split()}
    assert used == {*pr.VOWELS, *pr.CONSONANTS}


@pytest.mark.parametrize("split", ["valid", "test"])
@pytest.mark.parametrize("task", [ks, pr])
def test_speakers_and_voices_of_test_are_not_heard_in_training(task, split):
    clips = [c for c in task.plan(0, "default").clips if c.speaker]
    people = {s: {c.speaker.name for c in clips if c.split == s} for s in ("train", split)}
    variants = {
        s: {c.speaker.voice.split("+")[1] for c in clips if c.split == s} for s in ("train", split)
    }
    assert not people["train"] & people[split]
    assert not variants["train"] & variants[split]


def test_default_size_has_what_the_tasks_need():
    keyword_clips = Counter(c.split for c in ks.plan(0, "default").clips)
    assert 1000 <= keyword_clips["train"] <= 1500
    speakers = {c.speaker.name for c in sid.plan(0, "default").clips if c.speaker}
    assert len(speakers) == 20
    phone_clips = Counter(c.split for c in pr.plan(0, "default").clips)
    assert 300 <= phone_clips["train"] <= 400
    assert 80 <= phone_clips["valid"] <= 120 and 80 <= phone_clips["test"] <= 120
    unlabelled = pretrain.plan(0, "default").clips
    assert len({c.text for c in unlabelled}) > 0.95 * len(unlabelled)
    assert not set(EVERYDAY) & {w for c in unlabelled for w in c.text.split()}


def test_unlabelled_speech_and_paths(root):
    paths = mini_superb.make(root, ["ks"], **SILENT)
    assert set(paths) == {"ks", "pretrain"}
    assert paths["ks"]["speech_commands_root"] == root / "ks" / "speech_commands_v0.01"
    seconds = [soundfile.info(p).duration for p in paths["pretrain"].rglob("*.flac")]
    assert len(seconds) == pretrain.COUNTS["tiny"].speakers * pretrain.COUNTS["tiny"].utterances
    assert min(seconds) > 0.8 and max(seconds) < 8


def test_alignments_lie_within_their_files(root):
    for task in [*ALL, "pretrain"]:
        lines = (root / "alignments" / f"{task}.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        files = {str(p.relative_to(root)) for p in (root / task).rglob("*.[wf]*[vc]")}
        assert {r["path"] for r in records} == files
        for record in records:
            assert record["samples"] == soundfile.info(root / record["path"]).frames
            starts = [start for start, _ in record["phones"]]
            assert starts == sorted(starts)
            if record["speaker"]:
                assert len(starts) >= 2 and starts[0] >= 0
                assert starts[-1] <= record["end"] <= record["samples"] / 16000


def test_summary_counts_clips_and_hours(root):
    summary = json.loads((root / "mini_superb.json").read_text())
    assert (summary["seed"], summary["size"]) == (0, "tiny")
    assert list(summary["tasks"]) == ["pr", "ks", "sid", "pretrain"]
    entry = summary["tasks"]["pr"]["train"]
    flacs = list((root / "pr/LibriSpeech/train-clean-100").rglob("*.flac"))
    assert entry["clips"] == len(flacs)
    hours = sum(soundfile.info(p).duration for p in flacs) / 3600
    assert entry["hours"] == pytest.approx(hours, abs=1e-4)


# ---------------------------------------------------------------- the same every time


def test_files_do_not_depend_on_jobs_or_other_tasks(root, tmp_path):
    mini_superb.make(tmp_path / "a", ["pr"], jobs=1, **SILENT)
    for task in ("pr", "pretrain"):
        assert digests(tmp_path / "a" / task) == digests(root / task)


@pytest.mark.parametrize("task", corpus.TASKS.values(), ids=list(corpus.TASKS))
def test_plans_follow_the_seed(task):
    assert task.plan(0, "tiny") == task.plan(0, "tiny")
    one, other = ({c.path: c for c in task.plan(seed, "tiny").clips} for seed in (0, 1))
    assert not set(one.items()) & set(other.items())


def say(text, voice="en-us+f2"):
    """Speak in a child of this process; returns (digest of the samples, phones)."""

    def work():
        spoken = SPEAKER.say(text, voice, rate=170, pitch=50, pitch_range=50)
        phones = "".join(phone.symbol for phone in spoken.phones)
        yield [hashlib.sha256(spoken.samples.tobytes()).hexdigest(), phones]

    return next(iter(list(espeak.in_child(work))))


def test_what_is_said_depends_on_the_session_alone():
    first = say("yes")
    assert say("something else in between", "gmw/en+m3") != first
    assert say("yes") == first
    assert first[1] == "j\u02c8\u025bs"
    assert re.match(r"1\.\d+", SPEAKER.version())


def test_speaking_in_the_process_that_forks_is_a_bug_caught():
    with pytest.raises(AssertionError, match="in_child"):
        SPEAKER.say("yes", "en-us", 170, 50, 50)


# ---------------------------------------------------------------- reuse, half-made, wrong


def test_complete_corpus_is_reused_at_once(root, no_synthesis):
    paths = mini_superb.make(root, ALL, **SILENT)
    assert set(paths) == {*ALL, "pretrain"}


def test_roots_name_every_task_wherever_the_folder_is(root, tmp_path, no_synthesis):
    moved = tmp_path / "a: b #1"
    shutil.copytree(root, moved)
    mini_superb.make(moved, ["ks"], **SILENT)
    found = yaml.safe_load((moved / "roots.yaml").read_text(encoding="utf-8"))
    assert found == {name: str(moved / name) for name in ("pr", "ks", "sid")}


def test_missing_task_is_added_and_the_rest_kept(tmp_path):
    mini_superb.make(tmp_path, ["pr"], **SILENT)
    before = digests(tmp_path / "pr")
    stamps = {p: p.stat().st_mtime_ns for p in (tmp_path / "pr").rglob("*.flac")}
    mini_superb.make(tmp_path, ["sid"], **SILENT)
    assert digests(tmp_path / "pr") == before
    assert stamps == {p: p.stat().st_mtime_ns for p in (tmp_path / "pr").rglob("*.flac")}
    summary = json.loads((tmp_path / "mini_superb.json").read_text())
    assert list(summary["tasks"]) == ["pr", "sid", "pretrain"]


def test_half_made_corpus_is_made_again(root, tmp_path, monkeypatch):
    real = corpus.synthesise

    def interrupted(out, clips, jobs, progress):
        real(out, clips[:5], jobs, progress)
        raise KeyboardInterrupt

    monkeypatch.setattr(corpus, "synthesise", interrupted)
    with pytest.raises(KeyboardInterrupt):
        mini_superb.make(tmp_path, ["pr"], **SILENT)
    assert not (tmp_path / "mini_superb.json").exists()
    (tmp_path / "pr" / "left_over.flac").write_bytes(b"half a file")
    monkeypatch.setattr(corpus, "synthesise", real)
    mini_superb.make(tmp_path, ["pr"], **SILENT)
    assert digests(tmp_path / "pr") == digests(root / "pr")
    assert not (tmp_path / "mini_superb.partial.json").exists()


@pytest.mark.parametrize("other", [{"seed": 3}, {"size": "large"}])
def test_corpus_of_other_settings_is_refused(root, no_synthesis, other):
    with pytest.raises(ValueError, match=r"seed 0, size tiny.*asked for.*remove this one"):
        mini_superb.make(root, ["ks"], **{**SILENT, **other})


def test_folder_of_something_else_is_not_touched(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"holds other files.*choose another folder"):
        mini_superb.make(tmp_path, ["ks"], **SILENT)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]
    with pytest.raises(ValueError, match="is a file"):
        mini_superb.make(tmp_path / "thesis.txt", ["ks"], **SILENT)


def test_unreadable_summary_is_named(tmp_path):
    (tmp_path / "mini_superb.json").write_text("{")
    with pytest.raises(ValueError, match=r"mini_superb\.json cannot be read"):
        mini_superb.make(tmp_path, ["ks"], **SILENT)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tasks": ["kz"]}, "unknown task 'kz'; did you mean 'ks'"),
        ({"size": "huge"}, "unknown size 'huge'; choose from tiny, default, large"),
        ({"seed": -1}, "seed is -1"),
        ({"jobs": 0}, "jobs is 0"),
    ],
)
def test_wrong_requests_are_explained_and_leave_nothing(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        mini_superb.make(tmp_path / "out", **{"tasks": ["ks"], **SILENT, **arguments})
    assert not (tmp_path / "out").exists()


def test_missing_synthesiser_names_the_extra(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    espeak.variants.cache_clear()
    assert mt4ssl_cli.main(["mini", str(tmp_path / "out"), "--size", "tiny"]) == 2
    assert 'pip install "mt4ssl[corpus]"' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_unknown_voice_and_variant_are_errors_and_do_not_kill_the_process():
    with pytest.raises(ValueError, match="no variant 'nosuch'"):
        say("yes", "en-us+nosuch")
    with pytest.raises(ValueError, match="no voice 'xx-nowhere'"):
        say("yes", "xx-nowhere")


def test_death_of_a_child_is_noticed():
    with pytest.raises(RuntimeError, match="without a word"):
        list(espeak.in_child(lambda: os._exit(1)))
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        list(espeak.in_child(lambda: [1 // 0]))


def test_failure_in_a_worker_comes_back_with_its_message(tmp_path):
    clip = pretrain.plan(0, "tiny").clips[0]
    assert clip.speaker
    wrong = replace(clip, speaker=replace(clip.speaker, voice="en-us+nosuch"))
    with pytest.raises(ValueError, match="no variant 'nosuch'"):
        synthesise(tmp_path, [clip, wrong], jobs=2, progress=False)


def test_a_worker_that_says_much_on_stderr_does_not_block(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONVERBOSE", "2")  # more than a pipe holds
    (clip, *_) = pretrain.plan(0, "tiny").clips
    (line,) = synthesise(tmp_path, [clip], jobs=1, progress=False)
    assert line["path"] == clip.path


def test_last_words_of_a_worker_that_dies_are_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONHASHSEED", "no number")
    with pytest.raises(RuntimeError, match=r"ended early:\n.*PYTHONHASHSEED"):
        synthesise(tmp_path, pretrain.plan(0, "tiny").clips[:1], jobs=1, progress=False)


def wait_for(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def group_exists(group):
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_interruption_ends_all_processes_without_a_traceback(tmp_path):
    command = toy.cli("mini", tmp_path / "out", "--tasks", "ks")
    process = subprocess.Popen(
        command,
        cwd=PROJECT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a shell's background jobs ignore SIGINT, and their children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert wait_for(lambda: list((tmp_path / "out").rglob("*.wav")))
    finally:  # nothing is left behind when it fails
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "interrupted" in errors and "Traceback" not in errors
    assert wait_for(lambda: not group_exists(process.pid))
    assert not (tmp_path / "out" / "mini_superb.json").exists()


def test_command_line_says_what_it_made(root, no_synthesis, capsys):
    assert mt4ssl_cli.main(["mini", str(root), "--tasks", "ks, pr", "--size", "tiny"]) == 0
    assert "pr: train 9 clips" in capsys.readouterr().out
    assert mt4ssl_cli.main(["mini", str(root), "--tasks", "wrong"]) == 2


def test_imports_neither_torch_nor_the_rest_of_the_project():
    code = (
        "import sys, mini_superb, mini_superb.worker;"
        "print([m for m in ('torch', 's3prl', 'mt4ssl_core', 'upstream', 'espeakng_loader')"
        " if m in sys.modules])"
    )
    package = Path(mini_superb.__file__).parent.parent
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=package
    )
    assert result.stdout.strip() == "[]", result.stderr
