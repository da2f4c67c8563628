"""The frozen upstream, behind a store: what was computed once is read from then on.

s3prl's runner calls the upstream, its featurizer and the task's head at every step. Here the
upstream is replaced by `StoredFeatures`, which gives the featurizer what the upstream would have
given for each utterance **alone**, whatever else is in the batch, from the store where it is there.
The value used is always the one that a later read gives, so that the store decides how long a
training takes and never how it ends.

**Frames** are stored as they are, in the precision asked for.

**Pooled**: in SUPERB's KS, IC, SID and ER the head takes each frame through a linear layer W, b,
then the mean over the T frames, then whatever else. With the featurizer's weights w_l over the
layers' frames h_lt,

    1/T sum_t (W sum_l w_l h_lt + b)  =  W sum_l w_l (1/T sum_t h_lt) + b,

so all that head and featurizer see of an utterance is the mean of each layer over time, and their
gradients depend on nothing else. It is handed to them as an utterance of one frame. Two things
break the equation, and are looked for: a head that is not linear before the mean (`sees_means_only`
tries it out), and ``--upstream_feature_normalize``, whose layer norm of each frame does not commute
with the mean: then the mean of the normalised frames is stored, and the featurizer does not
normalise again.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mt4ssl_core.config import SAMPLE_RATE
from mt4ssl_core.store.store import POOLED, FeatureStore, Space
from upstream.door.expert import UpstreamExpert
from upstream.store.lazy_audio import Utterance

BATCH_SECONDS = 120.0  # of audio, padding included, that a GPU encodes at once
TOLERANCE = 1e-4  # of the largest value, between an utterance's features alone and in a batch

Answer = dict[str, Any]  # of an upstream: hidden_states, last_hidden_state, ...


def selected(answer: Answer, selection: str) -> list[Tensor]:
    """Return the layers (B, T, D) of an upstream's answer, as s3prl's featurizer selects them."""
    chosen = answer[selection]
    if isinstance(chosen, dict):
        chosen = list(chosen.values())
    return list(chosen) if isinstance(chosen, list | tuple) else [chosen]


class StoredFeatures(nn.Module):
    """An upstream that looks an utterance up before it encodes it.

    Args:
        model: the frozen upstream.
        rate: samples per frame.
        store: the store, which also remembers what audio files hold.
        space: where in it the features of this upstream are.
        layers: how many layers the upstream gives, stored or not.
        batch_dependent: whether an utterance's features depend on the rest of its batch.
    """

    def __init__(
        self,
        model: nn.Module,
        rate: int,
        store: FeatureStore,
        space: Space,
        layers: int,
        batch_dependent: bool,
    ) -> None:
        super().__init__()
        self.model, self.rate, self.store, self.space = model, rate, store, space
        self.layers, self.batch_dependent = layers, batch_dependent
        self.asked = 0  # utterances, so far

    def get_downsample_rates(self, key: str) -> int:
        """Samples per frame."""
        return self.rate

    def forward(self, wavs: Sequence[Tensor | Utterance]) -> Answer:
        """Return the selected layers, (B, T, D) each, of utterances each as if it were alone.

        Sets ``frames`` of each to how many of them the head is to see. Waveforms in place of
        utterances go through the upstream as they are.
        """
        utterances = [wav for wav in wavs if isinstance(wav, Utterance)]
        if len(utterances) < len(wavs):
            return self.computed(wavs)
        self.asked += len(utterances)
        found = self.features(utterances)  # B of (L, T, D)
        for utterance, features in zip(utterances, found, strict=True):
            utterance.frames, utterance.rate = features.shape[1], self.rate
        states = padded(found, self.device)
        kind = self.space.kind
        chosen = list(states.unbind(0))  # one stored layer stands in the place of any
        return {kind.selection: chosen if kind.layers is None else chosen * self.layers}

    def computed(self, wavs: Sequence[Any]) -> Answer:
        """Return the upstream's answer, normalised where the featurizer leaves it to the store."""
        answer: Answer = self.model(wavs)
        if not self.space.kind.normalized:
            return answer
        layers = selected(answer, self.space.kind.selection)
        normalized = [F.layer_norm(layer, layer.shape[-1:]) for layer in layers]
        return {**answer, self.space.kind.selection: normalized}

    @property
    def device(self) -> torch.device:
        """Where the upstream is."""
        return next((p.device for p in self.model.parameters()), self._given_device)

    _given_device = torch.device("cpu")

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "StoredFeatures":
        """Remember where the module is moved to: an upstream may have no parameters."""
        self._given_device = fn(torch.empty(0, device=self._given_device)).device
        super()._apply(fn, recurse)
        return self

    def features(self, utterances: Sequence[Utterance]) -> list[Tensor]:
        """Return what is stored, or would be, of each utterance: (L, T, D), float16 or float32."""
        found: list[Tensor | None] = []
        for utterance in utterances:
            read, utterance.read_ahead = utterance.read_ahead, None
            if read is not None:
                found.append(read.result())
            else:
                found.append(None if utterance.key is None else self.space.get(utterance.key))
            self.remember(utterance)
        missing = [i for i, features in enumerate(found) if features is None]
        for place, features in self.encode([utterances[i] for i in missing]):
            i = missing[place]
            found[i] = self.keep(utterances[i], features)
        return [features for features in found if features is not None]

    def keep(self, utterance: Utterance, features: Tensor) -> Tensor:
        """Store the features (L, T, D) of an utterance that is no random crop; return them as read.

        What does not fit is returned as if it did.
        """
        if utterance.key is not None:
            self.space.put(utterance.key, features)
        return self.space.roundtrip(features)

    def remember(self, utterance: Utterance) -> None:
        """Note what a file holds, so that it need not be decoded to be known."""
        if utterance.wave is not None and utterance.identity and utterance.key:
            self.store.audio.add(utterance.identity, utterance.key, utterance.samples)

    def encode(self, utterances: Sequence[Utterance]) -> Iterator[tuple[int, Tensor]]:
        """Yield (place, what is to be stored, (L, T, D) float32) of each utterance, longest first.

        On a CPU each goes through the upstream alone, so that the last digits do not depend on what
        else happens to be missing; crops, which no store has, go together where they are equally
        long. On a GPU, what may be is encoded in batches of similar length.
        """
        for batch in self._batches(utterances):
            waves = [torch.from_numpy(utterances[i].read()) for i in batch]
            with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
                answer = self.model([wave.to(self.device) for wave in waves])
                layers = selected(answer, self.space.kind.selection)
                if self.space.kind.layers is not None:
                    layers = [layers[i] for i in self.space.kind.layers]
                states = torch.stack(layers)  # (L, B, T, D)
                kept = [self._seen(states[:, row], len(wave)) for row, wave in enumerate(waves)]
            yield from zip(batch, kept, strict=True)

    def _batches(self, utterances: Sequence[Utterance]) -> Iterator[list[int]]:
        """Share utterances out into those that go through the upstream together."""
        on_gpu = self.device.type != "cpu"
        any_length = on_gpu and self._frames_of(0) is not None
        batch: list[int] = []

        def order(i: int) -> tuple[bool, int]:
            return utterances[i].key is None, -utterances[i].samples

        for i in sorted(range(len(utterances)), key=order):
            if batch:
                first, this = utterances[batch[0]], utterances[i]
                room = (len(batch) + 1) * first.samples <= BATCH_SECONDS * SAMPLE_RATE
                alike = any_length or first.samples == this.samples
                crops = first.key is None and this.key is None
                if self.batch_dependent or not (room and alike and (on_gpu or crops)):
                    yield batch
                    batch = []
            batch.append(i)
        if batch:
            yield batch

    def _frames_of(self, samples: int) -> int | None:
        """Return how many frames an utterance has alone; None where only encoding tells."""
        return self.model.frames(samples) if isinstance(self.model, UpstreamExpert) else None

    def _seen(self, states: Tensor, samples: int) -> Tensor:
        """Return what is kept of an utterance's answer (L, T, D)."""
        states = states[:, : self._frames_of(samples)]  # perhaps beside a longer one
        if self.space.kind.kind != POOLED:
            return states
        states = states[:, : round(samples / self.rate)].float()  # as s3prl's featurizer cuts it
        if self.space.kind.normalized:
            states = F.layer_norm(states, states.shape[-1:])
        return states.double().mean(1, keepdim=True).float()


