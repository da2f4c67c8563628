"""The names of fairseq that s3prl's speech translation imports.

What: expert, task and datasets of ``speech_translation`` import dictionary, batching, the
    speech-to-text transformer, label smoothing and beam search from fairseq.
Why: fairseq has seen no release since 2022; 0.12.2 neither builds nor imports on Python 3.11.
Since: Python 3.11 (dataclasses refuse its defaults).
Here: where fairseq is not installed, modules of these names with the parts from
    `upstream.fairseq_shim`. The functions that read features instead of audio are there by name,
    as s3prl imports them, and say so when called: no SUPERB setting does.
Delete when: s3prl's speech translation does not need fairseq.
"""

from collections.abc import Callable
from typing import Any, ClassVar, NoReturn

import torch

from upstream.compat._modules import is_there, put

_AUDIO = (
    *("get_fbank", "get_waveform", "parse_path"),
    *("read_from_stored_zip", "is_npy_data", "is_sf_audio_data"),
)


def install() -> bool:
    """Put the modules on the path, unless fairseq is installed."""
    if is_there("fairseq"):
        return False
    for name, content in _contents().items():
        put(name, **content)
    return True


def _contents() -> dict[str, dict[str, Any]]:
    from upstream.fairseq_shim import batches, dictionary, s2t_transformer, task, text

    transformer = {
        "S2TTransformerModel": s2t_transformer.S2TTransformerModel,
        "TransformerDecoderScriptable": s2t_transformer.Decoder,
    }
    audio: dict[str, Any] = {name: _unsupplied(name) for name in _AUDIO}
    audio["FEATURE_OR_SF_AUDIO_FILE_EXTENSIONS"] = set()
    data = {
        "Dictionary": dictionary.Dictionary,
        "FairseqDataset": batches.FairseqDataset,
        "ConcatDataset": _unsupplied("ConcatDataset"),
        "ResamplingDataset": _unsupplied("ResamplingDataset"),
    }
    return {
        "fairseq.utils": {"move_to_cuda": move_to_cuda},
        "fairseq.data": data,
        "fairseq.data.data_utils": {"collate_tokens": batches.collate_tokens},
        "fairseq.data.encoders": {
            "build_bpe": text.build_bpe,
            "build_tokenizer": text.build_tokenizer,
        },
        "fairseq.data.audio.audio_utils": audio,
        "fairseq.data.audio.feature_transforms": {"CompositeAudioFeatureTransform": _Transforms},
        "fairseq.models": {"ARCH_CONFIG_REGISTRY": s2t_transformer.ARCHITECTURES},
        "fairseq.models.transformer": {"Embedding": s2t_transformer.embedding},
        "fairseq.models.speech_to_text.s2t_transformer": transformer,
        "fairseq.tasks.speech_to_text": {"SpeechToTextTask": task.SpeechToTextTask},
    }


def move_to_cuda(sample: Any, device: torch.device | str) -> Any:
    """Return ``sample`` with all tensors in its dicts, lists and tuples on ``device``."""
    if isinstance(sample, torch.Tensor):
        return sample.to(device, non_blocking=True)
    if isinstance(sample, dict):
        return {key: move_to_cuda(value, device) for key, value in sample.items()}
    if isinstance(sample, (list, tuple)):
        return type(sample)(move_to_cuda(value, device) for value in sample)
    return sample


class _Transforms:
    """Augmentation of features, which a task that reads audio has none of."""

    KEY: ClassVar[str] = "transforms"

    @classmethod
    def from_config_dict(cls, config: dict[str, Any]) -> None:
        if config.get(cls.KEY) is not None:
            _unsupplied("config.yaml: transforms")()


def _unsupplied(name: str) -> Callable[..., NoReturn]:
    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise ValueError(
            f"{name}: reading features instead of audio takes fairseq itself; prepare the corpus "
            "with mt4ssl superb prepare --tasks st"
        )

    return refuse
