"""Settings of `mt4ssl finetune`; the defaults are fairseq's recipe for 100 hours of LibriSpeech."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mt4ssl_core.config import MOST, MaskingConfig, OptimConfig, RunBasics
from mt4ssl_core.settings import bounds, checks
from mt4ssl_core.settings.bounds import MISSING, choice, number, path
from mt4ssl_core.settings.config_files import chain, find_config
from mt4ssl_core.settings.frames import SAMPLE_RATE, WINDOW
from mt4ssl_core.settings.merging import Layers, refuse

LETTERS, TOKENS = "letters", "tokens"  # of text.units
PARTS = ("10min", "1h", "10h")  # of Libri-light's folder
MARK = "text"  # the section that no other kind of configuration has


@dataclass
class FinetuneRun(RunBasics):
    """Where a run lives and how it executes.

    validate_every: in updates, 0 never; best.pt is the one of the lowest word error rate, of equal
        ones the lowest character error rate.
    """

    out: str = path("runs/finetune")
    log_every: int = number(50, at_least=1, at_most=MOST)
    validate_every: int = number(1000, at_least=0, at_most=MOST)
    save_every: int = number(1000, at_least=1, at_most=MOST)


@dataclass
class SpeechConfig:
    """Transcribed speech, and how it is batched.

    train: a folder with LibriSpeech's .trans.txt files (or a .txt beside each audio file), a
        fairseq .tsv with a .ltr or .wrd beside it, a lhotse CutSet with supervisions, or a CSV with
        the columns path and text.
    valid: held-out speech, given like `train`; null: `valid_share` of `train`.
    transcripts, valid_transcripts: the text file of a .tsv, a line for each row, where it does not
        lie beside it.
    part: of Libri-light's folder librispeech_finetuning, given as `train`: 10min, 1h or 10h.
    valid_share: share of the utterances of `train` held out for validation when `valid` is null.
    min_seconds: shorter utterances are left out, and named. max_seconds: longer ones are, too.
    batch_seconds: audio per batch and process, padding included.
    buckets: number of length buckets (0: chosen so that padding stays below 5 %).
    workers: loader processes. strict: stop at the first bad file instead of naming and skipping it.
    max_skipped: share of the utterances, or of an epoch's audio, that may be unusable before the
        run stops; a single one never stops it, unless this is 0.
    """

    train: str = path(MISSING, exists=True)
    valid: str | None = path(None, exists=True)
    transcripts: str | None = path(None, exists=True)
    valid_transcripts: str | None = path(None, exists=True)
    part: str | None = choice(None, *PARTS)
    valid_share: float = number(0.05, at_least=0, below=1)
    min_seconds: float = number(0.1, at_least=WINDOW / SAMPLE_RATE, at_most=1e5)
    max_seconds: float = number(40.0, at_least=WINDOW / SAMPLE_RATE, at_most=1e5)
    batch_seconds: float = number(200.0, above=0, at_most=1e6)
    buckets: int = number(0, at_least=0, at_most=10_000)
    workers: int = number(2, at_least=0, at_most=1024)
    strict: bool = False
    max_skipped: float = number(0.05, at_least=0, at_most=1)


@dataclass
class TextConfig:
    """What is recognised, and how transcripts are read. Nothing in them is dropped unasked.

    units: letters (with | between words), or tokens: what stands between spaces, such as phones.
    vocabulary: a fairseq dict.ltr.txt or Hugging Face vocab.json; null: what `data.train` holds.
    case: upper, lower or keep; null: upper for letters, keep for tokens.
    keep: characters that are learned beside letters. remove: characters that are taken out. Any
        other that is no letter stops the run, with its count, unless a given vocabulary has it.
    """

    units: str = choice(LETTERS, LETTERS, TOKENS)
    vocabulary: str | None = path(None, exists=True)
    case: str | None = choice(None, "upper", "lower", "keep")
    keep: str = "'"
    remove: str = ""


@dataclass
class StartConfig:
    """The encoder that is fine-tuned, and what is random in it meanwhile.

    init: its checkpoint: ours, fairseq's, a Hugging Face folder or name.
    random: draw its weights anew: the untrained copy that a result is compared with.
    shape: instead of `init`, a configuration of pre-training (a shipped one or a YAML file) whose
        encoder starts untrained.
    freeze_updates: for so many updates only the head learns.
    freeze_extractor: the waveform extractor never learns.
    dropout, attention_dropout, activation_dropout, input_dropout: probabilities of zeroing after
        each block, in attention weights, inside feed-forward blocks, after the waveform extractor.
    final_dropout: before the head. layerdrop: probability of skipping a transformer layer.
    blank_bias: what the new head adds to the score of CTC's blank at the start. Without it any
        token may become the one that fills most frames, and a recogniser whose filler is a letter
        learns late. 0 is fairseq's; a prior in the bias of a rare class is from Lin et al. 2017
        (arXiv 1708.02002, section 4.1).
    """

    init: str | None = path(None, exists=True, hub=True)
    random: bool = False
    shape: str | None = path(None)
    freeze_updates: int = number(0, at_least=0, at_most=MOST)
    freeze_extractor: bool = True
    dropout: float = number(0.0, at_least=0, below=1)
    attention_dropout: float = number(0.0, at_least=0, below=1)
    activation_dropout: float = number(0.1, at_least=0, below=1)
    input_dropout: float = number(0.0, at_least=0, below=1)
    final_dropout: float = number(0.0, at_least=0, below=1)
    layerdrop: float = number(0.1, at_least=0, below=1)
    blank_bias: float = number(0.0, at_least=-100, at_most=100)


@dataclass
class HidingConfig:
    """Spans of frames and of channels that are hidden from the encoder (wav2vec 2.0, appendix B).

    prob: expected share of frames covered, were spans not to overlap; 0 hides none. length: frames
        per span.
    channel_prob, channel_length: the same of channels, which are zero in all frames.
    """

    prob: float = number(0.65, at_least=0, below=1)
    length: int = number(10, at_least=1, at_most=1_000_000)
    channel_prob: float = number(0.5, at_least=0, below=1)
    channel_length: int = number(64, at_least=1, at_most=65_536)

    @property
    def frames(self) -> MaskingConfig | None:
        """The masks over frames; None: there are none."""
        return MaskingConfig(self.prob, self.length) if self.prob else None

    @property
    def channels(self) -> MaskingConfig | None:
        """The masks over channels; None: there are none."""
        return MaskingConfig(self.channel_prob, self.channel_length) if self.channel_prob else None


@dataclass
class FinetuneOptim(OptimConfig):
    """Adam with a tri-stage schedule.

    head_lr: the highest rate of the new output layer, null: lr. A layer that starts at random may
        need a higher one than a pre-trained encoder; SpeechBrain's wav2vec 2.0 recipes tune so,
        with an optimiser for each.
    """

    lr: float = number(3e-5, above=0, at_most=100)
    head_lr: float | None = number(None, above=0, at_most=100)
    eps: float = number(1e-8, above=0, at_most=1)
    weight_decay: float = number(0.0, at_least=0, at_most=1000)
    max_updates: int = number(80_000, at_least=1, at_most=MOST)
    warmup: float = number(0.1, at_least=0, at_most=1)
    hold: float = number(0.4, at_least=0, at_most=1)
    decay: float = number(0.5, at_least=0, at_most=1)
    final_scale: float = number(0.05, above=0, at_most=1)


@dataclass
class FinetuneConfig:
    """One run of `mt4ssl finetune`."""

    run: FinetuneRun = field(default_factory=FinetuneRun)
    data: SpeechConfig = field(default_factory=SpeechConfig)
    text: TextConfig = field(default_factory=TextConfig)
    encoder: StartConfig = field(default_factory=StartConfig)
    masking: HidingConfig = field(default_factory=HidingConfig)
    optim: FinetuneOptim = field(default_factory=FinetuneOptim)


SECTIONS: dict[str, type] = {
    "run": FinetuneRun, "data": SpeechConfig, "text": TextConfig, "encoder": StartConfig,
    "masking": HidingConfig, "optim": FinetuneOptim,
}  # fmt: skip


def load(
    path: str | Path, overrides: Sequence[str] | Mapping[str, Any] = (), files: bool = False
) -> FinetuneConfig:
    """Read a configuration of fine-tuning, as `mt4ssl_core.config.load` does one of pre-training.

    Raises:
        ValueError: listing every unknown key, wrong type, missing value and impossible combination.
    """
    found = Layers(SECTIONS, {}).read(path)
    if "offline" in found.unknown_sections or "online" in found.unknown_sections:
        raise ValueError(
            f"{path}: a configuration of pre-training; give one of fine-tuning, such as ctc_10h "
            "(encoder.shape takes its encoder)"
        )
    found.override_all(overrides)
    out = [*found.problems, *found.missing]
    cfg = FinetuneConfig(**found.build())
    for section in SECTIONS:
        settings = getattr(cfg, section)
        out += bounds.problems(settings, f"{section}.")
        out += bounds.unfound(settings, f"{section}.") if files else []
    refuse([*out, *problems(cfg)], str(path))
    return cfg


def text_from_dict(values: Any, where: str) -> TextConfig:
    """Build a checked `TextConfig` from the plain values of a checkpoint, which is ``where``.

    Raises:
        ValueError: unknown keys, wrong types or impossible values; lists them.
    """
    found = Layers({MARK: TextConfig}, {})
    found.apply({MARK: values})
    text: TextConfig = found.build()[MARK]
    if out := [*found.problems, *bounds.problems(text, f"{MARK}.")]:
        raise ValueError(f"{where}: {'; '.join(out)}; give another checkpoint")
    return text


def known_keys() -> list[str]:
    """Every dotted key of the schema, sections included."""
    return Layers(SECTIONS, {}).keys


def is_one(path: str | Path) -> bool:
    """Whether a file, with what it extends, is a configuration of fine-tuning."""
    layers = [layer for _, layer in chain(find_config(path))]
    return any(isinstance(layer, dict) and MARK in layer for layer in layers)


def problems(cfg: FinetuneConfig) -> list[str]:
    """Return what does not fit together."""
    out, data, start = [], cfg.data, cfg.encoder
    if (start.init is None) == (start.shape is None):
        out.append(
            "encoder.init, encoder.shape: give one: the checkpoint to start from, or a "
            "configuration such as tiny whose encoder starts untrained"
        )
    if start.shape is not None and is_one(start.shape):
        out.append(
            f"encoder.shape: {start.shape} is a configuration of fine-tuning; give one of "
            "pre-training, such as tiny"
        )
    if start.random and start.init is None:
        out.append("encoder.random: encoder.shape is untrained anyway; remove one of them")
    if data.min_seconds > data.max_seconds:
        out.append(f"data.min_seconds: {data.min_seconds}; must be at most data.max_seconds")
    if both := set(cfg.text.keep) & set(cfg.text.remove):
        out.append(f"text.keep, text.remove: both have {min(both)!r}; take it out of one")
    if "|" in cfg.text.keep:
        out.append("text.keep: has '|', the token between words; take it out")
    return [*out, *checks.stage_problems(cfg.optim)]
