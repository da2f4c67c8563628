"""The CTC heads of other toolkits' fine-tuned models, and the tokens that their outputs mean."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mt4ssl_core.checkpoints.foreign import checkpoint_files, fairseq
from mt4ssl_core.checkpoints.foreign.foreign_settings import ForeignSettings, mapping
from mt4ssl_core.checkpoints.foreign.weight_names import Tensors, float32
from mt4ssl_core.data.vocabulary import FAIRSEQ, MOST, SEPARATORS, Vocabulary
from mt4ssl_core.files import reading

FAIRSEQ_HEAD, HF_HEAD = "w2v_encoder.proj.", "lm_head."
FAIRSEQ_ENCODER = "w2v_encoder.w2v_model."  # before the encoder's weights there
VOCABULARY, ADDED, TOKENIZER = "vocab.json", "added_tokens.json", "tokenizer_config.json"

Head = tuple[Tensors, Vocabulary]  # weight (V, D) and bias (V,)


def fairseq_head(state: Mapping[str, Any], path: Path, dictionary: str | Path | None) -> Head:
    """Return the head of a fine-tuned fairseq model: `state` is what its file holds.

    Its tokens are those of ``dictionary``, else of ``dict.LABELS.txt`` beside the file, else of
    the dictionary inside it.

    Raises:
        ValueError: it has no CTC head, no dictionary can be found, or one of another size.
    """
    head = _head(mapping(state["model"]), FAIRSEQ_HEAD, path)
    return head, _fitting(head, _fairseq_tokens(state, path, dictionary), path)


def _fairseq_tokens(
    state: Mapping[str, Any], path: Path, dictionary: str | Path | None
) -> Vocabulary:
    labels = fairseq.labels(state) or "ltr"
    beside = path.with_name(f"dict.{labels}.txt")
    if dictionary is not None or beside.is_file():
        return Vocabulary.read(dictionary or beside)
    symbols = fairseq.symbols(state)
    if symbols is None:
        raise ValueError(
            f"{path}: which letters its outputs mean is not in the file; put its {beside.name} "
            "beside it, or give that dictionary"
        )
    with reading(path, f"put its {beside.name} beside it"):
        return Vocabulary(tuple(symbols[: MOST + 1]))


def huggingface_head(path: Path, dictionary: str | Path | None) -> Head:
    """Return the head of a ...ForCTC model in a folder (or file) of Hugging Face's.

    Its tokens are those of ``dictionary``, else of vocab.json (and added_tokens.json); the blank is
    the pad token, as there.

    Raises:
        ValueError: as `fairseq_head`.
    """
    folder = path if path.is_dir() else path.parent
    weights, _ = checkpoint_files.read_weights(checkpoint_files.weight_files(path))
    head = _head(weights, HF_HEAD, path)
    if dictionary is not None:
        return head, _fitting(head, Vocabulary.read(dictionary), path)
    numbered = dict(checkpoint_files.json_object(folder / VOCABULARY))
    if (folder / ADDED).is_file():
        numbered |= checkpoint_files.json_object(folder / ADDED)
    settings = checkpoint_files.json_object(folder / checkpoint_files.CONFIG)
    options = ForeignSettings(settings, folder / checkpoint_files.CONFIG)
    if (folder / TOKENIZER).is_file():
        _check_separator(ForeignSettings(mapping(checkpoint_files.json_object(folder / TOKENIZER)),
                                         folder / TOKENIZER))  # fmt: skip
    size, numbers = len(head["weight"]), [*numbered.values()]
    if not all(type(number) is int for number in numbers):
        raise ValueError(f"{folder / VOCABULARY}: expected {{token: number}}; copy the file again")
    tokens = sorted((token for token in numbered if numbered[token] < size), key=numbered.get)  # type: ignore[arg-type]
    if [numbered[token] for token in tokens] != list(range(len(tokens))):
        raise ValueError(
            f"{folder / VOCABULARY}: numbers that are not 0 to {size - 1}, one each; copy the file "
            "again"
        )
    with reading(folder / VOCABULARY):
        vocabulary = Vocabulary(tuple(tokens), options.get("pad_token_id", 0, int))
    return head, _fitting(head, vocabulary, path)


def _check_separator(options: ForeignSettings) -> None:
    if options.get("word_delimiter_token", SEPARATORS[0], str) not in SEPARATORS:
        raise options.refuse("word_delimiter_token", "| or a space")


def _head(weights: Mapping[str, Any], name: str, path: Path) -> Tensors:
    """The weight and bias called ``name``, whatever trainers put before it."""
    found = [key for key in weights if key.endswith(f"{name}weight")]
    if len(found) != 1:
        raise ValueError(
            f"{path}: an encoder without a CTC head (no {name}weight); fine-tune it with "
            "`mt4ssl finetune`, or give a recogniser"
        )
    before = found[0].removesuffix("weight")
    weight, bias = weights[f"{before}weight"], weights.get(f"{before}bias")
    linear = isinstance(weight, Tensor) and weight.dim() == 2
    if not linear or not isinstance(bias, Tensor) or bias.shape != weight.shape[:1]:
        raise ValueError(f"{path}: {before}weight and bias are not those of a linear layer")
    return {"weight": float32(weight), "bias": float32(bias)}


def _fitting(head: Tensors, vocabulary: Vocabulary, path: Path) -> Vocabulary:
    if len(vocabulary) != len(head["weight"]):
        ours = vocabulary.tokens[: len(FAIRSEQ)] == FAIRSEQ
        special = f" ({len(FAIRSEQ)} special ones of fairseq included)" if ours else ""
        raise ValueError(
            f"{path}: its head has {len(head['weight'])} outputs, the dictionary {len(vocabulary)} "
            f"tokens{special}; give the dictionary that it was trained with"
        )
    return vocabulary
