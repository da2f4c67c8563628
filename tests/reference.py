"""What the official code computed (tests/fixtures/reference), and how it is loaded here."""

import copy
import json
from functools import cache
from pathlib import Path

import torch
from safetensors.torch import load_file

from mt4ssl_core.checkpoints.foreign import weight_names
from mt4ssl_core.config import Config, EncoderConfig, encoder_from_dict
from mt4ssl_core.model.mt4ssl import MT4SSL
from mt4ssl_core.model.targets.offline import OfflineConfig
from mt4ssl_core.model.targets.online import OnlineConfig

FOLDER = Path(__file__).parent / "fixtures" / "reference"
LENGTHS = {  # valid samples per utterance: padded, cropped to the shortest, single
    "P": torch.tensor([24093, 18520, 14877]),
    "U": torch.tensor([14877] * 3),
    "S": torch.tensor([18520]),
}


@cache
def tensors(name):
    return load_file(FOLDER / f"{name}.safetensors")


@cache
def facts(name):
    return json.loads((FOLDER / f"{name}.json").read_text())


def encoder_config(**changes):
    values = {
        "conv_layers": [[32, 10, 5]] + [[32, 3, 2]] * 4 + [[32, 2, 2]] * 2,
        "dim": 48,
        "heads": 4,
        "layers": 4,
        "ffn_dim": 96,
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "layerdrop": 0.0,
        "isolate_padding": False,
    }
    return EncoderConfig(**{**values, **changes})


def official_config():
    return Config(
        encoder=encoder_config(),
        targets={
            "offline": OfflineConfig(num_classes=24, label_offset=4),
            "online": OnlineConfig(top_k=3, norm_over_padding=True),
        },
    )


def our_name(key):
    rows = weight_names.name_rows(encoder_config())
    for target, head in weight_names.HEADS.items():
        if key.startswith(head + "."):
            return f"targets.{target}.head." + key.split(".", 1)[1]
    name = weight_names.rename(key, rows, weight_names.FAIRSEQ, weight_names.OURS)
    assert name is not None, key
    return f"encoder.{name}"


def teacher_name(key):
    return "targets.online.teacher." + our_name(f"encoder.{key}").removeprefix("encoder.context.")


def official_model(cfg=None, separate_teacher=True):
    model = MT4SSL(copy.deepcopy(cfg or official_config()))
    student = {our_name(k): v for k, v in tensors("weights_model").items()}
    teacher = {teacher_name(k): v for k, v in tensors("weights_ema").items()}
    if not separate_teacher:
        inside = "targets.online.teacher."
        teacher = {k: student["encoder.context." + k.removeprefix(inside)] for k in teacher}
    model.load_state_dict({**student, **teacher})
    return model


def batch(name):
    """(waves, lengths, labels from 0) of a batch that the official dataset made."""
    inputs = tensors("inputs")
    return inputs[f"{name}.source"], LENGTHS[name], inputs[f"{name}.target"].long() - 4


def error(ours, theirs):
    """max|a - b| / max|b|"""
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


def to_fairseq(state):
    """The ``model`` entry of a fairseq checkpoint, `_ema` included, for a checkpoint of ours."""
    rows = weight_names.name_rows(encoder_from_dict(state["config"]["encoder"]))
    out = {}
    for key, value in state["encoder"].items():
        name = weight_names.rename(key, rows, weight_names.OURS, weight_names.FAIRSEQ)
        assert name is not None, f"no fairseq name for {key}"
        out[name] = value
    for target, head in weight_names.HEADS.items():
        for part in ("weight", "bias"):
            if target in state["targets"]:
                out[f"{head}.{part}"] = state["targets"][target][f"head.{part}"]
    if "online" in state["targets"]:
        out["_ema"] = {}
        for key, value in state["targets"]["online"].items():
            if key.startswith(weight_names.TEACHER):
                name = weight_names.rename(
                    "context." + key.removeprefix(weight_names.TEACHER),
                    rows,
                    weight_names.OURS,
                    weight_names.FAIRSEQ,
                )
                assert name is not None, f"no fairseq name for {key}"
                out["_ema"][name.removeprefix("encoder.")] = value
    return out
