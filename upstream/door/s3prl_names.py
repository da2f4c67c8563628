"""The names in an experiment's settings that s3prl turns into code, and which of them are known.

s3prl puts many settings through ``eval``, or looks them up as attributes of a module: the kind of a
head, its pooling, metrics, losses, optimizers, splits. They come from a config, from ``-o``, or
from a head that somebody else has stored. `check` looks at all of them in one place, before s3prl
does: each must be one of the names listed here.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class KnownNames:
    """What a setting may be."""

    names: tuple[str, ...]
    many: bool = False  # a list of names
    number: bool = False  # a number as well
    empty: bool = False  # or null


def _one(*names: str) -> KnownNames:
    return KnownNames(names)


def _or_null(*names: str) -> KnownNames:
    return KnownNames(names, empty=True)


_ACTIVATIONS = _one(
    *("ReLU", "ReLU6", "LeakyReLU", "PReLU", "ELU", "CELU", "SELU", "GELU", "SiLU", "Mish"),
    *("Tanh", "Sigmoid", "LogSigmoid", "Softplus", "Softsign", "Hardtanh", "Hardswish", "Identity"),
)
_LAYERS = _one("LSTM", "GRU", "RNN", "lstm", "gru", "rnn")
_POOLING = _one("MeanPooling", "AttentivePooling")
_FRAMES = {"activation": _ACTIVATIONS}
_UTTERANCE: dict[str, Any] = {"pooling": _POOLING, "activation": _ACTIVATIONS}
_PART = {
    "select": _one("FrameLevel", "UtteranceLevel"),
    "FrameLevel": _FRAMES,
    "UtteranceLevel": _UTTERANCE,
}
_UTTERANCE |= {"pre_net": _PART, "post_net": _PART}
_RNNS = {"module": _LAYERS, "sample_style": _one("drop", "concat")}
_POOLED = {"modelrc": {"select": _one("UtteranceLevel"), "UtteranceLevel": _UTTERANCE}}
_SEPARATION = {
    "modelrc": {
        "model": _one("SepRNN"),
        "rnn": _LAYERS,
        "non_linear": _one("relu", "sigmoid", "tanh"),
        "loss_type": _one("MSE", "SISDR"),
        "mask_type": _one("AM", "PSM", "NPSM"),
    }
}
_SLOTS = ("slot_type_f1", "slot_value_cer", "slot_value_wer", "slot_edit_f1_full")

SPLITS = ("train", "dev", "test")
_SOME_SPLITS = KnownNames(SPLITS, many=True)

# s3prl's folder of a task -> the names in its section downstream_expert
TASKS: dict[str, dict[str, Any]] = {
    "speech_commands": _POOLED,
    "fluent_commands": _POOLED,
    "voxceleb1": _POOLED,
    "emotion": {
        "datarc": {"test_fold": _or_null("fold1", "fold2", "fold3", "fold4", "fold5")},
        "modelrc": {
            "select": _one("UtteranceLevel", "DeepModel"),
            "UtteranceLevel": _UTTERANCE,
            "DeepModel": {"model_type": _one("CNNSelfAttention", "FCN", "DeepNet")},
        },
    },
    "sv_voxceleb1": {
        "modelrc": {
            "module": _one("XVector", "Identity"),
            "agg_module": _one("MP", "AP", "ASP", "SP"),
            "utter_module": _one("UtteranceExtractor", "UtteranceIdentity"),
            "ObjectiveLoss": _one("SoftmaxLoss", "AMSoftmaxLoss", "AAMSoftmaxLoss"),
        }
    },
    "asr": {
        "datarc": {
            "decoder_args": {
                "decoder_type": _or_null("none", "None", "kenlm"),
                "unk_weight": KnownNames(("-math.inf", "math.inf"), number=True),
            }
        },
        "modelrc": {"select": _one("RNNs", "Wav2Letter"), "RNNs": _RNNS},
    },
    "ctc": {
        "corpus": {
            "name": _one(
                *("libriphone", "LibriPhone", "librispeech", "LibriSpeech", "snips", "SNIPS"),
                *("common_voice", "sbcsae"),
            )
        },
        "text": {"mode": _one("character", "word", "subword", "character-slot", "subword-slot")},
        "model": {
            "select": _one("FrameLevel", "RNNs", "Wav2Letter"),
            "FrameLevel": _FRAMES,
            "RNNs": _RNNS,
        },
        "metric": KnownNames(("per", "wer", "cer", *_SLOTS, "slot_edit_f1_part"), many=True),
    },
    "quesst14_dtw": {
        "dtwrc": {
            "dist_method": _one(
                *("cosine_exp", "cosine_neg_log", "cosine", "euclidean", "sqeuclidean"),
                *("cityblock", "chebyshev", "correlation", "braycurtis", "canberra"),
            ),
            "step_pattern": _one(
                *("asymmetric", "asymmetricP0", "asymmetricP05", "asymmetricP1", "asymmetricP2"),
                *("symmetric1", "symmetric2", "symmetricP05", "symmetricP1", "symmetricP2"),
            ),
        }
    },
    "diarization": {},
    "enhancement_stft": _SEPARATION,
    "separation_stft": _SEPARATION,
    "speech_translation": {
        "downsample_method": _one("drop", "concat", "average"),
        "criterionrc": {"criterion": _one("label_smoothed_cross_entropy")},
        "asrrc": {"bpe_tokenizer": {"bpe": _one("sentencepiece")}},
        "modelrc": {"arch": _one("s2t_transformer", "s2t_transformer_s")},
    },
    # of upstream.own_task
    "own_classify": {
        **_POOLED,
        "datarc": {"crop_splits": _SOME_SPLITS, "balanced_splits": _SOME_SPLITS},
    },
    "own_ctc": {
        "text": {"mode": _one("character", "word")},
        "model": {
            "select": _one("FrameLevel", "RNNs"),
            "FrameLevel": _FRAMES,
            "RNNs": _RNNS,
        },
        "metric": KnownNames(("per", "wer", "cer"), many=True),
    },
    "own_verify": {
        "datarc": {"crop_splits": _SOME_SPLITS},
        "modelrc": {"agg_module": _one("MP", "AP", "ASP", "SP")},
    },
    "a2o-vc-vcc2020": {
        "trgspk": _one(
            *("TEF1", "TEF2", "TEM1", "TEM2", "TFF1", "TFM1", "TGF1", "TGM1", "TMF1", "TMM1"),
            *("SEF1", "SEF2", "SEM1", "SEM2"),
        ),
        "modelrc": {"encoder_type": _one("taco2", "ffn")},
    },
}
_ASR_SPLITS = (
    *("train", "dev-clean", "dev-other", "test-clean", "test-other"),
    *("dev", "test"),
)
_SCHEDULERS = (
    *("cosine_with_hard_restarts", "cosine", "linear", "sqrt_decay", "constant_decay"),
    *("noam_decay", "polynomial_decay"),
)


def check(args: Any, config: Mapping[str, Any]) -> None:
    """See that every setting that s3prl evaluates, or looks up by its name, is a name it knows.

    Raises:
        ValueError: one is not; names the key, the value and the names that are known.
    """
    task = args.downstream
    _check("args", vars(args), {"downstream": _one(*s3prl_tasks()), "hub": _one("torch")})
    asked = {"mode": _one("train", "evaluate", "inference"), "evaluate_split": _one(*splits(task))}
    _check("args", vars(args), asked)
    if getattr(args, "from_hf_hub", False):
        raise ValueError("args.from_hf_hub: code of a model hub is never run; leave it out")
    check_config(task, config)


def check_config(task: str, config: Mapping[str, Any]) -> None:
    """`check` for a config alone, of the task with this folder in s3prl."""
    known = {
        "runner": {
            "train_dataloader": _one(*splits(task)),
            "eval_dataloaders": KnownNames(splits(task), many=True),
        },
        "optimizer": {"name": _one(*_OPTIMIZERS), "torch_optim_name": _one(*_TORCHS)},
        "scheduler": {
            "name": _one(*(f"{name}_schedule_with_warmup" for name in _SCHEDULERS)),
        },
        "downstream_expert": TASKS.get(task, {}),
    }
    _check("config", config, known)
    _check_sections("config", config, ("runner", "optimizer", "downstream_expert"))
    expert = config.get("downstream_expert", {})
    _check_sections("config.downstream_expert", expert, ("datarc", "modelrc"))


def _check_sections(where: str, given: Mapping[str, Any], sections: Sequence[str]) -> None:
    for section in sections:
        if not isinstance(value := given.get(section, {}), Mapping):
            raise ValueError(
                f"{where}.{section}: {value!r:.60} is not a section; give keys and values below it"
            )


_TORCHS = (
    *("Adadelta", "Adafactor", "Adagrad", "Adam", "Adamax", "AdamW", "ASGD", "LBFGS", "Muon"),
    *("NAdam", "RAdam", "RMSprop", "Rprop", "SGD", "SparseAdam"),
)
_OPTIMIZERS = (
    *("TorchOptim", "Adam", "AdamW", "AdamW_with_schedule", "BertAdam_with_schedule"),
    "Lamb_with_schedule",
)


def s3prl_tasks() -> list[str]:
    """Return s3prl's folders of tasks, those that are none of SUPERB's too."""
    spec = importlib.util.find_spec("s3prl")
    folders = list(spec.submodule_search_locations or []) if spec else []
    experts = (path for folder in folders for path in Path(folder).glob("downstream/*/expert.py"))
    return sorted({*TASKS, *(path.parent.name for path in experts)})


def splits(task: str) -> tuple[str, ...]:
    """Return the splits of the task with this folder in s3prl."""
    return _ASR_SPLITS if task == "asr" else SPLITS


def _check(where: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for key, allowed in known.items():
        if key not in given:
            continue
        value, place = given[key], f"{where}.{key}"
        if isinstance(allowed, KnownNames):
            _check_value(place, value, allowed)
        elif isinstance(value, Mapping):
            _check(place, value, allowed)
        elif value is not None:
            _check_sections(where, given, [key])


def _check_value(place: str, value: Any, allowed: KnownNames) -> None:
    if value is None and allowed.empty:
        return
    if type(value) in (int, float) and allowed.number:
        return
    found: Sequence[Any] = value if allowed.many and isinstance(value, list) else [value]
    listed = not allowed.many or isinstance(value, list)
    if listed and all(type(name) is str and name in allowed.names for name in found):
        return
    kinds = "a number or one of" if allowed.number else "a list of" if allowed.many else "one of"
    shown = repr(value)
    raise ValueError(
        f"{place}: {shown if len(shown) <= 100 else shown[:100] + '...'} is not known to s3prl "
        f"and is not run as code; give {kinds}: {', '.join(allowed.names)}"
    )
