"""Typed configuration: every knob, its default (the paper's BASE model) and its meaning.

The dataclasses below are the schema. A YAML file holds differences to it, may name another file
under ``extends``, and any value can be overridden with a dotted name (``optim.lr=1e-3``). Unknown
keys, wrong types, missing values and impossible combinations are reported together, in one
``ValueError``.
"""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import MISSING, OmegaConf
from omegaconf.errors import OmegaConfBaseException

SAMPLE_RATE = 16_000  # Hz, of all audio once it is read
HOP, WINDOW = 320, 400  # samples between two frames, and under one: 20 and 25 ms at 16 kHz


@dataclass
class RunConfig:
    """Where a run lives and how it executes.

    out: folder for checkpoints, logs and the resolved config.
    seed: of initialisation, masks, crops, data order and dropout.
    precision: fp32, or bf16 / fp16 autocast (weights, optimiser and teacher stay fp32).
    device: auto (CUDA where there is one), cpu, cuda, cuda:1, ...
    log_every, validate_every, save_every: in updates; 0 switches validation off.
    keep_every: checkpoints kept for good at multiples of this many updates (0: only last and best).
    init_from: a checkpoint (ours, fairseq's, Hugging Face's) whose weights, and nothing else, start
        this run.
    continue_from: a checkpoint (ours or fairseq's) that this run goes on with: weights, state of
        the optimiser and counters. Both are looked at only while `out` holds no last.pt.
    """

    out: str = "runs/pretrain"
    seed: int = 1
    precision: str = "fp32"
    device: str = "auto"
    log_every: int = 50
    validate_every: int = 5000
    save_every: int = 5000
    keep_every: int = 0
    init_from: str | None = None
    continue_from: str | None = None


@dataclass
class DataConfig:
    """What is read and how it is batched.

    train, valid: a folder of audio, a fairseq .tsv, a lhotse CutSet (.jsonl, .jsonl.gz) or a Shar
        folder.
    labels, valid_labels: the .km file with one line of cluster ids per utterance; its .tsv lies
        beside it, or is `train` (`valid`) itself.
    label_rate: labels per second. Of other rates than 50 frame t gets label floor(t * rate / 50),
        as in fairseq: 100 (HuBERT's MFCC recipe) takes every second one.
    valid_share: share of the utterances of `train` held out for validation when `valid` is null.
    min_seconds: shorter utterances are left out. max_seconds: longer ones are cropped, at random,
        per epoch.
    batch_seconds: audio per batch and process, padding included.
    buckets: number of length buckets (0: chosen so that padding stays below 5 %).
    workers: loader processes. strict: stop at the first bad file instead of naming and skipping it.
    max_skipped: share of an epoch's audio that may be unusable before the run stops; a single file
        never stops it, unless this is 0.
    """

    train: str = MISSING
    valid: str | None = None
    labels: str | None = None
    valid_labels: str | None = None
    label_rate: float = 50.0
    valid_share: float = 0.01
    min_seconds: float = 2.0
    max_seconds: float = 20.0
    batch_seconds: float = 237.5
    buckets: int = 0
    workers: int = 2
    strict: bool = False
    max_skipped: float = 0.05


@dataclass
class EncoderConfig:
    """The wav2vec 2.0 family of encoders; defaults are MT4SSL BASE (paper section 3.1).

    normalize: waveforms are brought to zero mean and unit variance before the encoder.
    normalize_eps: added to the variance for that; 1e-5 as fairseq does, or 1e-7 as Hugging Face's
        feature extractor does: then an exported model has the same features there.
    conv_layers: [channels, kernel, stride] per block of the waveform extractor.
    extractor_norm: layer_norm (in every block) or group_norm (in the first block only).
    pre_norm: layer norm before attention and feed-forward (LARGE) instead of after (BASE).
    pos_conv_depth: 5 stacked plain convolutions, or 1 weight-normed (with pos_conv_kernel 128).
    layerdrop: probability of skipping a transformer layer in training.
    feature_grad_scale: gradients into the waveform extractor are multiplied by this.
    isolate_padding: padding never reaches real frames, so an utterance has the same features alone
        and in any batch; false is the official behaviour.
    """

    normalize: bool = True
    conv_layers: list[list[int]] = field(
        default_factory=lambda: [[512, 10, 5]] + [[512, 3, 2]] * 4 + [[512, 2, 2]] * 2
    )
    conv_bias: bool = False
    extractor_norm: str = "layer_norm"
    dim: int = 768
    layers: int = 12
    heads: int = 12
    ffn_dim: int = 3072
    pre_norm: bool = False
    pos_conv_depth: int = 5
    pos_conv_kernel: int = 19
    pos_conv_groups: int = 16
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation_dropout: float = 0.0
    input_dropout: float = 0.0
    layerdrop: float = 0.05
    feature_grad_scale: float = 1.0
    isolate_padding: bool = True
    normalize_eps: float = 1e-5


