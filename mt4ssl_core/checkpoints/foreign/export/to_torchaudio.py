"""A checkpoint of any kind as a state dict of torchaudio's, and how the model of it is made."""

from pathlib import Path
from typing import Any

import torch

from mt4ssl_core.checkpoints.foreign.export.ctc import Head
from mt4ssl_core.checkpoints.foreign.export.folder import NOTE, RECORD, new_folder, write_record
from mt4ssl_core.checkpoints.foreign.export.folder import TORCHAUDIO as FILE
from mt4ssl_core.checkpoints.foreign.export.forms import check_frontend
from mt4ssl_core.checkpoints.foreign.torchaudio_models import as_torchaudio
from mt4ssl_core.checkpoints.foreign.weight_names import HF, OURS, name_rows, rename
from mt4ssl_core.config import EncoderConfig
from mt4ssl_core.files import atomic_path
from mt4ssl_core.model.encoder import Encoder

NORMALIZED = "torch.nn.functional.layer_norm(wave, wave.shape)"
ARGUMENTS = {  # of torchaudio.models.wav2vec2_model and wavlm_model -> ours
    "extractor_mode": "extractor_norm",
    "extractor_conv_layer_config": "conv_layers",
    "extractor_conv_bias": "conv_bias",
    "encoder_embed_dim": "dim",
    "encoder_projection_dropout": "input_dropout",
    "encoder_pos_conv_kernel": "pos_conv_kernel",
    "encoder_pos_conv_groups": "pos_conv_groups",
    "encoder_num_layers": "layers",
    "encoder_num_heads": "heads",
    "encoder_attention_dropout": "attention_dropout",
    "encoder_ff_interm_features": "ffn_dim",
    "encoder_ff_interm_dropout": "activation_dropout",
    "encoder_dropout": "dropout",
    "encoder_layer_norm_first": "pre_norm",
    "encoder_layer_drop": "layerdrop",
}
RELATIVE = {  # of wavlm_model alone
    "encoder_num_buckets": "relative_buckets",
    "encoder_max_distance": "relative_distance",
}


def write(encoder: Encoder, out: Path, origin: str | Path, head: Head | None = None) -> Path:
    """Write a folder with the state dict in model.pt and the function and arguments that make its
    model in export.json; returns ``out``. ``origin`` is what errors name; the ``head`` of a
    recogniser becomes ``aux``, and export.json has its tokens.

    Raises:
        ValueError: torchaudio has no such model, or ``out`` holds something else.
        OSError: the folder cannot be written.
    """
    cfg = encoder.cfg
    check_frontend(cfg, origin, "torchaudio")
    if cfg.pos_conv_depth > 1:
        raise ValueError(
            f"{origin}: pos_conv_depth {cfg.pos_conv_depth}: torchaudio's models have one "
            "positional convolution; export it with --to hf or --to fairseq"
        )
    weights = {
        str(rename(key, name_rows(cfg), OURS, HF)): value.cpu()
        for key, value in encoder.state_dict().items()
        if key != "mask_embedding"  # which torchaudio's models do not have
    }
    weights = as_torchaudio(weights)
    made_by = _made_by(cfg)
    if head is not None:
        weights |= {f"aux.{key}": value.cpu() for key, value in head.weights.items()}
        made_by["arguments"]["aux_num_out"] = len(head.vocabulary)
        made_by["labels"] = list(head.vocabulary.tokens)
        made_by["blank"] = head.vocabulary.blank
    with new_folder(out) as folder:
        with atomic_path(folder / FILE) as temporary:
            torch.save(weights, temporary)
        write_record(folder, {"format": "torchaudio", "weights": FILE, **made_by})
    return out


def _made_by(cfg: EncoderConfig) -> dict[str, Any]:
    """How the model is made, and what it hears."""
    names = ARGUMENTS | (RELATIVE if cfg.relative_buckets else {})
    function = f"torchaudio.models.{'wavlm' if cfg.relative_buckets else 'wav2vec2'}_model"
    arguments = {theirs: getattr(cfg, ours) for theirs, ours in names.items()}
    heard = f"normalised, as by {NORMALIZED}" if cfg.normalize else "as they are"
    return {
        "function": function,
        "arguments": arguments | {"aux_num_out": None},
        "waveforms": heard,
        NOTE: f'its model is {function}(**arguments), with "arguments" of {RECORD}; it hears '
        f"waveforms {heard}",
    }
