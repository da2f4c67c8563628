"""mt4ssl from Python: load, score, pre-train or fine-tune an encoder, use a head, transcribe.

Nothing heavy is imported until it is used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mt4ssl.encoder import Encoder, load
    from mt4ssl.head import Head, load_head
    from mt4ssl.recognition import load_recogniser, transcribe
    from mt4ssl.scoring import evaluate, train_task
    from mt4ssl.training import finetune, pretrain

_HOMES = {
    "Encoder": "mt4ssl.encoder",
    "Head": "mt4ssl.head",
    "evaluate": "mt4ssl.scoring",
    "finetune": "mt4ssl.training",
    "load": "mt4ssl.encoder",
    "load_head": "mt4ssl.head",
    "load_recogniser": "mt4ssl.recognition",
    "pretrain": "mt4ssl.training",
    "train_task": "mt4ssl.scoring",
    "transcribe": "mt4ssl.recognition",
}

__all__ = [
    "Encoder",
    "Head",
    "evaluate",
    "finetune",
    "load",
    "load_head",
    "load_recogniser",
    "pretrain",
    "train_task",
    "transcribe",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"mt4ssl has no {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
