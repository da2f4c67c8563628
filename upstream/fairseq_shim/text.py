"""Cutting sentences into pieces."""

from argparse import Namespace


class SentencePiece:
    """A sentencepiece model as fairseq uses it: text to pieces with spaces between them."""

    def __init__(self, model: str) -> None:
        import sentencepiece

        self._processor = sentencepiece.SentencePieceProcessor(model_file=model)

    def encode(self, text: str) -> str:
        """Return the pieces of a sentence."""
        return " ".join(self._processor.encode(text, out_type=str))

    def decode(self, pieces: str) -> str:
        """Return the sentence of pieces."""
        return pieces.replace(" ", "").replace("\u2581", " ").strip()


def build_bpe(args: Namespace) -> SentencePiece | None:
    """Return the cutter into pieces that ``args.bpe`` names: "sentencepiece", or None.

    Raises:
        ValueError: it names another one.
    """
    if args.bpe is None:
        return None
    if args.bpe != "sentencepiece":
        raise ValueError(
            f"bpe_tokenizer.bpe is {args.bpe}; only sentencepiece is known here: prepare the "
            "corpus with mt4ssl superb prepare --tasks st, or install fairseq"
        )
    return SentencePiece(args.sentencepiece_model)


def build_tokenizer(args: Namespace) -> None:
    """Return None: SUPERB has no cutting into words before that into pieces.

    Raises:
        ValueError: ``args.tokenizer`` names one.
    """
    if args.tokenizer is not None:
        raise ValueError(
            f"pre_tokenizer.tokenizer is {args.tokenizer}; none is known here: leave it out of "
            "config.yaml, or install fairseq"
        )
