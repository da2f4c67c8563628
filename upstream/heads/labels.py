"""What the outputs of a head are called, kept in its checkpoints: it is used without its corpus."""

from itertools import count, takewhile
from typing import Any

KEY = "Labels"  # of a checkpoint, beside s3prl's own
LABEL, SYMBOL = "label", "symbol"  # where there is one thing to choose; a unit of text
FIXED = ("speech_commands", "voxceleb1")  # s3prl's folders of tasks with names of their own
SPEAKERS = 1251  # of VoxCeleb1
INTENT = ("action", "object", "location")
Labels = dict[str, list[str]]  # what is chosen -> names, in the order of the head's outputs


def of_expert(folder: str, expert: Any) -> Labels:
    """Return what an s3prl expert has read in its corpus; {} of a task without named outputs.

    Args:
        folder: s3prl's folder of the task.
        expert: its ``DownstreamExpert``; `FIXED` needs none.
    """
    expert = getattr(expert, "module", expert)  # of several processes
    if folder == "speech_commands":
        from s3prl.downstream.speech_commands.dataset import CLASSES

        return {LABEL: list(CLASSES)}
    if folder == "voxceleb1":
        from s3prl.downstream.voxceleb1.dataset import SpeakerClassifiDataset

        return {LABEL: SpeakerClassifiDataset.label2speaker(range(SPEAKERS))}
    if folder == "emotion":
        return {LABEL: _in_order(expert.test_dataset.idx2emotion)}
    if folder == "own_classify":
        return {LABEL: list(expert.labels)}
    if folder == "fluent_commands":
        return {slot: _in_order(expert.Sy_intent[slot]) for slot in INTENT}
    if folder == "asr":
        return {SYMBOL: list(expert.dictionary.symbols)}
    if folder in ("ctc", "own_ctc") and hasattr(expert.tokenizer, "idx_to_vocab"):  # no word pieces
        tokenizer = expert.tokenizer
        return {SYMBOL: [tokenizer.idx_to_vocab(i) for i in range(tokenizer.vocab_size)]}
    return {}


def _in_order(names: dict[Any, Any]) -> list[str]:
    """Return what the numbers 0, 1, ... stand for."""
    return [str(names[number]) for number in takewhile(names.__contains__, count())]


def are_labels(found: Any) -> bool:
    """Whether a file's content has the form of `Labels`."""
    return (
        isinstance(found, dict)
        and bool(found)
        and all(
            isinstance(slot, str) and isinstance(names, list) and all(type(n) is str for n in names)
            for slot, names in found.items()
        )
    )
