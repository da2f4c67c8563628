import argparse
import builtins
import importlib
import logging
import pickle
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from superb_data import Bomb, corpora

from upstream import compat

compat.install()
for _downstream in compat.TASKS:
    compat.install_for(_downstream)

from upstream.compat import (  # noqa: E402
    catalyst,
    ctc_corpus,
    ctc_phones,
    hub_names,
    progress_bar,
    sid_cache,
)

PATCHES = sorted(path.stem for path in Path(compat.__file__).parent.glob("[!_]*.py"))


@pytest.mark.parametrize("name", PATCHES)
def test_every_patch_says_what_why_and_until_when(name):
    text = importlib.import_module(f"upstream.compat.{name}").__doc__ or ""
    assert all(f"{word}: " in text for word in ("What", "Why", "Since", "Here", "Delete when"))


@pytest.mark.parametrize("name", PATCHES)
def test_every_patch_is_listed_and_changes_nothing_the_second_time(name):
    assert name in {
        *compat.BASE,
        *compat.RUNNER,
        *(n for names in compat.TASKS.values() for n in names),
    }
    assert importlib.import_module(f"upstream.compat.{name}").install() is False


def test_install_reports_each_patch_once():
    applied = compat.install()
    assert len(set(applied)) == len(applied)
    assert compat.install_for("ctc") == applied


def test_s3prl_missing_is_an_error_that_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="pip install"):
        compat.install()


# torchaudio


def write_wav(path, samples, rate=16000):
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return path


def test_load_info_save(tmp_path):
    import torchaudio

    audio = np.random.default_rng(0).uniform(-0.5, 0.5, (800, 2)).astype(np.float32)
    path = write_wav(tmp_path / "a.wav", audio, 8000)
    found, rate = torchaudio.load(str(path))
    assert found.shape == (2, 800)
    assert found.dtype == torch.float32
    assert rate == 8000
    assert np.array_equal(found.numpy().T, audio)
    assert torchaudio.load(path, frame_offset=100, num_frames=50)[0].shape == (2, 50)
    header = torchaudio.info(str(path))
    assert (header.sample_rate, header.num_frames, header.num_channels) == (8000, 800, 2)
    torchaudio.save(str(tmp_path / "b.wav"), found, 8000)
    assert torch.allclose(torchaudio.load(tmp_path / "b.wav")[0], found, atol=1e-4)
    torchaudio.set_audio_backend("sox_io")


def test_load_names_a_file_that_is_missing_or_no_audio(tmp_path):
    import torchaudio

    with pytest.raises(FileNotFoundError, match=r"gone\.wav"):
        torchaudio.load(tmp_path / "gone.wav")
    (tmp_path / "bad.wav").write_text("no audio")
    with pytest.raises(ValueError, match=r"bad\.wav"):
        torchaudio.load(tmp_path / "bad.wav")


def test_sox_effects_of_keyword_spotting(tmp_path):
    from torchaudio.sox_effects import apply_effects_file

    time = np.arange(8000) / 8000
    tone = 0.5 * np.sin(2 * np.pi * 440 * time)
    path = write_wav(tmp_path / "a.wav", np.stack([tone, np.zeros(8000)], 1), 8000)
    found, rate = apply_effects_file(
        str(path), [["channels", "1"], ["rate", "16000"], ["gain", "-3.0"]]
    )
    assert found.shape == (1, 16000)
    assert rate == 16000
    expected = 0.25 * 10 ** (-3 / 20) * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    inner = slice(1000, -1000)  # away from the edges, where resampling rings
    assert np.abs(found[0].numpy() - expected)[inner].max() < 1e-4


def test_sox_gain_clips_and_unknown_effects_are_named():
    from torchaudio.sox_effects import apply_effects_tensor

    loud, _ = apply_effects_tensor(torch.full((1, 4), 0.9), 16000, [["gain", "6"]])
    assert loud.max() == 1.0
    with pytest.raises(ValueError, match="'reverb' is not offered"):
        apply_effects_tensor(torch.zeros(1, 4), 16000, [["reverb", "50"]])
    with pytest.raises(ValueError, match="gain loud"):
        apply_effects_tensor(torch.zeros(1, 4), 16000, [["gain", "loud"]])


# torch, huggingface_hub, the runner


def test_s3prls_checkpoints_load_and_nothing_else_runs(tmp_path):
    torch.save({"Args": argparse.Namespace(seed=1)}, tmp_path / "good.ckpt")
    assert torch.load(tmp_path / "good.ckpt")["Args"].seed == 1
    torch.save({"Args": Bomb(tmp_path / "ran")}, tmp_path / "bad.ckpt")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "bad.ckpt")
    assert not (tmp_path / "ran").exists()


def test_removed_names_of_the_hub_say_so_when_used():
    import huggingface_hub

    with pytest.raises(ValueError, match="-k"):
        huggingface_hub.HfFolder.save_token("x")
    with pytest.raises(ValueError, match="-k"):
        huggingface_hub.Repository("x")


