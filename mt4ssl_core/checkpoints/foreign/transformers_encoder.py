"""Encoders of other forms than ours, from Hugging Face folders, computed by transformers' classes.

Nothing but the class that its model_type names is built, and no code out of the folder is run.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mt4ssl_core.checkpoints import checkpoint
from mt4ssl_core.checkpoints.foreign import assembled, checkpoint_files, huggingface
from mt4ssl_core.checkpoints.foreign.foreign_settings import ForeignSettings
from mt4ssl_core.checkpoints.foreign.weight_names import float32
from mt4ssl_core.data import normalization
from mt4ssl_core.model.speech_encoder import SpeechEncoder, joined
from mt4ssl_core.settings.frames import HOP, SAMPLE_RATE, WINDOW

Listen = Callable[[Tensor], Tensor]  # a waveform (N,) as it was recorded -> the model's input
INSTALL = 'install it with pip install "mt4ssl[hf]"'
_MEL = {"feature_extractor_type": "SeamlessM4TFeatureExtractor"}
_PARTS_LEFT_OUT = ("masked_spec_embed", "adapter.", "intermediate_ffn.")


class Form(NamedTuple):
    """transformers' class of a model_type, and what stands before its weights below a head."""

    model: str
    prefix: str
    mel: bool = False  # it hears log-mel bins, not the waveform
    squeezed: bool = False  # its layers run on averages of ``squeeze_factor`` frames


FORMS = {
    "sew": Form("SEWModel", "sew.", squeezed=True),
    "wav2vec2-bert": Form("Wav2Vec2BertModel", "wav2vec2_bert.", mel=True),
    "wav2vec2-conformer": Form("Wav2Vec2ConformerModel", "wav2vec2_conformer."),
}