# encoder settings that two runs of one architecture may differ in
TRAINING_ONLY = {
    "dropout", "attention_dropout", "activation_dropout", "input_dropout", "layerdrop",
    "feature_grad_scale", "isolate_padding",
}  # fmt: skip


@dataclass
class MaskingConfig:
    """Span masks over frames (wav2vec 2.0, section 3.1).

    prob: expected share of frames covered, were spans not to overlap. length: frames per span.
    same_count: trim every row of a batch to the smallest masked count (official behaviour).
    """

    prob: float = 0.65
    length: int = 10
    same_count: bool = False


@dataclass
class OfflineConfig:
    """Classify labels that were made before training (paper: Off-TE).

    num_classes: outputs of the head. label_offset: added to every label
    (4 with num_classes K + 4 reproduces fairseq's dictionary). weight: of this loss in the sum.
    visible_weight: weight of the same loss at frames that are not hidden (HuBERT section II-B;
        the paper has 0). Small encoders learn much sooner with it.
    """

    num_classes: int = 500
    label_offset: int = 0
    visible_weight: float = 0.0
    weight: float = 1.0


@dataclass
class OnlineConfig:
    """Regress the features of an EMA teacher (paper: On-TE; data2vec).

    top_k: teacher layers averaged. ema_start, ema_end, ema_anneal_updates: linear ramp of the
        decay.
    norm_over_padding: padding counts in the targets' instance-norm statistics (official behaviour).
    step_per_micro_batch: one EMA step per micro-batch instead of per update (official behaviour).
    min_target_var, min_pred_var: training stops below these standard deviations after
    `collapse_after` updates: the representation has collapsed. weight: of this loss in the sum.
    """

    top_k: int = 8
    ema_start: float = 0.999
    ema_end: float = 0.9999
    ema_anneal_updates: int = 30_000
    norm_over_padding: bool = False
    step_per_micro_batch: bool = False
    min_target_var: float = 0.1
    min_pred_var: float = 0.01
    collapse_after: int = 5_000
    weight: float = 1.0


@dataclass
class RandomProjectionConfig:
    """Classify log-mel frames quantised by a fixed random projection and codebook (BEST-RQ).

    num_classes: codebook entries. codebook_dim: size of each. num_mels: input features per frame.
    weight: of this loss in the sum.
    """

    num_classes: int = 1024
    codebook_dim: int = 16
    num_mels: int = 80
    weight: float = 1.0


@dataclass
class OptimConfig:
    """AdamW with a tri-stage schedule.

    lr: the highest rate. max_updates: length of training. accumulate: micro-batches per update.
    warmup, hold, decay: shares of max_updates; they sum to 1.
    init_scale, final_scale: learning rate at the start and at the end, relative to lr.
    betas, eps, weight_decay: of Adam; the decay is decoupled and acts on every parameter.
    clip_norm: gradient norm is clipped to this (0: never).
    fairseq_eps: epsilon is added before bias correction, as fairseq's Adam does.
    """

    lr: float = 5e-4
    betas: list[float] = field(default_factory=lambda: [0.9, 0.98])
    eps: float = 1e-6
    fairseq_eps: bool = False
    weight_decay: float = 0.01
    clip_norm: float = 0.0
    max_updates: int = 400_000
    accumulate: int = 1
    warmup: float = 0.03
    hold: float = 0.90
    decay: float = 0.07
    init_scale: float = 0.01
    final_scale: float = 0.01


@dataclass
class Config:
    """One pre-training run. `offline`, `online` and `random_projection` are off when null."""

    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    offline: OfflineConfig | None = field(default_factory=OfflineConfig)
    online: OnlineConfig | None = field(default_factory=OnlineConfig)
    random_projection: RandomProjectionConfig | None = None
    optim: OptimConfig = field(default_factory=OptimConfig)


# the sections that may be null
TARGETS = tuple(f.name for f in dataclasses.fields(Config) if "None" in str(f.type))


