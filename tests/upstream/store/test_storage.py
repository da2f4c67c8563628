import json
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from superb_data import corpus, save_checkpoint, smoke, tiny_checkpoint

from mt4ssl_core.store import upkeep
from upstream.door import expert
from upstream.heads import runner
from upstream.store import storage
from upstream.store.options import StoreOptions

EXACT = {
    "kind": "pooled",
    "precision": "fp32",
    "exactness": "exact",
    "alone": False,
    "crops": None,
}
ALL_STEPS = {"runner.log_step": 1, "runner.gradient_accumulate_steps": 1}


def options(folder, mode="auto", **changes) -> StoreOptions:
    return StoreOptions(mode, str(folder), **changes)


def spaces(folder):
    return sorted(upkeep.spaces(folder), key=lambda space: space.kind.kind)


@pytest.mark.parametrize("task", ["ks", "sid"])
def test_means_are_stored_by_default(task, tmp_path):
    for number in (1, 2):
        (record,) = smoke(task, tmp_path / str(number), store=options(tmp_path / "store"))
        assert record["store"] == EXACT
        (space,) = spaces(tmp_path / "store")
        assert space.utterances > 0 and space.kind.kind == "pooled"


def test_frames_are_stored_when_asked_for(tmp_path):
    (record,) = smoke("pr", tmp_path / "a", store=options(tmp_path / "store"))
    assert record["store"] is None and not (tmp_path / "store").exists()
    (record,) = smoke("pr", tmp_path / "b", store=options(tmp_path / "store", "frames"))
    assert record["store"] == {**EXACT, "kind": "frames", "precision": "fp16"} | {
        "exactness": "near-exact"
    }
    (space,) = spaces(tmp_path / "store")
    assert space.utterances > 0


def test_crops_from_a_bank_are_named(tmp_path):
    (record,) = smoke("ks", tmp_path, store=options(tmp_path / "store", crops=3))
    assert record["store"] == {**EXACT, "crops": 3}


def test_off(tmp_path):
    (record,) = smoke("ks", tmp_path, store=options(tmp_path / "store", "off"))
    assert record["store"] is None and not (tmp_path / "store").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "key"), [("sid", "datarc.train_batch_size"), ("pr", "corpus.batch_size")]
)
def test_the_first_hundred_losses_at_batch_size_one(task, key, tmp_path):
    steps = {"total_steps": 100, "eval_step": 100, "save_step": 100, "log_step": 1}
    changes: dict[str, Any] = {f"runner.{name}": value for name, value in steps.items()}
    changes |= {"runner.gradient_accumulate_steps": 1, f"downstream_expert.{key}": 1}
    losses = []
    stored = options(tmp_path / "store", "frames", precision="fp32")
    for number, store in enumerate((StoreOptions("off"), stored, stored)):
        folder = tmp_path / str(number)
        smoke(task, folder, store=store, overrides=changes, stages=[])
        lines = (folder / "exp" / "evaluations.jsonl").read_text().splitlines()
        found = [json.loads(line) for line in lines]
        losses.append(torch.tensor([e["loss"] for e in found if e["split"] == "train"]))
    assert len(losses[0]) == 100
    assert ((losses[0] - losses[1]).abs() / losses[0].abs()).max() <= 1e-4
    assert torch.equal(losses[1], losses[2])  # whether computed or read


def test_layers_of_qbe_share_one_pass(tmp_path, monkeypatch):
    encoded = []
    original = expert.UpstreamExpert.forward

    def forward(self, wavs):
        encoded.extend(wavs)
        return original(self, wavs)

    monkeypatch.setattr(expert.UpstreamExpert, "forward", forward)
    store = options(tmp_path / "store", "frames")
    calls = []
    for layer in (0, 1, 2):
        argv = ["-m", "evaluate", "--task", "qbe", "--root", str(corpus("qbe")), "-u", "mt4ssl"]
        argv += ["-k", str(tiny_checkpoint()), "-l", str(layer), "-p", str(tmp_path / str(layer))]
        argv += ["--device", "cpu", "-o", "config.downstream_expert.datarc.num_workers=0"]
        runner.launch(runner.command.resolve(argv + store.argv()))
        calls.append(len(encoded))
    (space,) = spaces(tmp_path / "store")
    assert space.utterances > 10
    assert calls[2] - calls[1] == calls[1] - calls[0] <= 5  # s3prl's featurizer tries one second


