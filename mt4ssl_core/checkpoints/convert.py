"""Checkpoints of any origin in our form, and ours in that of other toolkits.

Foreign names and settings are known in `mt4ssl_core.checkpoints.foreign` alone. Nothing in a
foreign file is
executed, and neither fairseq nor transformers is needed.

Encoders from elsewhere get ``isolate_padding: true``: single utterances come out as where they
come from, padded ones as if they were alone. Set it to false for that framework's padded batches.
"""

from pathlib import Path
from typing import Any

from mt4ssl_core import config
from mt4ssl_core.checkpoints import checkpoint, compact, python_file, recognisers
from mt4ssl_core.checkpoints.foreign import (
    checkpoint_files,
    fairseq,
    hub_models,
    huggingface,
    torchaudio_models,
    transformers_encoder,
)
from mt4ssl_core.checkpoints.foreign.assembled import encoder_of
from mt4ssl_core.checkpoints.foreign.export import (
    to_compact,
    to_fairseq,
    to_hugging_face,
    to_torchaudio,
)
from mt4ssl_core.checkpoints.foreign.export.card import Card
from mt4ssl_core.checkpoints.foreign.export.ctc import Head
from mt4ssl_core.checkpoints.foreign.export.folder import NOTE, RECORD
from mt4ssl_core.checkpoints.foreign.export.language_model import ForeignLM
from mt4ssl_core.checkpoints.foreign.weight_names import OURS, renamed
from mt4ssl_core.checkpoints.own_encoder import OwnEncoder
from mt4ssl_core.files import reading
from mt4ssl_core.model.encoder import Encoder
from mt4ssl_core.model.speech_encoder import SpeechEncoder
from mt4ssl_core.settings.export_formats import FORMATS

__all__ = [
    "encoder_of", "export", "export_encoder", "export_hf", "export_note", "load_any",
    "load_encoder",
]  # fmt: skip


def load_any(path: str | Path) -> dict[str, Any]:
    """Read our, a fairseq or a Hugging Face checkpoint in the form of
    `mt4ssl_core.checkpoints.checkpoint`.

    path: a file that `mt4ssl pretrain` wrote; a fairseq .pt of MT4SSL, data2vec, HuBERT or
    wav2vec 2.0, pre-trained or fine-tuned, or what s3prl makes of it; Microsoft's WavLM .pt; a
    state dict of torchaudio's bundles; a Hugging Face folder with config.json and weights in
    safetensors or pytorch_model.bin, whole or in the shards that an index names; or one such file
    of weights with config.json beside it; or such a model's name on Hugging Face's hub, or its
    folder in the hub's cache; what ``export`` wrote as compact, or the name of such a model that
    comes with the package (see `hub_models.local`). Names that trainers put before those of the
    weights (``module.``, ``_orig_mod.``, ``model.``, ...) are taken away.
    From fairseq, ``optimizer_by_name`` maps our parameter names to {step, exp_avg, exp_avg_sq}, or
    is None when the file does not hold them. From Hugging Face, and from fairseq's models without
    targets of ours, comes an encoder alone: ``targets`` is empty, and of ``config`` only
    ``encoder`` says something; ``offline``, ``online`` and ``random_projection`` are None,
    ``data.train`` is "", the rest are defaults. `config.encoder_from_dict` reads that section;
    `config.from_dict` refuses the whole, since without a target there is nothing to train.
    Waveforms are normalised as they were where the model comes from: with 1e-5 added to the
    variance for fairseq and us, 1e-7 for Hugging Face, unless an export of ours says otherwise.

    Raises:
        ValueError: not readable, damaged, of another kind or architecture, asking for what this
            encoder cannot do or for more than the file holds, or a pickle naming foreign code.
    """
    path = hub_models.local(path)
    with reading(path):
        if (file := compact.weights_of(path)) is not None:
            return compact.load(file)
        if checkpoint_files.is_hugging_face(path):
            return huggingface.load(path)
        state = checkpoint.read(path, fairseq.CLASSES)
        if fairseq.is_fairseq(state):
            return fairseq.load(state, path)
        if (weights_there := torchaudio_models.weights_of(state)) is not None:
            return torchaudio_models.load(weights_there, path)
        if weights := checkpoint_files.loose_weights(state):
            raise ValueError(
                f"{path}: holds weights ({weights}), but not the settings of their encoder; put it "
                "as pytorch_model.bin beside the model's config.json and give that folder"
            )
        state = checkpoint.check_state(state, path)
        if not state["config"].get("encoder"):
            raise ValueError(f"{path}: config.encoder is missing; give another checkpoint")
        cfg = config.encoder_from_dict(state["config"]["encoder"], str(path))
        return state | {"encoder": renamed(state["encoder"], cfg, OURS, path)}


