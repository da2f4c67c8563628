"""A linear CTC probe: what phones are said, read off frozen features without times.

One linear map of `STACK` neighbouring frames (25 Hz: most phones last longer) to phones and blank.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import editdistance
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

STEPS, BATCH = 400, 16
STACK = 2  # frames
RATE = 8.0  # over the number of inputs: a step of Adam changes a logit by up to about that


@dataclass(frozen=True)
class PhoneErrors:
    """Edit errors and reference phones of each utterance, (U,) each; their sums give the PER."""

    errors: np.ndarray
    lengths: np.ndarray


def phone_errors(
    train: Sequence[np.ndarray],
    train_phones: Sequence[Sequence[str]],
    test: Sequence[np.ndarray],
    test_phones: Sequence[Sequence[str]],
    seed: int = 0,
    steps: int = STEPS,
) -> list[PhoneErrors]:
    """Train a probe per layer and decode the test utterances greedily; return errors per layer.

    ``train`` and ``test`` are utterances (L, T, D); their phones stand in order. All L probes see
    the same batches: Adam, rate `RATE` / (D `STACK`) falling to 0, `BATCH` utterances. They begin
    with blanks and phones as likely as they are on average; else most steps would go into learning
    that. Phones that only the test has count as errors.

    Raises:
        ValueError: no training utterance is long enough for its phones.
    """
    names = sorted({phone for phones in train_phones for phone in phones})
    ids = {name: number for number, name in enumerate(names, 1)}  # 0: blank
    targets = [torch.tensor([ids[phone] for phone in phones]) for phones in train_phones]
    mean, scale = _moments(train)

    def seen(utterance: np.ndarray) -> Tensor:
        values = (torch.from_numpy(utterance.astype(np.float32)) - mean) / scale
        return _stacked(values)  # (L, T / STACK, D STACK)

    inputs = [seen(utterance).half() for utterance in train]
    usable = [i for i, x in enumerate(inputs) if _frames_needed(train_phones[i]) <= x.shape[1]]
    if not usable:
        raise ValueError(
            "all training utterances have more phones than frames; correct their phones"
        )
    layers, _, dim = inputs[0].shape
    weight = torch.zeros(layers, dim, len(names) + 1, requires_grad=True)
    bias = torch.zeros(layers, 1, len(names) + 1)
    spoken = min(0.9, sum(map(len, targets)) / sum(x.shape[1] for x in inputs))  # phones per frame
    bias[..., 0] = math.log((1 - spoken) / spoken * len(names))
    bias.requires_grad_()
    optimizer = torch.optim.Adam([weight, bias], lr=RATE / dim)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / steps)
    random, order = torch.Generator().manual_seed(seed), list[int]()
    for _ in range(steps):
        while len(order) < BATCH:
            order += [usable[i] for i in torch.randperm(len(usable), generator=random).tolist()]
        batch, order = order[:BATCH], order[BATCH:]
        loss = _loss([inputs[i] for i in batch], [targets[i] for i in batch], weight, bias)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    errors = np.zeros((layers, len(test)), np.int64)
    with torch.no_grad():
        for column, (utterance, phones) in enumerate(zip(test, test_phones, strict=True)):
            paths = (seen(utterance) @ weight + bias).argmax(-1).numpy()  # (L, T)
            for layer, path in enumerate(paths):
                said = [names[k - 1] for k in _collapsed(path)]
                errors[layer, column] = editdistance.eval(said, list(phones))
    lengths = np.array([len(phones) for phones in test_phones])
    return [PhoneErrors(row, lengths) for row in errors]


def _loss(inputs: list[Tensor], targets: list[Tensor], weight: Tensor, bias: Tensor) -> Tensor:
    """CTC loss per phone, summed over layers, whose probes have nothing in common."""
    layers, _, dim = inputs[0].shape
    frames = torch.tensor([x.shape[1] for x in inputs])
    padded = torch.zeros(layers, len(inputs), int(frames.max()), dim)  # (L, B, T, D)
    for row, x in enumerate(inputs):
        padded[:, row, : x.shape[1]] = x
    logits = torch.einsum("lbtd,ldp->lbtp", padded, weight) + bias[:, None]  # (L, B, T, P + 1)
    sizes = torch.tensor([len(target) for target in targets])
    total = F.ctc_loss(
        logits.log_softmax(-1).flatten(0, 1).transpose(0, 1),  # (T, L B, P + 1)
        torch.cat(targets * layers),
        frames.repeat(layers),
        sizes.repeat(layers),
        reduction="sum",
        zero_infinity=True,
    )
    return total / sizes.sum()


def _moments(utterances: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over all frames, (L, 1, D) each."""
    count = sum(utterance.shape[1] for utterance in utterances)
    mean = sum(u.sum(1, keepdims=True, dtype=np.float64) for u in utterances) / count
    square = sum(((u - mean) ** 2).sum(1, keepdims=True) for u in utterances) / count
    scale = np.sqrt(square).clip(min=1e-6)
    return torch.from_numpy(mean.astype(np.float32)), torch.from_numpy(scale.astype(np.float32))


def _stacked(frames: Tensor) -> Tensor:
    """(L, T, D) -> (L, ceil(T / STACK), D STACK): neighbours side by side, zeros at the end."""
    layers, count, dim = frames.shape
    padded = F.pad(frames, (0, 0, 0, -count % STACK))
    return padded.reshape(layers, -1, dim * STACK)


def _frames_needed(phones: Sequence[str]) -> int:
    """CTC needs a blank between two equal phones."""
    return len(phones) + sum(a == b for a, b in itertools.pairwise(phones))


def _collapsed(path: np.ndarray) -> list[int]:
    """Labels of a CTC path (T,): repetitions and blanks left out."""
    changed = np.concatenate([[True], path[1:] != path[:-1]])
    return [int(k) for k in path[changed] if k]
