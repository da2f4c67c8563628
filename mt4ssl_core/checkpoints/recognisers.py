"""Fine-tuned models with their CTC head: ours, fairseq's and Hugging Face's.

Ours is a checkpoint as of `mt4ssl_core.checkpoints.checkpoint`, so that wherever an encoder is
taken it is one. Beside ``encoder``, ``targets`` has the head under `CTC`, and the key
``vocabulary`` its tokens (`Vocabulary.to_dict`); ``config`` is that of `mt4ssl finetune`, but its
section ``encoder`` is the encoder's own settings.
"""

from pathlib import Path
from typing import Any

from mt4ssl_core.checkpoints import checkpoint, compact, python_file
from mt4ssl_core.checkpoints.foreign import (
    checkpoint_files,
    ctc_heads,
    fairseq,
    hub_models,
    huggingface,
)
from mt4ssl_core.checkpoints.foreign.assembled import check_finite, encoder_of
from mt4ssl_core.data.vocabulary import Vocabulary
from mt4ssl_core.files import reading
from mt4ssl_core.model.ctc import CTCModel

CTC = "ctc"  # of the targets of a checkpoint
VOCABULARY = "vocabulary"  # key of a checkpoint
REMEDY = "fine-tune it with `mt4ssl finetune`, or give a recogniser"


def load_ctc(path: str | Path, dictionary: str | Path | None = None) -> CTCModel:
    """Return a fine-tuned model with its head and vocabulary, float32, in eval mode.

    path: what `mt4ssl finetune` wrote; a fairseq .pt (wav2vec_ctc, hubert_ctc) with its
    ``dict.ltr.txt`` beside it, or in it; a Hugging Face ...ForCTC folder with vocab.json, or such
    a model's name on the hub.
    dictionary: a dict.ltr.txt or vocab.json that counts instead of the model's own (not of ours).

    Raises:
        ValueError: no such file, damaged, an encoder without a head, or a head whose outputs are
            not the dictionary's.
    """
    if python_file.is_named(path):
        raise ValueError(f"{path}: a Python file is an encoder without a CTC head; {REMEDY}")
    path = hub_models.local(path)
    with reading(path):
        if compact.weights_of(path) is not None:
            raise _headless(path)
        if checkpoint_files.is_hugging_face(path):
            state = huggingface.load(path, silent=True)
            return _assembled(state, *ctc_heads.huggingface_head(path, dictionary), path)
        found = checkpoint.read(path, fairseq.CLASSES)
        if fairseq.is_fairseq(found):
            state = fairseq.load(found, path, silent=True)
            return _assembled(state, *ctc_heads.fairseq_head(found, path, dictionary), path)
        state = checkpoint.check_state(found, path)
    if CTC not in state["targets"]:
        raise _headless(path)
    if dictionary is not None:
        raise ValueError(f"{path}: has its own vocabulary; leave the dictionary {dictionary} out")
    model = _assembled(state, head_of(state), vocabulary_of(state, path), path)
    best = state["progress"].get("best")
    model.held_out_wer = best if isinstance(best, float) else None
    return model


def _headless(path: Path) -> ValueError:
    return ValueError(f"{path}: an encoder without a CTC head; {REMEDY}")


def head_of(state: dict[str, Any]) -> dict[str, Any]:
    """The head of a checkpoint of ours: weight (V, D) and bias (V,)."""
    return {name.removeprefix("head."): v for name, v in state["targets"][CTC].items()}


def vocabulary_of(state: dict[str, Any], path: Path) -> Vocabulary:
    """The tokens of a checkpoint of ours; ValueError naming it: it has none, or they are damaged"""
    try:
        return Vocabulary.from_dict(state.get(VOCABULARY))
    except ValueError as error:
        raise ValueError(f"{path}: {VOCABULARY}: {error}; give another checkpoint") from None


def _assembled(
    state: dict[str, Any], head: dict[str, Any], vocabulary: Vocabulary, path: Path
) -> CTCModel:
    model = CTCModel(encoder_of(state, path), vocabulary)
    checkpoint.load_into(model.head, head, path)
    check_finite(model.head, path)
    return model.eval()