def load_encoder(path: str | Path, seed: int | None = None) -> SpeechEncoder:
    """The encoder of any checkpoint (see `load_any`), in eval mode; for features alone also of a
    Hugging Face folder whose model transformers computes (`transformers_encoder.FORMS`), and of
    FILE.py:CLASS.

    With ``seed`` its weights are drawn anew: the untrained copy a result is compared with.

    Raises:
        ValueError: as `load_any`, or weights that do not fit the config; a Python file that the
            user has not named, or whose class cannot be used.
    """
    if python_file.is_named(path):
        if seed is not None:
            raise ValueError(f"{path}: of a Python file no untrained copy is made; write a class")
        return OwnEncoder(path)
    path = hub_models.local(path)
    if transformers_encoder.is_for(path):
        return transformers_encoder.load(path, seed)
    return encoder_of(load_any(path), path, seed)


def export(
    path: str | Path,
    out: str | Path,
    to: str = FORMATS[0],
    about: Card | None = None,
    lm: ForeignLM | None = None,
) -> Path:
    """Write a checkpoint of any kind as a folder of ``to``, one of `FORMATS`; returns ``out``.

    The folder appears whole or not at all. An earlier export at ``out`` is replaced, and put back
    if that fails; other folders are left alone.

    hf: for ``transformers.AutoModel``, with a model card that says what ``about`` does, and the
    hours of audio that the log beside ``path`` tells. Post-LN with layer norm in the extractor and
    a stacked positional convolution becomes a Data2VecAudioModel, one weight-normed positional
    convolution a HubertModel, with relative positions a WavLMModel; what `mt4ssl finetune` wrote,
    their ...ForCTC with a Wav2Vec2Processor, or with ``lm`` a Wav2Vec2ProcessorWithLM.
    fairseq: checkpoint.pt as `to_fairseq` says, with heads, teacher and optimiser.
    torchaudio: model.pt, and export.json with the function and arguments that make its model.
    Recognisers become wav2vec_ctc there, and a model with ``aux``.
    compact: for us, log-mel encoders too: the encoder alone in half precision, and a model card.

    Hugging Face's feature extractor adds 1e-7 to a waveform's variance, whatever the model was
    trained with (``encoder.normalize_eps``, 1e-5 by default and in fairseq; config.json says it).
    A model trained with 1e-7 has the same features there and here. For another one, quiet audio
    differs, unless its waveforms are normalised outside, e.g. for 1e-5 by
    ``torch.nn.functional.layer_norm(wave, wave.shape)``. docs/differences.md has the measured ones.

    Raises:
        ValueError: there is no such model there, ``out`` holds something else, or as `load_any`.
        OSError: the folder cannot be written.
    """
    assert to in FORMATS, f"no such format: {to}"
    path = path if python_file.is_named(path) else hub_models.local(path)
    if python_file.is_named(path) or transformers_encoder.is_for(path):
        raise _not_ours(path)
    state, out = load_any(path), Path(out)
    head = _recognisers_head(state, path)
    if lm is not None and (head is None or to != "hf"):
        raise ValueError(
            f"{path}: a language model goes with a recogniser (mt4ssl finetune) and --to hf; leave "
            "--lm out"
        )
    if to == "fairseq":
        return to_fairseq.write(state, out, path, head)
    if to == "compact":
        if head is not None:
            raise ValueError(f"{path}: a recogniser, and compact holds encoders; give --to hf")
        return to_compact.write(state, out, path, about)
    if to == "torchaudio":
        return to_torchaudio.write(encoder_of(state, path), out, path, head)
    return to_hugging_face.write(encoder_of(state, path), out, path, state, about, head, lm)


def _recognisers_head(state: dict[str, Any], path: str | Path) -> Head | None:
    """The head of what `mt4ssl finetune` wrote; None of another checkpoint."""
    if recognisers.CTC not in state["targets"]:
        return None
    return Head(recognisers.head_of(state), recognisers.vocabulary_of(state, Path(path)))


def export_hf(path: str | Path, out: str | Path) -> Path:
    """`export` for transformers."""
    return export(path, out)


def export_encoder(
    encoder: SpeechEncoder, out: str | Path, origin: str | Path, about: Card | None = None
) -> Path:
    """`export` for transformers of an encoder in memory; ``origin`` is what errors name."""
    if not isinstance(encoder, Encoder):
        raise _not_ours(origin)
    return to_hugging_face.write(encoder, Path(out), origin, about=about)


def export_note(folder: Path) -> str | None:
    """What the user of an exported folder has to know of it, if anything."""
    if (folder / RECORD).is_file():
        return checkpoint_files.json_object(folder / RECORD).get(NOTE)
    return to_hugging_face.note(folder)


def _not_ours(origin: str | Path) -> ValueError:
    return ValueError(
        f"{origin}: it is a Hugging Face model already, or a Python file, which none can hold; "
        "export a checkpoint of ours"
    )
