"""A checkpoint of any kind as a folder for ``transformers.AutoModel``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mt4ssl_core.checkpoints import tensor_files
from mt4ssl_core.checkpoints.foreign import checkpoint_files, huggingface
from mt4ssl_core.checkpoints.foreign.export import card, ctc, language_model
from mt4ssl_core.checkpoints.foreign.export.card import Card
from mt4ssl_core.checkpoints.foreign.export.folder import HEARING, MARK, WEIGHTS, new_folder
from mt4ssl_core.checkpoints.foreign.export.forms import check_frontend
from mt4ssl_core.checkpoints.foreign.export.language_model import ForeignLM
from mt4ssl_core.checkpoints.foreign.weight_names import HF, OURS, name_rows, rename
from mt4ssl_core.config import EncoderConfig, to_dict
from mt4ssl_core.files import write_json, write_text
from mt4ssl_core.model.encoder import Encoder
from mt4ssl_core.settings.frames import SAMPLE_RATE

_HEARING = {
    **huggingface.EXTRACTOR_FIXED,
    "padding_side": "right",
    "padding_value": 0.0,
    "return_attention_mask": True,
    "sampling_rate": SAMPLE_RATE,
}

_CLASSES = {"data2vec-audio": "Data2VecAudioModel", "hubert": "HubertModel", "wavlm": "WavLMModel"}


def write(
    encoder: Encoder,
    out: Path,
    origin: str | Path,
    state: Mapping[str, Any] | None = None,
    about: Card | None = None,
    head: ctc.Head | None = None,
    lm: ForeignLM | None = None,
) -> Path:
    """Write the folder (see `convert.export`); ``origin`` is what errors name, ``state`` the
    checkpoint that the encoder is of, ``about`` what its card says beside, ``head`` that of a
    recogniser, ``lm`` its language model.
    """
    cfg, about = encoder.cfg, about or Card()
    options = _config(cfg, origin)
    rows = name_rows(cfg)
    weights = {str(rename(key, rows, OURS, HF)): v for key, v in encoder.state_dict().items()}
    hearing = {**_HEARING, "do_normalize": cfg.normalize}
    processor = ctc.PROCESSOR if lm is None else language_model.PROCESSOR
    if head is not None:
        head.check_spelled(origin)
        weights = ctc.huggingface_weights(weights, head, options["model_type"])
        options |= ctc.huggingface_options(head, options["model_type"])
        hearing |= processor
    noted = {"format": "pt", checkpoint_files.RECORD: huggingface.feature_record(cfg)}
    state = state or {"config": {"encoder": to_dict(cfg)}, "targets": {}, "progress": {}}
    known = {**state, "encoder": encoder.state_dict()}
    with new_folder(out) as folder:
        tensor_files.save(folder / WEIGHTS, weights, noted)
        write_json(folder / checkpoint_files.CONFIG, options)
        write_json(folder / HEARING, hearing)
        if head is not None:
            ctc.write_tokenizer(folder, head, processor)
            if lm is not None:
                lm.write(folder, head.names(), head.vocabulary)
        write_text(
            folder / card.NAME,
            card.text(about, known, out, origin, options["model_type"], note(folder)),
        )
        card.write_files(about, folder)
    return out


def note(folder: Path) -> str | None:
    """What the user of an exported folder has to know of quiet audio, if anything."""
    eps = checkpoint_files.json_object(folder / checkpoint_files.CONFIG).get(
        huggingface.NORMALIZE_EPS
    )
    if not checkpoint_files.json_object(folder / HEARING)["do_normalize"] or eps == huggingface.EPS:
        return None
    other = "torch.nn.functional.layer_norm(wave, wave.shape)"
    outside = f"by {other}" if eps == 1e-5 else f"with {eps:g}"
    return (
        f"trained with encoder.normalize_eps {eps:g}, but the feature extractor of transformers "
        f"adds {huggingface.EPS:g}: below about -30 dBFS features differ; for the same ones "
        f"normalise waveforms {outside} and leave the extractor out"
    )


def _config(cfg: EncoderConfig, origin: str | Path) -> dict[str, Any]:
    """What config.json says."""
    check_frontend(cfg, origin, "Hugging Face")
    stacked, relative = cfg.pos_conv_depth > 1, cfg.relative_buckets > 0
    if stacked and (cfg.pre_norm or cfg.extractor_norm != "layer_norm" or relative):
        has = "pre-LN" if cfg.pre_norm else "relative_buckets" if relative else cfg.extractor_norm
        raise ValueError(
            f"{origin}: pos_conv_depth {cfg.pos_conv_depth} with {has} has no Hugging Face model: "
            "Data2VecAudioModel (depth > 1) is post-LN with layer_norm, HubertModel and WavLMModel "
            "(relative_buckets) have depth 1; export a checkpoint of one of these forms"
        )
    channels, kernels, strides = zip(*cfg.conv_layers, strict=True)
    options = {name: getattr(cfg, ours) for name, (ours, _, _) in huggingface.OPTIONS.items()}
    kind = "data2vec-audio" if stacked else "wavlm" if relative else "hubert"
    options |= {
        "architectures": [_CLASSES[kind]],
        "model_type": kind,
        "conv_dim": list(channels),
        "conv_kernel": list(kernels),
        "conv_stride": list(strides),
        "num_feat_extract_layers": len(channels),
        "hidden_act": "gelu",
        "feat_extract_activation": "gelu",
        "layer_norm_eps": 1e-5,
        "mask_time_prob": 0.05,  # not 0: masked_spec_embed exists only then
        "dtype": "float32",
        **MARK,
        huggingface.NORMALIZE_EPS: cfg.normalize_eps,
    }
    if stacked:
        options["num_conv_pos_embeddings"] = cfg.pos_conv_depth
        options["conv_pos_kernel_size"] = cfg.pos_conv_kernel
    else:
        options["num_conv_pos_embeddings"] = cfg.pos_conv_kernel
        options["feat_extract_norm"] = cfg.extractor_norm.removesuffix("_norm")
        options["do_stable_layer_norm"] = cfg.pre_norm
        options["feat_proj_layer_norm"] = True
    if relative:
        for theirs, (ours, _) in huggingface.RELATIVE.items():
            options[theirs] = getattr(cfg, ours)
    return options