class TransformersEncoder(SpeechEncoder):
    """A model of transformers'. Utterances of equal length are run together, others apart, so that
    there is no padding.

    Its hidden states are the input of the first layer and the output of every layer, the last one
    after the final norm. SEW's are those at half the rate, before it is brought up again.
    """

    def __init__(
        self, model: nn.Module, form: Form, listen: Listen, hop: int, shortest: int, heard: str
    ) -> None:
        """``shortest``: samples up to which waveforms are filled with zeros. ``heard``: what
        ``listen`` does, as text.
        """
        super().__init__()
        self.model, self.form, self.listen = model, form, listen
        self.hop, self.shortest, self.heard = hop, shortest, heard
        cfg: Any = model.config
        self.layers, self.dim = cfg.num_hidden_layers + 1, cfg.hidden_size

    def encode(self, waves: Sequence[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Encode waveforms as they were recorded (see `SpeechEncoder`)."""
        heard = [self._hear(wave) for wave in waves]
        groups: dict[int, list[int]] = {}
        for place, x in enumerate(heard):
            groups.setdefault(len(x), []).append(place)
        rows: list[list[Tensor]] = [[] for _ in waves]
        for places in groups.values():
            states = self._states(torch.stack([heard[place] for place in places]))
            for row, place in enumerate(places):
                rows[place] = [state[row] for state in states]
        lengths = torch.tensor([len(row[0]) for row in rows], device=waves[0].device)
        return joined(rows), lengths

    def _hear(self, wave: Tensor) -> Tensor:
        """The model's input, (N,) or (T, bins)."""
        missing = max(0, self.shortest - len(wave))
        if self.form.mel:
            return self.listen(nn.functional.pad(wave, (0, missing)))
        return nn.functional.pad(self.listen(wave), (0, missing))

    def _states(self, x: Tensor) -> list[Tensor]:
        """Hidden states (B, T, D) of inputs of equal length."""
        out = self.model(x, output_hidden_states=True)
        states = list(out.hidden_states)
        if not self.form.squeezed:
            states[-1] = out.last_hidden_state
        return states

    def identity(self) -> str:
        """The class, its config and how it hears."""
        model: Any = self.model
        settings = {**model.config.to_dict(), "transformers_version": None}  # of any version
        return f"{self.form.model} {self.heard} {json.dumps(settings, sort_keys=True)}"


def is_for(path: str | Path) -> bool:
    """Whether ``path`` is a folder (or file) of Hugging Face's of a model_type in `FORMS`."""
    path = Path(path)
    config = (path if path.is_dir() else path.parent) / checkpoint_files.CONFIG
    if not checkpoint_files.is_hugging_face(path) or not config.is_file():
        return False
    return checkpoint_files.json_object(config).get("model_type") in FORMS


def load(path: str | Path, seed: int | None = None) -> TransformersEncoder:
    """The encoder in a folder for which `is_for` holds, in eval mode.

    With ``seed`` its weights are drawn anew.

    Raises:
        ValueError: transformers is not installed, a setting it cannot follow, or weights that are
            missing, left over, of other shapes or not finite.
    """
    path = Path(path)
    folder = path if path.is_dir() else path.parent
    settings = ForeignSettings(
        checkpoint_files.json_object(folder / checkpoint_files.CONFIG),
        folder / checkpoint_files.CONFIG,
    )
    huggingface.check_no_code(settings)
    form = FORMS[settings.values["model_type"]]
    weights = _weights(path, form)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed or 0)
        model = _model(settings, form)
    if seed is None:
        checkpoint.load_into(model, weights, path)
        assembled.check_finite(model, path)
    squeeze = model.config.squeeze_factor if form.squeezed else 1
    if form.mel:
        extractor = _mel_extractor(folder, model.config.feature_projection_input_dim)
        hop = 160 * extractor.stride
        shortest = WINDOW + 160 * max(1, extractor.stride - 1)  # a variance needs two
        heard = json.dumps(extractor.to_dict(), sort_keys=True, default=str)
        return TransformersEncoder(model, form, _mel(extractor), hop, shortest, heard).eval()
    normalize = huggingface.normalizes(folder)
    shortest, heard = WINDOW + HOP * (squeeze - 1), f"normalize={normalize}"
    listen = _normalized if normalize else _as_recorded
    return TransformersEncoder(model, form, listen, HOP * squeeze, shortest, heard).eval()


def _transformers() -> Any:
    try:
        import transformers
    except ImportError as error:
        raise ValueError(f"this model needs transformers ({error}); {INSTALL}") from None
    return transformers


def _model(settings: ForeignSettings, form: Form) -> Any:
    """The class with its settings, weights drawn anew, and only dropout random in training."""
    library = _transformers()
    model = getattr(library, form.model)
    settings.check_rate("sampling_rate")
    plain = {"add_adapter": False, "apply_spec_augment": False, "layerdrop": 0.0}
    plain |= {"mask_time_prob": 0.0, "mask_feature_prob": 0.0}
    try:
        return model(model.config_class.from_dict(dict(settings.values) | plain)).float()
    except Exception as error:  # whatever its checks of a config raise
        reason = " ".join(str(error).split())[:300]
        raise ValueError(
            f"{settings.path}: {form.model} of transformers refuses it ({reason}); download the "
            "model again"
        ) from None


def _weights(path: Path, form: Form) -> dict[str, Tensor]:
    """The weights under the names of the class; those of a head around it are left out."""
    found, _ = checkpoint_files.read_weights(checkpoint_files.weight_files(path))
    below = any(key.startswith(form.prefix) for key in found)
    if below:
        left = (key for key in found if not key.startswith(form.prefix))
        assembled.say_left_out(path, f"model around a {form.model}", left)
    weights = {
        key.removeprefix(form.prefix): float32(value)
        for key, value in found.items()
        if key.startswith(form.prefix) or not below
    }
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
        place = "encoder.pos_conv_embed.conv."
        if f"{place}{old}" in weights:
            weights[f"{place}parametrizations.weight.{new}"] = weights.pop(f"{place}{old}")
    return {key: value for key, value in weights.items() if not key.startswith(_PARTS_LEFT_OUT)}


def _mel_extractor(folder: Path, bins: int) -> Any:
    """transformers' log-mel extractor with the folder's settings, checked against the model."""
    settings = huggingface.hearing(folder) or ForeignSettings({}, folder)
    settings.check_fixed(_MEL)
    settings.check_rate("sampling_rate")
    kind = _transformers().SeamlessM4TFeatureExtractor
    extractor = kind.from_dict(dict(settings.values))
    if extractor.num_mel_bins * extractor.stride != bins:
        raise ValueError(
            f"{settings.path}: {extractor.num_mel_bins} bins of {extractor.stride} frames, but the "
            f"model hears {bins} numbers; copy the file of this model"
        )
    return extractor


def _mel(extractor: Any) -> Listen:
    def listen(wave: Tensor) -> Tensor:
        found = extractor(
            wave.detach().cpu().numpy(),
            sampling_rate=SAMPLE_RATE,
            pad_to_multiple_of=None,
            return_tensors="pt",
        )
        return found["input_features"][0].to(wave.device, torch.float32)

    return listen


def _normalized(wave: Tensor) -> Tensor:
    return normalization.normalize(wave, huggingface.EPS)


def _as_recorded(wave: Tensor) -> Tensor:
    return wave
