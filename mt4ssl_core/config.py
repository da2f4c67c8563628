"""Typed configuration: every knob, its default (the paper's BASE model) and its meaning.

The dataclasses below and those of the targets (in their own files) are the schema, with the bounds
of each number beside it. A YAML file holds
differences to it, may name another file or a shipped configuration under ``extends``, and any value
can be overridden with a dotted name (``optim.lr=1e-3``). The type of the field decides how a text
is read. Unknown keys, wrong types, missing values, numbers out of bounds and impossible
combinations are reported together, in one ``ValueError``.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mt4ssl_core.settings import bounds, checks, registry, selecting
from mt4ssl_core.settings.bounds import (
    MISSING,
    SEEDS,
    choice,
    choices,
    device,
    number,
    numbers,
    path,
    text,
)
from mt4ssl_core.settings.frames import HOP as HOP
from mt4ssl_core.settings.frames import SAMPLE_RATE as SAMPLE_RATE
from mt4ssl_core.settings.frames import WINDOW as WINDOW
from mt4ssl_core.settings.merging import Layers, refuse

MOST = 10**9  # updates


@dataclass
class RunBasics:
    """Where a run lives and how it executes.

    out: folder for checkpoints, logs and the resolved config.
    seed: of initialisation, masks, crops, data order and dropout.
    precision: fp32, or bf16 / fp16 autocast (weights, optimiser and teacher stay fp32).
    device: auto (CUDA where there is one), cpu, cuda, cuda:1, ...
    compile: true, false or auto: torch.compile of the encoder's blocks; auto is on CUDA only.
    activation_checkpointing: keep of each of the encoder's blocks its input alone and compute the
        rest again for its gradient: less memory for more time, the same numbers.
    timeout: minutes that a process waits for the others before it takes them for lost and ends.
    log_every, save_every: in updates. validate_every: in updates; 0 switches validation off.
    keep_every: checkpoints kept for good at multiples of this many updates (0: only last and best).
    save_in_background: write checkpoints from a copy in the CPU's memory while updates go on;
        false: an update waits until the file is there, and no copy is made.
    loggers: what shows the numbers of log.jsonl: tensorboard, wandb, trackio; [] for none.
    """

    out: str = path("runs/pretrain")
    seed: int = number(1, **SEEDS)
    precision: str = choice("fp32", "fp32", "bf16", "fp16")
    device: str = device("auto")
    compile: str = choice("auto", "auto", "true", "false")
    activation_checkpointing: bool = False
    timeout: float = number(30.0, above=0, at_most=100_000)
    log_every: int = number(50, at_least=1, at_most=MOST)
    validate_every: int = number(5000, at_least=0, at_most=MOST)
    save_every: int = number(5000, at_least=1, at_most=MOST)
    keep_every: int = number(0, at_least=0, at_most=MOST)
    save_in_background: bool = True
    loggers: list[str] = choices(["tensorboard"], "tensorboard", "wandb", "trackio")


@dataclass
class RunConfig(RunBasics):
    """Where a run lives and how it executes.

    init_from: a checkpoint (ours, fairseq's, Hugging Face's, or a name on its hub) whose weights,
        and nothing else, start this run.
    continue_from: a checkpoint (ours or fairseq's) that this run goes on with: weights, state of
        the optimiser and counters. Both are looked at only while `out` holds no last.pt.
    probe: a table of labelled utterances (columns path, keyword or label, speaker, gender, split)
        that a linear probe is trained and tested on at every validation; nothing learns from it.
    parallel: how several processes share the work: ddp, each has the whole model, or fsdp, each has
        its part of weights, moments and teacher; for models that fill a GPU.
    """

    init_from: str | None = path(None, exists=True, hub=True)
    continue_from: str | None = path(None, exists=True, hub=True)
    probe: str | None = path(None, exists=True)
    parallel: str = choice("ddp", "ddp", "fsdp")


@dataclass
class DataConfig:
    """What is read and how it is batched.

    train: a folder of audio, a fairseq .tsv, a lhotse CutSet (.jsonl, .jsonl.gz), a Shar folder, or
        shards that `mt4ssl data shard` wrote (with their labels).
    valid: held-out audio, given like `train`; null: `valid_share` of `train`.
    labels, valid_labels: the .km file with one line of cluster ids per utterance; its .tsv lies
        beside it, or is `train` (`valid`) itself. Of shards: null, or the same folder.
    label_rate: labels per second. Of other rates than 50 frame t gets label floor(t * rate / 50),
        as in fairseq: 100 (HuBERT's MFCC recipe) takes every second one.
    valid_share: share of the utterances of `train` held out for validation when `valid` is null.
    select: longest:0.5, shortest:0.5 or random:0.5: the utterances of `train`, without those held
        out, that are learned from: half of the audio; null: all.
    shuffle_hours: of shards, audio per process that is shuffled together; what is in no shards is
        shuffled as a whole.
    min_seconds: shorter utterances are left out. max_seconds: longer ones are cropped, at random,
        per epoch.
    batch_seconds: audio per batch and process, padding included.
    buckets: number of length buckets (0: chosen so that padding stays below 5 %).
    workers: loader processes. strict: stop at the first bad file instead of naming and skipping it.
    max_skipped: share of an epoch's audio that may be unusable before the run stops; a single file
        never stops it, unless this is 0.
    """

    train: str = path(MISSING, exists=True)
    valid: str | None = path(None, exists=True)
    labels: str | None = path(None, exists=True)
    valid_labels: str | None = path(None, exists=True)
    label_rate: float = number(50.0, at_least=5, at_most=1000)
    valid_share: float = number(0.01, at_least=0, below=1)
    select: str | None = text(None, selecting.parse)
    shuffle_hours: float = number(20.0, above=0, at_most=1e6)
    min_seconds: float = number(2.0, at_least=WINDOW / SAMPLE_RATE, at_most=1e5)
    max_seconds: float = number(20.0, at_least=WINDOW / SAMPLE_RATE, at_most=1e5)
    batch_seconds: float = number(237.5, above=0, at_most=1e6)
    buckets: int = number(0, at_least=0, at_most=10_000)
    workers: int = number(2, at_least=0, at_most=1024)
    strict: bool = False
    max_skipped: float = number(0.05, at_least=0, at_most=1)


@dataclass
class EncoderConfig:
    """The wav2vec 2.0 family of encoders; defaults are MT4SSL BASE (paper section 3.1).

    normalize: waveforms are brought to zero mean and unit variance before the encoder.
    normalize_eps: added to the variance for that; 1e-5 as fairseq does, or 1e-7 as Hugging Face's
        feature extractor does: then an exported model has the same features there.
    conv_layers: [channels, kernel, stride] per block of the waveform extractor.
    conv_bias: its convolutions have a bias.
    extractor_norm: layer_norm (in every block) or group_norm (in the first block only).
    dim: width of the transformer. layers: its depth. heads: of attention. ffn_dim: width inside its
        feed-forward blocks.
    pre_norm: layer norm before attention and feed-forward (LARGE) instead of after (BASE).
    pos_conv_depth: 5 stacked plain convolutions, or 1 weight-normed (with pos_conv_kernel 128).
    pos_conv_kernel, pos_conv_groups: of these convolutions.
    dropout, attention_dropout, activation_dropout, input_dropout: probabilities of zeroing after
        each block, in attention weights, inside feed-forward blocks, after the waveform extractor.
    layerdrop: probability of skipping a transformer layer in training.
    feature_grad_scale: gradients into the waveform extractor are multiplied by this.
    isolate_padding: padding never reaches real frames, so an utterance has the same features alone
        and in any batch; false is the official behaviour.
    relative_buckets: above 0, attention has WavLM's gated bias of relative positions beside the
        positional convolution, with so many buckets of distances (WavLM: 320).
    relative_distance: frames from which on all distances share a bucket.
    frontend: conv, the waveform extractor, or mel: 80 log-mel energies every 10 ms, nothing learned
        before the projection; conv_layers, conv_bias, extractor_norm and feature_grad_scale then
        say nothing.
    mel_stack: energies in a frame: 2 makes frames of 20 ms, 4 of 40 ms, of which frame t gets label
        2 t.
    mel_norm: of the energies: fixed (a constant is subtracted and divided by) or utterance (zero
        mean and unit variance per band).
    """

    normalize: bool = True
    conv_layers: list[list[int]] = numbers(
        [[512, 10, 5]] + [[512, 3, 2]] * 4 + [[512, 2, 2]] * 2, at_least=1, at_most=65_536
    )
    conv_bias: bool = False
    extractor_norm: str = choice("layer_norm", "layer_norm", "group_norm")
    dim: int = number(768, at_least=1, at_most=65_536)
    layers: int = number(12, at_least=1, at_most=512)
    heads: int = number(12, at_least=1, at_most=1024)
    ffn_dim: int = number(3072, at_least=1, at_most=262_144)
    pre_norm: bool = False
    pos_conv_depth: int = number(5, at_least=1, at_most=64)
    pos_conv_kernel: int = number(19, at_least=1, at_most=4096)
    pos_conv_groups: int = number(16, at_least=1, at_most=65_536)
    dropout: float = number(0.1, at_least=0, below=1)
    attention_dropout: float = number(0.1, at_least=0, below=1)
    activation_dropout: float = number(0.0, at_least=0, below=1)
    input_dropout: float = number(0.0, at_least=0, below=1)
    layerdrop: float = number(0.05, at_least=0, below=1)
    feature_grad_scale: float = number(1.0, at_least=0, at_most=1000)
    isolate_padding: bool = True
    normalize_eps: float = number(1e-5, above=0, at_most=1e-2)
    relative_buckets: int = number(0, at_least=0, at_most=65_536)
    relative_distance: int = number(800, at_least=1, at_most=1_000_000)
    frontend: str = choice("conv", "conv", "mel")
    mel_stack: int = number(2, at_least=2, at_most=4)
    mel_norm: str = choice("fixed", "fixed", "utterance")


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
    repeats: masks per utterance and update (data2vec 2.0, section 3.3): the front end and the
        teacher run once for all of them, the transformer once for each. Held-out audio has one.
    """

    prob: float = number(0.65, above=0, below=1)
    length: int = number(10, at_least=1, at_most=1_000_000)
    same_count: bool = False
    repeats: int = number(1, at_least=1, at_most=1024)


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

    lr: float = number(5e-4, above=0, at_most=100)
    betas: list[float] = numbers([0.9, 0.98], count=2, at_least=0, below=1)
    eps: float = number(1e-6, above=0, at_most=1)
    fairseq_eps: bool = False
    weight_decay: float = number(0.01, at_least=0, at_most=1000)
    clip_norm: float = number(0.0, at_least=0, at_most=1e9)
    max_updates: int = number(400_000, at_least=1, at_most=MOST)
    accumulate: int = number(1, at_least=1, at_most=1_000_000)
    warmup: float = number(0.03, at_least=0, at_most=1)
    hold: float = number(0.90, at_least=0, at_most=1)
    decay: float = number(0.07, at_least=0, at_most=1)
    init_scale: float = number(0.01, at_least=0, at_most=1)
    final_scale: float = number(0.01, above=0, at_most=1)


@dataclass
class Config:
    """One pre-training run.

    targets: {name: its settings, or None: off} of every target that is known; see
    `mt4ssl_core.settings.registry`. In a file each is a section beside the others.
    """

    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    masking: MaskingConfig = field(default_factory=MaskingConfig)
    targets: dict[str, Any] = field(
        default_factory=lambda: {k.name: k.settings() for k in registry.known().values() if k.on}
    )
    optim: OptimConfig = field(default_factory=OptimConfig)

    def __post_init__(self) -> None:
        everything = dict.fromkeys(registry.known())
        assert self.targets.keys() <= everything.keys(), f"no such target: {self.targets.keys()}"
        self.targets = everything | self.targets

    @property
    def on(self) -> dict[str, Any]:
        """Settings of the targets that are on, by name."""
        return {name: part for name, part in self.targets.items() if part is not None}


def sections() -> dict[str, type]:
    """Return {name: dataclass} of every section of a file, targets too."""
    out: dict[str, type] = {}
    for item in dataclasses.fields(Config):
        if item.name == "targets":
            out |= {name: kind.settings for name, kind in registry.known().items()}
        else:
            assert isinstance(item.type, type)
            out[item.name] = item.type
    return out


def _layers() -> Layers:
    return Layers(sections(), {name: kind.on for name, kind in registry.known().items()})


def load(
    path: str | Path, overrides: Sequence[str] | Mapping[str, Any] = (), files: bool = False
) -> Config:
    """Read a YAML file (and what it extends), apply dotted ``key=value`` overrides, or values of
    Python by their dotted keys, and check everything.

    ``path`` may be the name of a shipped configuration, such as "tiny"; ``~`` in it and in every
    path among the settings is the home folder. With ``files``, what is to be read must be there.

    Raises:
        ValueError: listing every unknown key, wrong type, missing value and impossible combination.
    """
    found = _layers().read(path)
    if "text" in found.unknown_sections:
        raise ValueError(
            f"{path}: a configuration of fine-tuning, for `mt4ssl finetune`; give one of "
            "pre-training, such as base"
        )
    found.override_all(overrides)
    return _finish(found, str(path), files=files)


def values(
    path: str | Path | None = None, schema: Mapping[str, type] | None = None
) -> dict[str, dict[str, Any] | None]:
    """Return {section: {key: value}, or None where it is off} of a file, what is missing as "???";
    the defaults, if no file is given. ``schema``: other sections than those of pre-training.

    Raises:
        ValueError: no such file, unknown keys or wrong types.
    """
    layers = _layers() if schema in (None, sections()) else Layers(schema or {}, {})
    found = layers.read(path) if path else layers
    refuse(found.problems, str(path))
    return found.values


def from_dict(values: Any, where: str = "config") -> Config:
    """Build a checked `Config` from nested plain values, e.g. those of a checkpoint."""
    found = _layers()
    found.apply(values)
    return _finish(found, where)


def encoder_from_dict(values: Any, where: str = "encoder") -> EncoderConfig:
    """Build a checked `EncoderConfig` from plain values."""
    found = Layers({"encoder": EncoderConfig}, {})
    found.apply({"encoder": values})
    encoder = found.build()["encoder"]
    out = [*found.problems, *bounds.problems(encoder, "encoder.")]
    refuse([*out, *checks.encoder_problems(encoder)], where)
    return encoder


def completed(values: dict[str, Any], schema: Mapping[str, type] | None = None) -> dict[str, Any]:
    """``values`` of a checkpoint with the defaults of keys that its sections lack, by the
    dataclasses of its ``schema`` (of pre-training, if none is given).

    Sections that are off, or that it has not at all, stay as they are.
    """
    schema = sections() if schema is None else schema
    return {
        name: {**to_dict(schema[name]()), **part}
        if isinstance(part, dict) and name in schema
        else part
        for name, part in values.items()
    }


def to_dict(cfg: Any) -> dict[str, Any]:
    """The plain nested values of a config dataclass; a target's are a section of their own."""
    values = dataclasses.asdict(cfg)
    if not isinstance(cfg, Config):
        return values
    out: dict[str, Any] = {}
    for name, part in values.items():
        out |= part if name == "targets" else {name: part}
    return out


def to_yaml(cfg: Any) -> str:
    """The resolved config as YAML."""
    return yaml.safe_dump(to_dict(cfg), sort_keys=False, allow_unicode=True, width=2**31)


def known_keys() -> list[str]:
    """Every dotted key of the schema, sections included."""
    return _layers().keys


def _finish(found: Layers, where: str, files: bool = False) -> Config:
    """Check the settings together.

    Raises:
        ValueError: all that is wrong with them.
    """
    out, parts = [*found.problems, *found.missing], found.build()
    for section, settings in parts.items():
        if settings is not None:
            out += bounds.problems(settings, f"{section}.")
            out += bounds.unfound(settings, f"{section}.") if files else []
    targets = {name: parts.pop(name) for name in found.optional}
    config = Config(targets=targets, **parts)
    refuse([*out, *checks.encoder_problems(config.encoder), *checks.problems(config)], where)
    return config