def test_isinstance_stays_the_built_in():
    from s3prl.utility import helper

    before = builtins.isinstance
    helper.hack_isinstance()
    assert builtins.isinstance is before
    assert isinstance(defaultdict(), (dict, list))


def test_a_bar_that_is_not_shown_counts_all_the_same():
    from s3prl.downstream import runner

    assert runner.tqdm is progress_bar.CountingBar
    bar = progress_bar.CountingBar(total=3, disable=True)
    for _ in range(3):
        bar.update(1)
    assert bar.n == bar.total == 3
    assert list(progress_bar.CountingBar([1, 2], desc="train")) == [1, 2]


def test_distributed_sampler_shares_what_is_drawn():
    drawn = torch.utils.data.SequentialSampler(range(10))
    parts = [
        list(catalyst.DistributedSamplerWrapper(drawn, num_replicas=2, rank=rank, shuffle=False))
        for rank in (0, 1)
    ]
    assert sorted(parts[0] + parts[1]) == list(range(10))


# SID


@pytest.fixture
def voxceleb(tmp_path, monkeypatch):
    monkeypatch.setenv("MT4SSL_CACHE", str(tmp_path / "cache"))

    def make(name):
        root = tmp_path / name
        lines = []
        for kind, place in ((1, "dev"), (2, "dev"), (3, "test")):
            relative = f"id1000{kind}/video/00001.wav"
            path = root / place / "wav" / relative
            path.parent.mkdir(parents=True)
            write_wav(path, np.zeros(1600))
            lines.append(f"{kind} {relative}")
        (root / "iden_split.txt").write_text("\n".join(lines) + "\n")
        return root

    return make


def test_file_lists_belong_to_their_root_and_stay_out_of_s3prl(voxceleb, tmp_path):
    from s3prl.downstream.voxceleb1 import dataset

    installed = Path(dataset.__file__).parent / ".cache"
    for name in ("one", "two", "one"):
        root = voxceleb(name) if not (tmp_path / name).exists() else tmp_path / name
        found = dataset.SpeakerClassifiDataset("test", root, str(root / "iden_split.txt"))
        assert found.dataset == [str(root / "test/wav/id10003/video/00001.wav")]
    assert len(list((tmp_path / "cache").rglob("test.json"))) == 2
    assert not list((tmp_path / "cache").rglob("*.pkl"))
    assert not installed.exists()


@pytest.mark.parametrize("content", ["pickle", "[", '{"a": 1}', "[1, 2]"])
def test_a_damaged_or_foreign_list_is_made_anew_and_no_pickle_is_read(voxceleb, tmp_path, content):
    from s3prl.downstream.voxceleb1 import dataset

    root = voxceleb("one")
    place = sid_cache.folder(root, root / "iden_split.txt")
    place.mkdir(parents=True)
    bomb = pickle.dumps(Bomb(tmp_path / "ran"))
    for name in ("test.json", "test.pkl"):
        data = bomb if content == "pickle" else content.encode()
        (place / name).write_bytes(data)
    found = dataset.SpeakerClassifiDataset("test", root, str(root / "iden_split.txt"))
    assert found.dataset == [str(root / "test/wav/id10003/video/00001.wav")]
    assert sid_cache.read(place / "test.json") == found.dataset
    assert not (tmp_path / "ran").exists()


def test_a_missing_file_is_named_and_no_list_is_kept(voxceleb, tmp_path):
    from s3prl.downstream.voxceleb1 import dataset

    root = voxceleb("one")
    (root / "test/wav/id10003/video/00001.wav").unlink()
    with pytest.raises(ValueError, match=r"line 3: id10003/video/00001\.wav"):
        dataset.SpeakerClassifiDataset("test", root, str(root / "iden_split.txt"))
    assert not list((tmp_path / "cache").rglob("test.*"))


def test_a_changed_list_is_another_list(voxceleb):
    root = voxceleb("one")
    meta = root / "iden_split.txt"
    before = sid_cache.folder(root, meta)
    meta.write_text(meta.read_text().replace("3 ", "2 "))
    assert sid_cache.folder(root, meta) != before


# CTC tasks


def test_loading_does_not_change_the_config(monkeypatch):
    from s3prl.downstream.ctc import data

    config = {"name": "nothing", "num_workers": 3}
    with pytest.raises((KeyError, TypeError, NotImplementedError)):
        data.load_dataset("train", None, config)
    assert config == {"name": "nothing", "num_workers": 3}


def test_arpabet_is_a_vocabulary_without_a_file(tmp_path):
    from s3prl.downstream.ctc import text

    assert len(set(ctc_phones.phones())) == len(ctc_phones.phones()) == 71
    encoder = text.load_text_encoder("word", "arpabet")
    assert encoder.decode(encoder.encode("HH AH0 L OW1")) == "HH AH0 L OW1"
    assert encoder.vocab_size == 74
    with pytest.raises(ValueError, match="mode: word"):
        text.load_text_encoder("character", "arpabet")
    (tmp_path / "v.txt").write_text("A\nB\n")
    assert text.load_text_encoder("word", str(tmp_path / "v.txt")).vocab_size == 5