def load(path: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML file (and what it extends), apply dotted ``key=value`` overrides, check
    everything.

    Raises:
        ValueError: listing every unknown key, wrong type, missing value and impossible combination.
    """
    problems: list[str] = []
    cfg = OmegaConf.structured(Config)
    for file, layer in _layers(Path(path)):
        _apply(cfg, layer, f"{file}: ", problems, creates_sections=True)
    for override in overrides:
        if "=" not in override:
            problems.append(f"{override!r}: expected key=value, e.g. optim.lr=1e-3")
            continue
        try:
            values = OmegaConf.to_container(OmegaConf.from_dotlist([override]))
        except Exception as error:  # omegaconf lets YAML's own errors through
            problems.append(f"{override!r}: not a value: {error}")
            continue
        layer = typing.cast(dict[str, Any], values)
        _apply(cfg, layer, "", problems, creates_sections=override.rstrip().endswith("{}"))
    return _finish(cfg, problems, str(path))


def from_dict(values: dict[str, Any], where: str = "config") -> Config:
    """Build a checked `Config` from nested plain values, e.g. those of a checkpoint."""
    problems: list[str] = []
    cfg = OmegaConf.structured(Config)
    _apply(cfg, values, "", problems, creates_sections=True)
    return _finish(cfg, problems, where)


def encoder_from_dict(values: dict[str, Any], where: str = "encoder") -> EncoderConfig:
    """Build a checked `EncoderConfig` from plain values."""
    problems: list[str] = []
    cfg = OmegaConf.structured(Config)
    _apply(
        cfg,
        {"encoder": values, "data": {"train": ""}},
        "",
        problems,
        creates_sections=True,
    )
    return _finish(cfg, problems, where, only_encoder=True).encoder


def completed(values: dict[str, Any]) -> dict[str, Any]:
    """``values`` of a checkpoint with the defaults of keys that its sections lack.

    Sections that are off, or that it has not at all, stay as they are.
    """
    sections = _section_types(Config)
    return {
        name: {**to_dict(schema()), **part}
        if isinstance(part, dict) and (schema := _dataclass_of(sections.get(name)))
        else part
        for name, part in values.items()
    }


def to_dict(cfg: Any) -> dict[str, Any]:
    """The plain nested values of a config dataclass."""
    return dataclasses.asdict(cfg)


def to_yaml(cfg: Config) -> str:
    """The resolved config as YAML."""
    return OmegaConf.to_yaml(OmegaConf.create(to_dict(cfg)))


def _layers(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """[(file, values), ...] from the outermost ``extends`` to ``path`` itself."""
    chain: list[tuple[str, dict[str, Any]]] = []
    seen: set[Path] = set()
    current: Path | None = path
    while current is not None:
        if not current.is_file():
            raise ValueError(
                f"{current}: no such config; give the path of a YAML file, e.g. "
                "mt4ssl_core/configs/base.yaml"
            )
        if current.resolve() in seen:
            raise ValueError(f"{current}: extends itself; remove one of the `extends` lines")
        seen.add(current.resolve())
        try:
            values = OmegaConf.to_container(OmegaConf.load(current))
        except Exception as error:  # YAML syntax: the parser names line and column
            raise ValueError(f"{current}: not valid YAML: {error}; mend that line") from None
        if not isinstance(values, dict):
            raise ValueError(
                f"{current}: expected a mapping of sections, e.g. `optim: {{lr: 5e-4}}`"
            )
        parent = values.pop("extends", None)
        chain.insert(0, (current.name, typing.cast(dict[str, Any], values)))
        current = current.parent / parent if parent else None
    return chain


def _section_types(schema: type) -> dict[str, Any]:
    hints = typing.get_type_hints(schema)
    return {f.name: hints[f.name] for f in dataclasses.fields(schema)}


def _dataclass_of(hint: Any) -> type | None:
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return next((o for o in options if isinstance(o, type) and dataclasses.is_dataclass(o)), None)


def known_keys(schema: type = Config, prefix: str = "") -> Iterator[str]:
    """Every dotted key of the schema, sections included."""
    for name, hint in _section_types(schema).items():
        yield prefix + name
        section = _dataclass_of(hint)
        if section is not None:
            yield from known_keys(section, f"{prefix}{name}.")


def _apply(
    cfg: Any,
    layer: dict[str, Any],
    where: str,
    problems: list[str],
    creates_sections: bool,
) -> None:
    """Put the values of one layer into ``cfg``, collecting what does not fit."""
    keys = set(known_keys())
    for section, values in layer.items():
        hint = _section_types(Config).get(section)
        schema = _dataclass_of(hint) if hint is not None else None
        if schema is None:
            problems.append(where + _unknown(section, keys))
        elif values is None:
            if section in TARGETS:
                cfg[section] = None
            else:
                problems.append(f"{where}{section}: cannot be null; remove the line")
        elif not isinstance(values, dict):
            problems.append(f"{where}{section}: expected a mapping of keys, got {values!r}")
        elif cfg[section] is None and not creates_sections:
            name = next(iter(values))
            problems.append(
                f"{where}{section}.{name}: {section} is null (off); add {section}={{}} before it"
            )
        else:
            if cfg[section] is None:
                cfg[section] = OmegaConf.structured(schema)
            for name, value in values.items():
                if f"{section}.{name}" not in keys:
                    problems.append(where + _unknown(f"{section}.{name}", keys))
                    continue
                try:
                    OmegaConf.update(cfg, f"{section}.{name}", value, merge=False)
                except (OmegaConfBaseException, ValueError) as error:
                    text = str(error).splitlines()[0]
                    problems.append(f"{where}{section}.{name}: {text}")


def _unknown(key: str, keys: set[str]) -> str:
    leaf = {k.rsplit(".", 1)[-1]: k for k in keys}
    near = difflib.get_close_matches(key, sorted(keys), 1, 0.6)
    near = near or [
        leaf[m] for m in difflib.get_close_matches(key.rsplit(".", 1)[-1], leaf, 1, 0.7)
    ]
    return f"{key}: unknown key." + (f" Did you mean {near[0]}?" if near else "")


def _finish(cfg: Any, problems: list[str], where: str, only_encoder: bool = False) -> Config:
    missing = sorted(str(key) for key in OmegaConf.missing_keys(cfg))
    for key in missing:
        problems.append(f"{key}: missing value; give {key}=... on the command line or in the YAML")
        OmegaConf.update(cfg, key, "")
    config = typing.cast(Config, OmegaConf.to_object(cfg))
    problems += _encoder_problems(config.encoder)
    if not only_encoder:
        problems += _problems(config)
    if problems:
        listing = "\n  ".join(problems)
        raise ValueError(f"{where}: {len(problems)} problem(s), nothing was started:\n  {listing}")
    return config


def _first_frame(e: EncoderConfig) -> int:
    """Samples that the first frame covers."""
    size, rate = 1, 1
    for _, kernel, stride in e.conv_layers:
        size += (kernel - 1) * rate
        rate *= stride
    return size


LARGEST = 1 << 16  # channels, samples or dimensions of anything in an encoder
_LARGEST = {
    "dim": LARGEST, "layers": 512, "heads": LARGEST, "ffn_dim": 4 * LARGEST, "pos_conv_depth": 64,
    "pos_conv_kernel": LARGEST,
}  # fmt: skip


def _encoder_problems(e: EncoderConfig) -> list[str]:
    out = []
    if e.extractor_norm not in ("layer_norm", "group_norm"):
        out.append(f"encoder.extractor_norm: {e.extractor_norm!r}; use layer_norm or group_norm")
    if not 0 < len(e.conv_layers) <= 64:
        out.append(f"encoder.conv_layers: {len(e.conv_layers)} blocks; expected 1 to 64")
    elif any(len(block) != 3 or min(block) < 1 or max(block) > LARGEST for block in e.conv_layers):
        out.append("encoder.conv_layers: expected [channels, kernel, stride] per block, all >= 1")
    elif any(not s <= k <= 2 * s for _, k, s in e.conv_layers):
        out.append("encoder.conv_layers: each kernel must be between its stride and twice that")
    elif math.prod(s for _, _, s in e.conv_layers) != HOP or _first_frame(e) != WINDOW:
        out.append(
            f"encoder.conv_layers: a frame must cover {WINDOW} samples and come every {HOP}, as "
            "with kernels 10 3 3 3 3 2 2 and strides 5 2 2 2 2 2 2; labels are made for these"
        )
    for name, most in _LARGEST.items():
        if not 1 <= getattr(e, name) <= most:
            out.append(f"encoder.{name}: {getattr(e, name)}; must be from 1 to {most:,}")
    if not 0 < e.normalize_eps <= 1e-2:
        out.append(f"encoder.normalize_eps: {e.normalize_eps}; must be above 0, at most 0.01")
    for name, divisor in (("heads", e.heads), ("pos_conv_groups", e.pos_conv_groups)):
        if divisor < 1 or e.dim % divisor:
            out.append(f"encoder.{name}: {divisor} does not divide encoder.dim = {e.dim}")
    if e.pos_conv_depth > 1 and e.pos_conv_kernel % 2 == 0:
        out.append("encoder.pos_conv_kernel: must be odd when pos_conv_depth > 1")
    for name in (
        "dropout",
        "attention_dropout",
        "activation_dropout",
        "input_dropout",
        "layerdrop",
    ):
        if not 0 <= getattr(e, name) < 1:
            out.append(f"encoder.{name}: {getattr(e, name)}; must be in [0, 1)")
    return out


_LOWER_BOUNDS: dict[tuple[str, str], tuple[float, bool]] = {  # (bound, itself allowed)
    **{("optim", name): (0, False) for name in ("lr", "eps", "max_updates", "accumulate")},
    **{("optim", name): (0, True) for name in ("warmup", "hold", "decay", "clip_norm")},
    **{("optim", name): (0, True) for name in ("weight_decay", "init_scale")},
    ("optim", "final_scale"): (0, False),
    **{("masking", name): (0, False) for name in ("prob", "length")},
    **{("run", name): (0, False) for name in ("log_every", "save_every")},
    **{("run", name): (0, True) for name in ("validate_every", "keep_every")},
    **{("data", name): (0, True) for name in ("workers", "buckets")},
    ("offline", "num_classes"): (1, True),
    ("offline", "label_offset"): (0, True),
    ("offline", "visible_weight"): (0, True),
    ("online", "top_k"): (1, True),
    ("random_projection", "num_classes"): (2, True),
    **{("random_projection", name): (1, True) for name in ("codebook_dim", "num_mels")},
    **{(name, "weight"): (0, True) for name in ("offline", "online", "random_projection")},
}


def _problems(cfg: Config) -> list[str]:
    out = []
    run, data, optim, masking = cfg.run, cfg.data, cfg.optim, cfg.masking
    if run.precision not in ("fp32", "bf16", "fp16"):
        out.append(f"run.precision: {run.precision!r}; use fp32, bf16 or fp16")
    if not any(getattr(cfg, name) for name in TARGETS):
        out.append(f"{', '.join(TARGETS)}: all null, nothing to learn; set one to {{}}")
    if cfg.online and cfg.online.top_k > cfg.encoder.layers:
        out.append(
            f"online.top_k: {cfg.online.top_k} is more than encoder.layers = {cfg.encoder.layers}"
        )
    if cfg.offline and data.train and data.labels is None:
        out.append(
            "data.labels: the offline target needs labels; make them with `mt4ssl kmeans`, or set "
            "offline=null (with random_projection={} no labels are needed)"
        )
    if cfg.offline and data.valid is not None and data.valid_labels is None:
        out.append("data.valid_labels: the offline target needs labels for data.valid too")
    if data.min_seconds * 16_000 < 400 or data.min_seconds > data.max_seconds:
        out.append("data.min_seconds: must be at least 0.025 and at most data.max_seconds")
    if data.batch_seconds < data.max_seconds:
        out.append(
            f"data.batch_seconds: {data.batch_seconds} must be at least "
            f"data.max_seconds = {data.max_seconds}, or one utterance does not fit"
        )
    if not 0 <= data.valid_share < 1:
        out.append(f"data.valid_share: {data.valid_share}; must be in [0, 1)")
    if not 5 <= data.label_rate <= 1000:
        out.append(f"data.label_rate: {data.label_rate}; must be in [5, 1000], labels per second")
    if not 0 <= data.max_skipped <= 1:
        out.append(f"data.max_skipped: {data.max_skipped}; must be in [0, 1]")
    if run.init_from is not None and run.continue_from is not None:
        out.append(
            "run.init_from, run.continue_from: give one: init_from for the weights alone, "
            "continue_from for optimiser and counters too"
        )
    for (section, name), (low, inclusive) in _LOWER_BOUNDS.items():
        part = getattr(cfg, section)
        value = None if part is None else getattr(part, name)
        if value is None or value > low or (inclusive and value == low):
            continue
        out.append(
            f"{section}.{name}: {value}; must be {'at least' if inclusive else 'above'} {low}"
        )
    if cfg.offline and cfg.offline.label_offset >= cfg.offline.num_classes:
        out.append("offline.label_offset: must be below offline.num_classes")
    if masking.prob >= 1:
        out.append(f"masking.prob: {masking.prob}; must be below 1")
    if abs(optim.warmup + optim.hold + optim.decay - 1) > 1e-6:
        out.append("optim.warmup + optim.hold + optim.decay: must sum to 1")
    if len(optim.betas) != 2 or not all(0 <= b < 1 for b in optim.betas):
        out.append(f"optim.betas: {optim.betas}; expected two numbers in [0, 1)")
    return out
