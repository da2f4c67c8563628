"""The task object through which s3prl reaches data, model, loss and search."""

from argparse import Namespace
from pathlib import Path
from typing import Any

from upstream.fairseq_shim import batches, criterion, text
from upstream.fairseq_shim.beam_search import BeamSearch, BeamSearchSettings
from upstream.fairseq_shim.dictionary import Dictionary
from upstream.fairseq_shim.s2t_transformer import S2TTransformerModel


class FairseqTask:
    """What does not depend on speech; s3prl's subclass fills ``datasets``."""

    target_dictionary: Dictionary

    def __init__(self, args: Namespace) -> None:
        self.args = args
        self.datasets: dict[str, Any] = {}

    def dataset(self, split: str) -> Any:
        """Return a split that was loaded."""
        return self.datasets[split]

    def build_model(self, args: Namespace) -> S2TTransformerModel:
        """Return a new model."""
        return S2TTransformerModel.build_model(args, self)

    def build_criterion(self, args: Namespace) -> criterion.LabelSmoothedCrossEntropy:
        """Return the loss of ``criterionrc``."""
        return criterion.build_criterion(args, self.target_dictionary.pad())

    def build_generator(self, models: list[Any], args: Namespace) -> BeamSearch:
        """Return the search of ``generatorrc``."""
        return BeamSearch(self.target_dictionary, BeamSearchSettings.of(vars(args)))

    def get_batch_iterator(
        self,
        dataset: Any,
        max_tokens: int,
        max_positions: int,
        num_workers: int = 0,
        ignore_invalid_inputs: bool = False,
        epoch: int = 1,
        seed: int = 1,
    ) -> batches.EpochBatchIterator:
        """Return batches of at most ``max_tokens`` frames, padding included.

        Raises:
            ValueError: an utterance has more than ``max_positions`` frames, unless
                ``ignore_invalid_inputs``, which leaves it out.
        """
        with batches.numpy_seed(seed):
            order = [int(index) for index in dataset.ordered_indices()]
        long = [index for index in order if dataset.num_tokens(index) > max_positions]
        if long and not ignore_invalid_inputs:
            raise ValueError(
                f"utterance {long[0]} has {dataset.num_tokens(long[0])} frames, more than "
                f"modelrc.max_source_positions {max_positions}; raise it"
            )
        order = [index for index in order if index not in set(long)] if long else order
        sizes = [dataset.num_tokens(index) for index in order]
        groups = batches.batch_by_size(order, sizes, max_tokens)
        return batches.EpochBatchIterator(dataset, groups, seed, epoch, num_workers)


class SpeechToTextTask(FairseqTask):
    """A folder with ``config.yaml``, the target vocabulary it names, and a tsv per split."""

    def __init__(self, args: Namespace, tgt_dict: Dictionary) -> None:
        super().__init__(args)
        self.tgt_dict = tgt_dict
        self.data_cfg = _data_config(args)

    @classmethod
    def setup_task(cls, args: Namespace) -> "SpeechToTextTask":
        """Read the target vocabulary.

        Raises:
            ValueError: it is not there.
        """
        path = Path(args.data) / _data_config(args).vocab_filename
        if not path.is_file():
            raise ValueError(
                f"{path}: no such vocabulary; make it with mt4ssl superb prepare --tasks st "
                "--root DIR"
            )
        return cls(args, Dictionary.load(path))

    @property
    def target_dictionary(self) -> Dictionary:  # type: ignore[override]
        """The vocabulary of the translations."""
        return self.tgt_dict

    def build_tokenizer(self, args: Namespace) -> None:
        """Return what cuts into words: nothing."""
        return text.build_tokenizer(Namespace(**self.data_cfg.pre_tokenizer))

    def build_bpe(self, args: Namespace) -> text.SentencePiece | None:
        """Return what cuts into pieces."""
        return text.build_bpe(Namespace(**self.data_cfg.bpe_tokenizer))


def _data_config(args: Namespace) -> Any:
    """Read ``config.yaml`` with s3prl's class for it."""
    from s3prl.downstream.speech_translation.Fairseq_SpeechToTextDataset import S2TDataConfig

    return S2TDataConfig(str(Path(args.data) / args.config_yaml))