def test_another_checkpoint_at_the_same_path_reads_nothing_stale(tmp_path):
    ckpt, found = tmp_path / "ckpt.pt", []
    for seed in (1, 2):
        save_checkpoint(ckpt, seed=seed)
        for mode in ("auto", "off"):
            folder = tmp_path / f"{seed}{mode}"
            store = options(tmp_path / "store", mode)
            smoke("sid", folder, ckpt=ckpt, store=store)
            state = torch.load(folder / "exp" / "states-2.ckpt")
            found.append(state["Downstream"]["projector.weight"])
    assert torch.allclose(found[0], found[1], atol=1e-5)
    assert torch.allclose(found[2], found[3], atol=1e-5)
    assert not torch.allclose(found[0], found[2], atol=1e-4)
    assert len(spaces(tmp_path / "store")) == 2


def test_features_that_depend_on_the_batch_are_stored_only_when_asked_for(tmp_path, capsys):
    from superb_data import TINY

    together = TINY.__class__(**{**vars(TINY), "isolate_padding": False})
    ckpt = save_checkpoint(tmp_path / "ckpt.pt", together)
    (record,) = smoke("sid", tmp_path / "a", ckpt=ckpt, store=options(tmp_path / "store"))
    assert record["store"] is None
    assert "--store-alone" in capsys.readouterr().err
    alone = options(tmp_path / "store", alone=True)
    (record,) = smoke("sid", tmp_path / "b", ckpt=ckpt, store=alone)
    assert record["store"] == {**EXACT, "alone": True}


def test_fingerprint_is_of_what_decides_the_features(tmp_path):
    from s3prl import hub

    def of(name, **changes):
        asked = {"upstream": name, "upstream_ckpt": None, "upstream_model_config": None, **changes}
        args = SimpleNamespace(**asked)
        model = getattr(hub, name)(ckpt=args.upstream_ckpt, model_config=args.upstream_model_config)
        return storage.upstream_fingerprint(model, args)

    one, same, other = (save_checkpoint(tmp_path / f"{i}.pt", seed=i // 2) for i in (2, 3, 4))
    assert of("mt4ssl", upstream_ckpt=str(one)) == of("mt4ssl_local", upstream_ckpt=str(same))
    assert of("mt4ssl", upstream_ckpt=str(one)) != of("mt4ssl", upstream_ckpt=str(other))
    assert of("mt4ssl", upstream_ckpt=str(one)) != of("mt4ssl_untrained", upstream_ckpt=str(one))
    assert of("fbank") == of("fbank") != of("fbank_no_cmvn")


def test_size_is_estimated_before_a_training_starts(tmp_path, capsys):
    smoke("sid", tmp_path, store=options(tmp_path / "store"))
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("store: ")]
    assert "kB per utterance" in line and "GB for the training split" in line
    assert str(tmp_path / "store") in line and "exact" in line


def test_options_are_read_and_written_alike():
    import argparse

    from upstream.store import options as store_options

    parser = argparse.ArgumentParser()
    store_options.add_arguments(parser)
    for words in (
        [],
        ["--store", "frames", "--store-gb", "2.5", "--store-precision", "int8", "--store-alone"],
    ):
        asked = StoreOptions.of(parser.parse_args(words))
        assert StoreOptions.of(parser.parse_args(asked.argv())) == asked
        assert asked.argv() == words
    with pytest.raises(ValueError, match="--store-crops: -1; must be at least 0"):
        StoreOptions(crops=-1)
