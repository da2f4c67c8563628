"""What the outputs of a head say: a label, an intent, phones, text, slots with their values."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from upstream.heads.labels import LABEL, SYMBOL, Labels

ASR, CTC, OWN_CTC = "asr", "ctc", "own_ctc"  # s3prl's folders of the tasks that give text
WORDS, SLOTS = "word", "character-slot"  # modes of s3prl's text
_SILENT = {ASR: (0, 2), CTC: (0, 1), OWN_CTC: (0, 1)}  # blank and end, which are not written
_BEGIN, _END = re.compile(r"B-(\S+) "), " E-{}"  # marks of s3prl's text, around a slot's value


@dataclass(frozen=True)
class Prediction:
    """What a head says of an utterance.

    Attributes:
        text: the label; of an intent its values, joined by ", "; or what was said.
        confidence: between 0 and 1. Of a label its probability; of an intent the product of those
            of its three values. Of text the mean, over the frames whose best symbol is no blank, of
            that symbol's probability; None where there is no text.
        slots: (slot, value), of an intent and of slot filling.
        others: the next best (text, confidence), of labels and intents.
    """

    text: str
    confidence: float | None
    slots: tuple[tuple[str, str], ...] = ()
    others: tuple[tuple[str, float], ...] = ()


def classify(labels: Labels, logits: Tensor, top: int) -> Prediction:
    """Choose the best name of every slot of ``labels``.

    Args:
        labels: their names, in the order of the outputs.
        logits: (C,)
        top: how many answers, the best and others.
    """
    found: list[tuple[tuple[str, ...], float]] = [((), 1.0)]
    parts = logits.double().cpu().split([len(names) for names in labels.values()])
    for names, part in zip(labels.values(), parts, strict=True):
        shares, places = part.softmax(0).sort(descending=True, stable=True)
        best = list(zip(places[:top].tolist(), shares[:top].tolist(), strict=True))
        longer = [((*so_far, names[i]), p * q) for so_far, p in found for i, q in best]
        found = sorted(longer, key=lambda answer: -answer[1])[:top]
    (values, confidence), *others = found
    slots = () if LABEL in labels else tuple(zip(labels, values, strict=True))
    named = tuple((", ".join(each), share) for each, share in others)
    return Prediction(", ".join(values), confidence, slots, named)


def transcribe(folder: str, mode: str, labels: Labels, logits: Tensor) -> Prediction:
    """Write down the best symbol of every frame, repetitions and blanks left out.

    Args:
        folder: `ASR`, `CTC` or `OWN_CTC`.
        mode: of s3prl's text; of no use for `ASR`.
        labels: the symbols, in the order of the outputs.
        logits: (T, C)
    """
    shares, best = logits.log_softmax(-1).max(-1)  # (T,)
    said = ~torch.isin(best, torch.tensor(_SILENT[folder], device=best.device))
    names = labels[SYMBOL]
    tokens = [names[i] for i in best.unique_consecutive().tolist() if i not in _SILENT[folder]]
    slots: tuple[tuple[str, str], ...] = ()
    if folder == ASR:  # letters, and | between words
        text = " ".join("".join(tokens).replace("|", " ").split())
    elif mode == SLOTS:
        text, slots = _words(tokens), tuple(_slots(tokens))
    else:
        text = (" " if mode == WORDS else "").join(tokens)
    return Prediction(text, float(shares[said].exp().mean()) if text else None, slots)


def gives_text(folder: str) -> bool:
    """Tell s3prl's folders of tasks that write down what was said from those that choose."""
    return folder in _SILENT


def text_mode(config: Mapping[str, Any]) -> str:
    """Return the mode of the text that an experiment of s3prl's CTC tasks writes."""
    return str(config["downstream_expert"].get("text", {}).get("mode"))


def _slots(tokens: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield (slot, value) of letters between a mark and the next one that ends the same slot."""
    place = 0
    while place < len(tokens):
        begin = _BEGIN.fullmatch(tokens[place])
        place += 1
        if begin and (end := _END.format(begin[1])) in tokens[place:]:
            after = tokens.index(end, place)
            if value := _words(tokens[place:after]):
                yield begin[1], value
            place = after + 1


def _words(tokens: Sequence[str]) -> str:
    """Return the letters as words, without the marks of slots."""
    letters = (t for t in tokens if not _BEGIN.fullmatch(t) and not t.startswith(" E-"))
    return " ".join("".join(letters).split())