@pytest.fixture
def librispeech(tmp_path):
    ctc_corpus._read_corpus.cache_clear()
    chapter = tmp_path / "dev-clean" / "1" / "2"
    chapter.mkdir(parents=True)
    lines = ["1-2-0000 HI", "1-2-0001 HI THERE HI", "1-2-0002 THERE"]
    (chapter / "1-2.trans.txt").write_text("\n".join(lines) + "\n")
    for line in lines:
        soundfile.write(chapter / f"{line.split()[0]}.flac", np.zeros(1600), 16000)
    (tmp_path / "a.txt").write_text("HI\tHH AY1\n")
    (tmp_path / "b.txt").write_text("HI HH IH0\nTHERE DH EH1 R\n\n")
    return tmp_path


def dataset(root, bucket_size=1, lexicon=("a.txt", "b.txt"), split=("dev-clean",)):
    from s3prl.downstream.ctc.text import load_text_encoder
    from s3prl.downstream.ctc.corpus.libriphone import LibriPhoneDataset  # isort: skip

    tokenizer = load_text_encoder("word", "arpabet")
    files = [str(root / file) for file in lexicon]
    made = LibriPhoneDataset(list(split), tokenizer, bucket_size, path=root, lexicon=files, ratio=1)
    return made, tokenizer


def test_librispeech_with_phones_longest_first(librispeech):
    made, tokenizer = dataset(librispeech)
    assert [Path(path).stem for path, _ in made] == ["1-2-0001", "1-2-0002", "1-2-0000"]
    assert tokenizer.decode(made[0][1]) == "HH AY1 DH EH1 R HH AY1"  # the first pronunciation
    assert made[0][1][-1] == tokenizer.eos_idx


def test_buckets_are_full(librispeech):
    made, _ = dataset(librispeech, bucket_size=2)
    assert len(made) == 3
    assert [len(made[index]) for index in range(3)] == [2, 2, 2]
    assert made[2] == made[1]
    assert len(dataset(librispeech, bucket_size=9)[0][0]) == 3


def test_problems_of_a_corpus_are_named(librispeech):
    with pytest.raises(ValueError, match=r"'HI' is not in the lexicon.*c\.txt.*add a line"):
        (librispeech / "c.txt").write_text("THERE DH EH1 R\n")
        dataset(librispeech, lexicon=("c.txt",))
    with pytest.raises(ValueError, match=r"phone 'XX'.*vocab_file"):
        (librispeech / "d.txt").write_text("HI XX\nTHERE DH EH1 R\n")
        dataset(librispeech, lexicon=("d.txt",))
    with pytest.raises(ValueError, match=r"e\.txt, line 1: no phones after 'HI'"):
        (librispeech / "e.txt").write_text("HI\n")
        dataset(librispeech, lexicon=("e.txt",))
    with pytest.raises(ValueError, match=r"f\.txt: no such lexicon"):
        dataset(librispeech, lexicon=("f.txt",))
    with pytest.raises(ValueError, match="test-clean: no such folder"):
        dataset(librispeech, split=("test-clean",))
    next(librispeech.rglob("*.flac")).unlink()
    ctc_corpus._read_corpus.cache_clear()
    with pytest.raises(ValueError, match="the transcript names it"):
        dataset(librispeech)


def test_the_synthesised_librispeech_is_one():
    root = corpora() / "pr"
    lexicon = [str(path) for path in sorted((root / "lexicon").glob("*.txt"))]
    files = dataset(root, lexicon=[Path(f).relative_to(root) for f in lexicon], split=())[0]
    assert len(files) == 0
    tokenizer = SimpleNamespace(
        vocab_size=71, idx_to_vocab=ctc_phones.phones().__getitem__, encode=str.split
    )
    made = ctc_corpus.LibriPhoneDataset(
        ["test-clean"], tokenizer, 1, path=str(root / "LibriSpeech"), lexicon=lexicon
    )
    assert len(made) > 0


def test_the_hub_lists_upstreams_only():
    from s3prl import hub

    listed = dir(hub)
    assert {"fbank", "wavlm_base", "hubert"} <= set(listed) and not {"os", "torch"} & set(listed)
    assert all(callable(getattr(hub, name)) for name in listed)


def test_only_the_notice_of_espnet_is_left_out(caplog):
    logger = logging.getLogger("s3prl.upstream.espnet_hubert.expert")
    logger.warning(hub_names.ESPNET)
    logger.error("the checkpoint is broken")
    assert [record.getMessage() for record in caplog.records] == ["the checkpoint is broken"]


def test_every_module_of_s3prl_gets_the_bar_that_counts():
    import tqdm
    from s3prl.downstream.asr import dataset
    from s3prl.downstream.voxceleb1 import dataset as speakers

    assert dataset.tqdm is speakers.tqdm.tqdm is progress_bar.CountingBar
    assert tqdm.tqdm is not progress_bar.CountingBar