def padded(rows: Sequence[Tensor], device: torch.device) -> Tensor:
    """Return features (L, T, D) of each utterance as one float32 tensor (L, B, T, D) on a device.

    They go to a GPU in the precision that they are stored in, and become float32 there.
    """
    layers, _, dim = rows[0].shape
    frames = max(1, *(row.shape[1] for row in rows))
    states = torch.empty(layers, len(rows), frames, dim, device=device)
    for place, row in enumerate(rows):
        length = row.shape[1]
        states[:, place, :length] = row.to(device, non_blocking=True)
        states[:, place, length:] = 0
    return states


def sees_means_only(head: nn.Module, dim: int) -> bool:
    """Try out whether a head's logits are the same for frames (B, T, D) and for their mean alone.

    Heads of another form than s3prl's for utterances (``projector``, then ``model`` of frames and
    lengths) are not tried, and drop-out anywhere counts as a difference.
    """
    projector, model = getattr(head, "projector", None), getattr(head, "model", None)
    if not isinstance(projector, nn.Linear) or not isinstance(model, nn.Module):
        return False
    if any(isinstance(part, nn.Dropout) and part.p > 0 for part in head.modules()):
        return False
    random = torch.Generator().manual_seed(0)
    frames = torch.randn(2, 6, dim, generator=random).to(projector.weight)  # (B, T, D)
    lengths = torch.tensor([6, 4], device=frames.device)
    means = torch.stack([row[:length].mean(0) for row, length in zip(frames, lengths, strict=True)])
    try:
        with torch.no_grad():
            whole, _ = model(projector(frames), lengths)
            pooled, _ = model(projector(means[:, None]), torch.ones_like(lengths))
    except (RuntimeError, ValueError, TypeError):
        return False
    return whole.shape == pooled.shape and bool(torch.allclose(whole, pooled, atol=1e-5, rtol=1e-4))


@torch.no_grad()
def upstream_facts(model: nn.Module, selection: str, device: str | torch.device) -> dict[str, Any]:
    """Return facts about an upstream: its layers, their size, and ``batch_dependent``.

    The last is whether the features of an utterance differ between alone and beside a longer one.
    """
    random = torch.Generator().manual_seed(0)
    waves = [0.1 * torch.randn(size, generator=random).to(device) for size in (24000, 14400)]
    together = selected(model(waves), selection)
    alone = selected(model(waves[1:]), selection)
    difference, largest = 0.0, 1e-20
    for layer, single in zip(together, alone, strict=True):
        frames = min(single.shape[1], layer.shape[1])
        difference = max(difference, float((layer[1, :frames] - single[0, :frames]).abs().max()))
        largest = max(largest, float(single.abs().max()))
    return {
        "layers": len(together),
        "dim": together[0].shape[-1],
        "stacks": len({layer.shape for layer in together}) == 1,
        "batch_dependent": not difference <= TOLERANCE * largest,
    }
