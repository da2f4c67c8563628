"""``s3prl.downstream.ctc.corpus``: the corpora of PR, slot filling and out-of-domain ASR.

What: s3prl's CTC tasks import their corpora from a folder that its wheel lacks.
Why: the folder has no ``__init__.py``, so the build of the wheel leaves it out.
Since: s3prl 0.4.18.
Here: the corpus of PR (LibriSpeech with phone transcripts), written from what ``ctc/data.py`` asks
    of it, put under the name it imports; ctc_snips and ctc_common_voice do the same for the others.
    A git checkout of s3prl, which has the folder, keeps its own.
Delete when: s3prl's wheel holds downstream/ctc/corpus.

What ``ctc/data.py`` asks: ``LibriPhoneDataset(splits, tokenizer, bucket_size, path=...,
lexicon=..., **rest)`` whose items are ``(path, token ids)``, or, for ``bucket_size`` > 1, a list of
``bucket_size`` such pairs of similar length.
"""

import functools
from collections.abc import Collection
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from upstream.compat._modules import is_there, put

PACKAGE = "s3prl.downstream.ctc.corpus"
EXPERT = "s3prl.downstream.ctc.expert"
Utterance = tuple[str, list[int]]  # path of the audio, token ids with the end symbol


def install() -> bool:
    """Put the package and the module under the names that s3prl imports, unless they exist."""
    return offer("libriphone", LibriPhoneDataset=LibriPhoneDataset)


def offer(corpus: str, **names: Any) -> bool:
    """Make a module of ``PACKAGE`` with these names in it, unless there is one; return if made."""
    if is_there(f"{PACKAGE}.{corpus}"):
        return False
    put(f"{PACKAGE}.{corpus}", **names)
    return True


class Buckets(Dataset[Any]):
    """Utterances in an order that puts similar lengths beside each other.

    With ``bucket_size`` > 1, item ``i`` is the ``bucket_size`` utterances from place ``i`` on (the
    last ones start early enough to be full), so an epoch has as many batches as there are
    utterances, as in SUPERB.
    """

    def __init__(self, utterances: list[Utterance], bucket_size: int) -> None:
        self.utterances = utterances
        self.bucket_size = min(bucket_size, len(utterances))

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> Utterance | list[Utterance]:
        if self.bucket_size <= 1:
            return self.utterances[index]
        start = min(index, len(self) - self.bucket_size)
        return self.utterances[start : start + self.bucket_size]


class LibriPhoneDataset(Buckets):
    """Utterances of some LibriSpeech folders, in order of falling transcript length.

    Raises:
        ValueError: a folder or file is missing, a word is not in the lexicon, a phone is not in the
            vocabulary.
    """

    def __init__(
        self,
        split: list[str],
        tokenizer: Any,
        bucket_size: int,
        path: str,
        lexicon: list[str] | str,
        **_: Any,
    ) -> None:
        files = (lexicon,) if isinstance(lexicon, str) else tuple(lexicon)
        vocabulary = tuple(tokenizer.idx_to_vocab(i) for i in range(tokenizer.vocab_size))
        transcripts = _read_corpus(str(path), tuple(split), files, vocabulary)
        utterances = [(audio, tokenizer.encode(phones)) for audio, phones in transcripts]
        super().__init__(utterances, bucket_size)


@functools.lru_cache(maxsize=8)  # s3prl makes the dataset again for every epoch and evaluation
def _read_corpus(
    root: str, splits: tuple[str, ...], lexicon: tuple[str, ...], vocabulary: tuple[str, ...]
) -> list[tuple[str, str]]:
    """Return (path of the audio, phones separated by spaces), the longest transcript first."""
    pronunciations = read_lexicon(lexicon)
    found = []
    for split in splits:
        folder = Path(root, split)
        if not folder.is_dir():
            raise ValueError(f"{folder}: no such folder; set the root of LibriSpeech with --root")
        transcripts = sorted(folder.glob("*/*/*.trans.txt"))
        if not transcripts:
            raise ValueError(
                f"{folder}: no SPEAKER/CHAPTER/*.trans.txt; is it an unpacked LibriSpeech?"
            )
        for file in transcripts:
            for number, line in enumerate(file.read_text().splitlines(), 1):
                name, _, text = line.strip().partition(" ")
                where = f"{file}, line {number}"
                phones = _pronounce(text, pronunciations, lexicon, vocabulary, where)
                found.append((_audio(file.parent / name), phones))
    return sorted(found, key=lambda pair: (-len(pair[1].split()), pair[0]))


def read_lexicon(files: tuple[str, ...]) -> dict[str, str]:
    """Read ``WORD PHONE PHONE ...`` lines; of several pronunciations the first one counts.

    Raises:
        ValueError: there is no file, or a line has a word without phones.
    """
    pronunciations: dict[str, str] = {}
    for file in files:
        if not Path(file).is_file():
            raise ValueError(
                f"{file}: no such lexicon; give one or more files of 'WORD PHONE PHONE ...' lines "
                "with -o \"config.downstream_expert.corpus.lexicon=['FILE']\""
            )
        for number, line in enumerate(Path(file).read_text().splitlines(), 1):
            word, *phones = line.split() or [""]
            if word and not phones:
                raise ValueError(f"{file}, line {number}: no phones after {word!r}; add them")
            if word:
                pronunciations.setdefault(word.upper(), " ".join(phones))
    return pronunciations


def _pronounce(
    text: str,
    pronunciations: dict[str, str],
    lexicon: tuple[str, ...],
    vocabulary: tuple[str, ...],
    where: str,
) -> str:
    phones: list[str] = []
    for word in text.split():
        if word.upper() not in pronunciations:
            raise ValueError(
                f"{where}: the word {word!r} is not in the lexicon ({', '.join(lexicon)}); "
                "add a line for it, or add a further lexicon file (for example one made with a g2p "
                "tool)"
            )
        phones += pronunciations[word.upper()].split()
    found = [spelled(phone, vocabulary) for phone in phones]
    if None in found:
        raise ValueError(
            f"{where}: the lexicon uses the phone {phones[found.index(None)]!r}, which is not in "
            "the vocabulary; write it as one that is, or set "
            "config.downstream_expert.text.vocab_file to a file with one phone per line"
        )
    return " ".join(filter(None, found))


def spelled(phone: str, vocabulary: Collection[str]) -> str | None:
    """Return a phone as the vocabulary has it, or None: in capital letters, a vowel without stress
    as the unstressed one (0), a stressed one without where the vocabulary knows no stress.
    """
    capital = phone.upper()
    ways = (phone, capital, f"{capital}0", capital.rstrip("012"))
    return next((way for way in ways if way in vocabulary), None)


def _audio(stem: Path) -> str:
    for suffix in (".flac", ".wav"):
        if (path := stem.with_name(stem.name + suffix)).is_file():
            return str(path)
    raise ValueError(f"{stem}.flac: the transcript names it, but it is not there; unpack it again")
