"""One pass over the speech that probes ask for: means of utterances, and all frames of some."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from analysis.labelled_speech import alignments
from analysis.labelled_speech.alignments import PHONES, SILENCE, WORDS, unstressed
from analysis.labelled_speech.speech import LabelledUtterance
from analysis.probes import voice
from analysis.probes.layer_features import LayerFeatures
from analysis.probes.layer_measures import FrameData, segment_means
from mt4ssl_core.data.audio import SAMPLE_RATE, load_wave
from mt4ssl_core.data.audio_bar import AudioBar, ahead
from mt4ssl_core.data.mfcc import log_mel
from mt4ssl_core.settings.frames import num_frames
from mt4ssl_core.threads import cores


@dataclass
class Kept:
    """Features by the id of the utterance."""

    means: dict[str, np.ndarray] = field(default_factory=dict)  # (L, D) float32, over time
    frames: dict[str, np.ndarray] = field(default_factory=dict)  # (L, T, D) float16

    mel: dict[str, np.ndarray] = field(default_factory=dict)  # (T, 80) log energies
    voices: dict[str, dict[str, float]] = field(
        default_factory=dict
    )  # pitch and energy, with means

    def rows(self, utterances: Iterable[LabelledUtterance]) -> np.ndarray:
        """Return the means of utterances, (U, L, D)."""
        return np.stack([self.means[item.id] for item in utterances])

    def all_frames(self, utterances: Iterable[LabelledUtterance]) -> np.ndarray:
        """Return all frames of utterances in order, (N, L, D); the mean where only it is kept."""
        parts = [
            self.frames[item.id] if item.id in self.frames else self.means[item.id][:, None]
            for item in utterances
        ]
        return np.concatenate(parts, axis=1).transpose(1, 0, 2)


def gather(
    features: LayerFeatures,
    means: Iterable[LabelledUtterance],
    frames: Iterable[LabelledUtterance] = (),
    show: bool = True,
    left_out: dict[str, str] | None = None,
) -> Kept:
    """Encode utterances, each once; frames are kept in float16, clipped to its range.

    ``left_out`` gets the id of each file that cannot be read, is shorter than a frame or of another
    length than was told, and why; it is not in what is returned. None: the first one is refused.

    Raises:
        ValueError: as ``left_out`` says.
    """
    kept, whole = Kept(), {item.id for item in frames}
    pooled = {item.id for item in means}
    wanted = {item.id: item for item in [*means, *frames]}
    limit = np.finfo(np.float16).max
    hours = sum(item.samples for item in wanted.values()) / SAMPLE_RATE / 3600
    bar = AudioBar(f"encoding with {features.name}", hours, (), show)
    try:
        for item, future in ahead(
            wanted.values(), lambda item: load_wave(item.path), cores(), False
        ):
            try:
                wave = _checked(item, future.result())
            except ValueError as error:
                if left_out is None:
                    raise
                left_out[item.id] = str(error)
                bar.advance(item.samples / SAMPLE_RATE)
                continue
            layers = features.frames(wave)
            if item.id in pooled:
                kept.means[item.id] = layers.mean(1)
                kept.voices[item.id] = {"pitch": voice.pitch(wave), "energy": voice.energy(wave)}
            if item.id in whole:
                kept.frames[item.id] = layers.clip(-limit, limit).astype(np.float16)
                kept.mel[item.id] = log_mel(torch.from_numpy(wave)).numpy()
            bar.advance(len(wave) / SAMPLE_RATE)
    finally:
        bar.close()
    return kept


def few_frames(items: Iterable[LabelledUtterance], kept: Kept, most: int) -> np.ndarray:
    """All frames of the first of some utterances, (N, L, D): at least ``most`` if there are."""
    once = list({item.id: item for item in items}.values())
    sizes = [kept.frames[i.id].shape[1] if i.id in kept.frames else 1 for i in once]
    return kept.all_frames(once[: int(np.searchsorted(np.cumsum(sizes), most)) + 1])


def _checked(item: LabelledUtterance, wave: np.ndarray) -> np.ndarray:
    """The samples of an utterance, of which there are as many as was told."""
    if not num_frames(len(wave)):
        raise ValueError(f"{item.path}: shorter than a frame of 25 ms; leave it out")
    if item.alignment is not None and num_frames(len(wave)) != num_frames(item.samples):
        raise ValueError(
            f"{item.path}: has {len(wave)} samples at 16 kHz, {item.samples} were told of it; "
            "correct the table, or leave its lengths out"
        )
    return wave


def phone_labels(item: LabelledUtterance) -> np.ndarray:
    """The phone of each frame of an aligned utterance, (T,) of str: no stress, "" in silence.

    Raises:
        ValueError: an alignment of another length than the audio.
    """
    assert item.alignment is not None
    found = alignments.frame_labels(item.alignment, PHONES, item.samples, SILENCE)
    return np.array([unstressed(label) if label else "" for label in found.tolist()])


def frame_data(
    train: Sequence[LabelledUtterance], test: Sequence[LabelledUtterance], kept: Kept
) -> FrameData:
    """All frames of aligned utterances whose frames were kept, with phones, mel and segments."""
    items = [*train, *test]
    sizes = [kept.frames[item.id].shape[1] for item in items]
    tiers = {"phone": PHONES, "word": WORDS}
    there = {
        kind: tier
        for kind, tier in tiers.items()
        if any(item.alignment and tier in item.alignment.tiers for item in items)
    }
    spans = {kind: _spans(items, tier) for kind, tier in there.items()}
    frames = [kept.frames[item.id] for item in items]
    segments = {kind: segment_means(frames, said) for kind, said in spans.items() if any(said)}
    return FrameData(
        features=kept.all_frames(items),
        utterance=np.repeat(np.arange(len(items)), sizes),
        phones=np.concatenate([phone_labels(item) for item in items]),
        mel=np.concatenate([kept.mel[item.id] for item in items]),
        trained=np.arange(len(items)) < len(train),
        segments=segments,
    )


def _spans(items: Sequence[LabelledUtterance], tier: str) -> list[list[tuple[str, int, int]]]:
    """What is said in each utterance, with its frames: (label, first, stop); nothing without it."""
    spans: list[list[tuple[str, int, int]]] = []
    for item in items:
        if item.alignment is None or tier not in item.alignment.tiers:
            spans.append([])
            continue
        found = alignments.segments(item.alignment, tier, item.samples)
        said = [(unstressed(label), a, b) for label, a, b in found if label not in SILENCE]
        spans.append([span for span in said if span[1] < span[2]])
    return spans
