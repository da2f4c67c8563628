import dataclasses
import inspect

import pytest

from mt4ssl_core import config, configs
from mt4ssl_core.model.optim import learning_rate
from mt4ssl_core.settings import bounds, finetuning, listing, merging
from mt4ssl_core.settings.finetuning import FinetuneConfig

GIVEN = ["data.train=speech", "encoder.init=last.pt"]
SHIPPED = [name for name in configs.names() if finetuning.is_one(configs.path(name))]
RECIPES = {  # fairseq's examples/wav2vec/config/finetuning/base_*.yaml
    "ctc_10m": (5e-5, 13_000, 0.25, 0.1, 10_000),
    "ctc_1h": (5e-5, 13_000, 0.25, 0.1, 10_000),
    "ctc_10h": (5e-5, 20_000, 0.5, 0.05, 10_000),
    "ctc_100h": (3e-5, 80_000, 0.5, 0.1, 0),
}


def test_the_recipes_are_fairseqs():
    assert set(SHIPPED) == {*RECIPES, "tiny_ctc"}
    for name, (lr, updates, channels, layerdrop, frozen) in RECIPES.items():
        cfg = finetuning.load(name, GIVEN)
        found = (cfg.optim.lr, cfg.optim.max_updates, cfg.masking.channel_prob)
        assert found == (lr, updates, channels), name
        assert (cfg.encoder.layerdrop, cfg.encoder.freeze_updates) == (layerdrop, frozen)
        assert (cfg.masking.prob, cfg.masking.length, cfg.masking.channel_length) == (0.65, 10, 64)
        assert (cfg.encoder.activation_dropout, cfg.encoder.dropout) == (0.1, 0.0)
        assert (cfg.optim.betas, cfg.optim.eps, cfg.optim.weight_decay) == ([0.9, 0.98], 1e-8, 0)
        assert cfg.encoder.freeze_extractor and cfg.optim.clip_norm == 0


def test_the_rate_rises_holds_and_falls_as_tri_stage_by_hand():
    optim = finetuning.load("ctc_100h", GIVEN).optim
    assert learning_rate(optim, 0) == pytest.approx(3e-7)
    assert learning_rate(optim, 4_000) == pytest.approx(3e-7 + (3e-5 - 3e-7) / 2)
    assert learning_rate(optim, 8_000) == learning_rate(optim, 40_000) == 3e-5
    assert learning_rate(optim, 60_000) == pytest.approx(3e-5 * 0.05**0.5)
    assert learning_rate(optim, 80_000) == pytest.approx(1.5e-6)


def test_all_problems_are_reported_at_once():
    with pytest.raises(ValueError) as caught:
        finetuning.load("ctc_10h", ["encoder.random=true", "text.keep=-|", "text.remove=-",
                                    "masking.channel_probb=1", "optim.warmup=0.5"])  # fmt: skip
    for part in (
        "data.train: missing value",
        "encoder.init, encoder.shape: give one",
        "encoder.random",
        "text.keep, text.remove: both have '-'",
        "text.keep: has '|', the token between words",
        "Did you mean masking.channel_prob?",
        "optim.warmup + optim.hold + optim.decay: must sum to 1",
    ):
        assert part in str(caught.value), part


@pytest.mark.parametrize("rate", ["0", "-1e-3", "nan", "101"])
def test_a_rate_of_the_head_that_cannot_be_is_refused(rate):
    with pytest.raises(ValueError, match=r"optim\.head_lr: .*must be above 0 and at most 100"):
        finetuning.load("tiny_ctc", [*GIVEN, f"optim.head_lr={rate}"])


def test_a_configuration_of_the_other_kind_is_said():
    with pytest.raises(ValueError, match="tiny: a configuration of pre-training"):
        finetuning.load("tiny", GIVEN)
    with pytest.raises(ValueError, match="ctc_10h: a configuration of fine-tuning"):
        config.load("ctc_10h", ["data.train=speech"])
    with pytest.raises(ValueError, match=r"encoder\.shape: ctc_10h is a configuration of fine"):
        finetuning.load("tiny_ctc", ["data.train=speech", "encoder.shape=ctc_10h"])


def test_every_setting_is_listed_with_its_meaning():
    text = listing.listed("ctc_10h")
    assert "layerdrop: 0.05  # <-- default: 0.1" in text and "freeze_updates: 10000  # <--" in text
    assert "# of initialisation, masks, crops, data order and dropout." in text  # inherited
    for section, kind in finetuning.SECTIONS.items():
        said = "".join(inspect.getdoc(owner) or "" for owner in kind.__mro__)
        for field in dataclasses.fields(kind):
            assert f"{field.name}" in said, f"{section}.{field.name}"
            assert f"  {field.name}:" in text
        assert not bounds.problems(kind(), f"{section}.")


def test_what_is_told_of_settings_is_of_these_alone():
    for kind in {*config.sections().values(), *finetuning.SECTIONS.values()}:
        fields = {field.name for field in dataclasses.fields(kind)}
        for owner in kind.__mro__[:-1]:
            _, _, rest = inspect.getdoc(owner).partition("\n\n")
            told = {name for names, _ in listing.items(rest) for name in names.split(", ")}
            assert told - {""} <= fields, owner
    for name in ("tiny", "ctc_10h"):
        text = listing.listed(name)
        assert text.count("switches validation off") + text.count("0 never") == 1
        assert "given like `train`" in text


def test_what_is_listed_loads_again(tmp_path):
    (tmp_path / "mine.yaml").write_text(listing.listed("tiny_ctc"))
    again = finetuning.load(tmp_path / "mine.yaml", GIVEN)
    assert again == finetuning.load("tiny_ctc", GIVEN)
    assert again.masking.frames is not None and isinstance(again, FinetuneConfig)
    none = finetuning.load("tiny_ctc", [*GIVEN, "masking.prob=0", "masking.channel_prob=0"])
    assert none.masking.frames is None and none.masking.channels is None


def test_layers_read_files_over_defaults():
    layers = merging.Layers(finetuning.SECTIONS, {}).read("ctc_1h")
    assert not layers.problems and layers.missing
