"""What a recogniser has beside its encoder, in the form of other toolkits."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mt4ssl_core.checkpoints.foreign import ctc_heads
from mt4ssl_core.checkpoints.foreign.weight_names import Tensors
from mt4ssl_core.data.vocabulary import FAIRSEQ, Vocabulary
from mt4ssl_core.files import write_json

BOS, PAD, EOS, UNK = FAIRSEQ
PROCESSOR = {"processor_class": "Wav2Vec2Processor"}
_CLASSES = {
    "data2vec-audio": ("Data2VecAudioForCTC", "data2vec_audio."),
    "hubert": ("HubertForCTC", "hubert."),
    "wavlm": ("WavLMForCTC", "wavlm."),
}


@dataclass(frozen=True)
class Head:
    """A CTC head: weight (V, D) and bias (V,), and the tokens that its V outputs are."""

    weights: Mapping[str, Tensor]
    vocabulary: Vocabulary

    def names(self) -> list[str]:
        """The tokens as Hugging Face calls them: its blank is the pad token, fairseq's is <s>.

        The two change names; neither is ever in a text.
        """
        tokens = list(self.vocabulary.tokens)
        if tokens[self.vocabulary.blank] == BOS and PAD in tokens:
            other = tokens.index(PAD)
            tokens[self.vocabulary.blank], tokens[other] = PAD, BOS
        return tokens

    def check_spelled(self, origin: str | Path) -> None:
        """Raise ValueError naming ``origin``: its tokens are not letters."""
        if not self.vocabulary.spelled:
            raise ValueError(
                f"{origin}: recognises units such as phones, for which transformers' tokenizer has "
                "no spelling; export a recogniser of letters, or use it with `mt4ssl transcribe`"
            )


def huggingface_weights(encoder: Tensors, head: Head, model_type: str) -> Tensors:
    """The weights of a ...ForCTC model: the encoder's below its prefix, and the head's."""
    prefix = _CLASSES[model_type][1]
    named = {f"{prefix}{key}": value for key, value in encoder.items()}
    return named | {f"{ctc_heads.HF_HEAD}{key}": value for key, value in head.weights.items()}


def huggingface_options(head: Head, model_type: str) -> dict[str, Any]:
    """What config.json says beside the encoder."""
    names = head.names()
    return {
        "architectures": [_CLASSES[model_type][0]],
        "vocab_size": len(names),
        "pad_token_id": head.vocabulary.blank,
        "bos_token_id": names.index(BOS) if BOS in names else None,
        "eos_token_id": names.index(EOS) if EOS in names else None,
        "ctc_loss_reduction": "mean",
        "ctc_zero_infinity": True,
        "final_dropout": 0.0,
    }


def write_tokenizer(folder: Path, head: Head, processor: Mapping[str, str]) -> None:
    """Write vocab.json and tokenizer_config.json of a Wav2Vec2CTCTokenizer, for a processor."""
    names = head.names()
    unknown = next((token for token in (UNK, "[UNK]") if token in names), UNK)
    write_json(folder / ctc_heads.VOCABULARY, {name: i for i, name in enumerate(names)})
    settings = {
        "tokenizer_class": "Wav2Vec2CTCTokenizer",
        "pad_token": names[head.vocabulary.blank],
        "unk_token": unknown,
        "bos_token": BOS if BOS in names else None,
        "eos_token": EOS if EOS in names else None,
        "word_delimiter_token": head.vocabulary.separator,
        "replace_word_delimiter_char": " ",
        "do_lower_case": False,
    }
    write_json(folder / ctc_heads.TOKENIZER, {**settings, **processor})
