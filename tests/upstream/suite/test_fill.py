"""Features that are computed before training."""

import pytest
import superb_data
import torch
from superb_data import corpus, smoke, tiny_checkpoint

import mt4ssl_cli
from mt4ssl_core.store import upkeep
from upstream.door import tasks
from upstream.store import stored_features as stored_features
from upstream.store.options import StoreOptions
from upstream.suite import fill
from upstream.suite.fill import FillRequest, Share


@pytest.fixture
def encoded(monkeypatch):
    """The lengths of what goes through the upstream's forward, by call."""
    calls = []
    encode = stored_features.StoredFeatures.encode

    def counted(self, utterances):
        calls.extend(utterance.samples for utterance in utterances)
        return encode(self, utterances)

    monkeypatch.setattr(stored_features.StoredFeatures, "encode", counted)
    return calls


def asked(task, folder, **changes):
    mode = changes.pop("mode", "auto")
    options = {"gigabytes": changes.pop("gigabytes", 20.0), "precision": "fp32"}
    return FillRequest(
        task,
        root=str(corpus(task)),
        ckpt=str(tiny_checkpoint()),
        device="cpu",
        store=StoreOptions(mode, str(folder), **options),
        **changes,
    )


def stored(folder):
    if not folder.is_dir():
        return 0
    return sum(space.utterances for space in upkeep.spaces(folder))


def test_training_finds_everything_in_the_store(tmp_path, encoded, capsys):
    fill.fill(asked("ic", tmp_path / "store"))
    said = capsys.readouterr().out
    assert "ic: about" in said and "train, dev, test" in said and "GB" in said
    count = stored(tmp_path / "store")
    assert count == len(encoded) > 0
    assert f"{count} of {count} utterances are stored in " in said
    encoded.clear()
    (record,) = smoke("ic", tmp_path, store=StoreOptions(folder=str(tmp_path / "store")))
    assert record["store"]["exactness"] == "exact" and not encoded


def test_what_is_stored_is_not_computed_again(tmp_path, encoded):
    fill.fill(asked("ic", tmp_path))
    before = len(encoded)
    fill.fill(asked("ic", tmp_path))
    assert len(encoded) == before


def test_an_interruption_costs_a_window_at_most(tmp_path, encoded, monkeypatch):
    monkeypatch.setattr(fill.storage, "WINDOW", 4)
    keep, kept = stored_features.StoredFeatures.keep, []

    def interrupted(self, utterance, features):
        if len(kept) == 6:
            raise KeyboardInterrupt
        kept.append(utterance)
        return keep(self, utterance, features)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(stored_features.StoredFeatures, "keep", interrupted)
        fill.fill(asked("ic", tmp_path))
    assert stored(tmp_path) == 6
    encoded.clear()
    fill.fill(asked("ic", tmp_path))
    assert len(encoded) + 6 == stored(tmp_path)


@pytest.mark.slow
def test_processes_share_the_work(tmp_path, encoded, monkeypatch):
    counts = []
    for rank in (0, 1):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "2")
        before = stored(tmp_path / "store")
        fill.fill(asked("ic", tmp_path / "store"))
        counts.append(stored(tmp_path / "store") - before)
    assert min(counts) > 0 and sum(counts) == len(encoded)
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.delenv("RANK")
    fill.fill(asked("ic", tmp_path / "store"))
    assert sum(counts) == len(encoded)


def test_each_process_has_its_gpu(monkeypatch):
    def two_gpus(name):
        return torch.device("cuda" if name == "auto" else name)

    monkeypatch.setattr(fill, "choose_device", two_gpus)
    assert Share(1, 2, 1).device("auto") == "cuda:1"
    assert Share().device("auto") == "cuda" and Share(1, 2, 1).device("cpu") == "cpu"


def test_a_full_store_ends_it(tmp_path, encoded, monkeypatch, capsys):
    monkeypatch.setattr(fill.storage, "WINDOW", 4)
    assert fill.fill(asked("ic", tmp_path, gigabytes=0.0)) == 1
    said = capsys.readouterr().out
    assert "ic: 0 of at least 5 utterances are stored in " in said
    assert "give more room with --store-gb" in said
    assert 4 <= len(encoded) <= 8 and stored(tmp_path) == 0


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("disk", "could not be written; make room"),
        ("nan", "are not finite"),
        ("none", "no utterance"),
    ],
)
def test_what_could_not_be_stored_is_counted(fault, says, tmp_path, monkeypatch, capsys):
    space = fill.Space
    if fault == "disk":

        def full(self):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(space, "_own_shard", full)
    elif fault == "nan":
        monkeypatch.setattr(space, "put", lambda *_: False)
    else:
        monkeypatch.setattr(fill, "_utterances", lambda *_: iter(()))
    assert fill.fill(asked("ic", tmp_path)) == 1
    said = capsys.readouterr().out
    assert says in said and "ic: 0 of " in said


@pytest.mark.slow
@pytest.mark.parametrize("task", ["pr", "qbe", "sd"])
def test_frames(task, tmp_path, encoded):
    fill.fill(asked(task, tmp_path, mode="frames"))
    assert 0 < stored(tmp_path) <= len(encoded)
    encoded.clear()
    fill.fill(asked(task, tmp_path, mode="frames"))
    assert not encoded


def test_every_split_that_the_protocol_goes_through():
    found = {name: fill.splits_of(tasks.read(tasks.path_of(name))) for name in tasks.names()}
    assert found["ks"] == ["train", "dev", "test"]
    assert found["asr"] == ["train", "dev-clean", "test-clean"]
    assert found["qbe"] == ["dev", "test"]  # nothing is trained


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--tasks", "pr"], "pr: its head sees every frame; keep them with --store frames"),
        (["--tasks", "se,ks"], "se: s3prl prepares its audio in a way of its own; leave it out"),
        (["--tasks", "ks", "--store", "off"], "--store off: nothing would be stored"),
        (["--tasks", "kws"], "did you mean ks"),
        (["--tasks", "ks", "--roots", "r"], "give the corpus with --root DIR, or"),
        (["--tasks", "ks", "-u", "nothing"], "-u nothing: no such upstream"),
    ],
)
def test_mistakes(words, says, tmp_path, capsys):
    words = ["--root", str(corpus("ks")), "--device", "cpu", *words]
    words += ["--store-dir", str(tmp_path / "store")]
    assert mt4ssl_cli.main(["store", "fill", "-k", str(tiny_checkpoint()), *words]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "store").exists()


@pytest.mark.slow
def test_an_upstream_whose_features_depend_on_the_batch(tmp_path, capsys):
    cfg = superb_data.config.EncoderConfig(**{**vars(superb_data.TINY), "isolate_padding": False})
    path = superb_data.save_checkpoint(tmp_path / "depends.pt", cfg)
    words = ["store", "fill", "-k", str(path), "--tasks", "ks", "--root", str(corpus("ks"))]
    words += ["--device", "cpu", "--store-dir", str(tmp_path / "store")]
    assert mt4ssl_cli.main(words) == 2
    said = capsys.readouterr().err
    assert "ks: features of mt4ssl are not stored" in said and "--store-alone" in said
    assert mt4ssl_cli.main([*words, "--store-alone"]) == 0
