"""CoVoST 2, English to German: translations of sentences that Common Voice has recordings of.

Prepared as SUPERB's scripts prepare it: sentences of one word or more, neither side more than five
times as long as the other; English without punctuation and in lower case; one symbol a character.
"""

import csv
import io
import string
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import soundfile
import yaml

from mt4ssl_core.bars import Bar
from mt4ssl_core.files import atomic_path, reading, write_text
from upstream.corpora import audio_checks, prepared
from upstream.corpora.punctuation import ascii_punctuation
from upstream.corpora.survey import Survey
from upstream.fairseq_shim.dictionary import SPECIAL, Dictionary

TRANSLATIONS = "covost_v2.en_de.tsv"
VALIDATED, CLIPS = "validated.tsv", "clips"
SPLITS = ("train", "dev", "test")
RATE = 48000  # of Common Voice's clips
COLUMNS = ("id", "audio", "n_frames", "sr", "src_text", "tgt_text")
VERSION = 1  # raise it when the same corpus would give other files
LONGEST_RATIO = 5  # of words
VOCABULARY = 1000  # symbols at most
_SOURCE = (
    f"get it from https://dl.fbaipublicfiles.com/covost/{TRANSLATIONS}.tar.gz, unpack it, and put "
    "it there"
)
_COMMON_VOICE = (
    "get Common Voice Corpus 4, English, from https://commonvoice.mozilla.org/en/datasets and "
    "unpack it there"
)
_DROPPED = set(string.punctuation) - set("'-")


@dataclass(frozen=True)
class Sentence:
    """A recording, what is said in it, and its translation."""

    clip: str  # file name
    split: str
    english: str
    german: str


def survey(root: Path) -> Survey:
    """Count the translated recordings of every split, and list what is wrong with them."""
    problems = _missing(root)
    if problems:
        return Survey({}, problems)
    sentences = _sentences(root)
    clips = _common_voice(root) / CLIPS  # type: ignore[operator]
    present = {path.name for path in clips.iterdir()}
    counts, hours = {}, 0.0
    for split in SPLITS:
        named = [sentence.clip for sentence in sentences if sentence.split == split]
        there = [clips / name for name in named if name in present]
        counts[split] = len(there)
        if not named:
            problems.append(
                f"{root / TRANSLATIONS}: no sentence of split {split} is in Common Voice's "
                f"{VALIDATED}; both must be those of Common Voice Corpus 4: {_COMMON_VOICE}"
            )
        if lost := [name for name in named if name not in present]:
            problems.append(
                f"{clips}: {len(lost)} clips of split {split} are missing, such as "
                f"{audio_checks.name_some(lost)}; {_COMMON_VOICE}"
            )
        wrong, length = audio_checks.sample_headers(there, RATE, _COMMON_VOICE)
        problems += wrong
        hours += length
    return Survey(counts, problems, hours)


def prepare(root: Path) -> None:
    """Make ``prepared/``: a tsv of each split, vocabularies of characters, and config.yaml.

    Raises:
        ValueError: translations, transcripts or clips are missing or not readable; each named.
    """
    if problems := _missing(root):
        raise ValueError("\n".join(problems))
    voice = _common_voice(root)
    assert voice is not None
    clips = voice / CLIPS
    stamp = {
        **prepared.stamp_of([root / TRANSLATIONS, voice / VALIDATED]),
        "clips": str(clips),
        "recordings": sum(1 for _ in clips.iterdir()),
        "version": VERSION,
    }
    folder = root / prepared.FOLDER
    prepared.remake(folder, stamp, lambda: _make(root, clips, folder))


def _make(root: Path, clips: Path, folder: Path) -> None:
    rows = _measured([s for s in _sentences(root) if _usable(s)], clips)
    for split in SPLITS:
        if not rows[split]:
            raise ValueError(
                f"{clips}: no clip of split {split} of {TRANSLATIONS} is there; {_COMMON_VOICE}"
            )
        _write_tsv(folder / f"{split}.tsv", rows[split])
    for key in ("src_text", "tgt_text"):
        _write_vocabulary([row[key] for row in rows["train"]], folder / f"spm-{key}")
    config = {
        "bpe_tokenizer": {
            "bpe": "sentencepiece",
            "sentencepiece_model": str(folder / "spm-tgt_text.model"),
        },
        "vocab_filename": "spm-tgt_text.txt",
        "audio_root": str(clips),
        "use_audio_input": True,
    }
    write_text(folder / "config.yaml", yaml.safe_dump(config, allow_unicode=True))


def _missing(root: Path) -> list[str]:
    problems = []
    if not (root / TRANSLATIONS).is_file():
        problems.append(f"{root / TRANSLATIONS}: no such file; {_SOURCE}")
    if _common_voice(root) is None:
        problems.append(
            f"{root}: no folder with {VALIDATED} and {CLIPS} in it, such as en; {_COMMON_VOICE}"
        )
    return problems


def _common_voice(root: Path) -> Path | None:
    """The folder of the English recordings, at most two levels below."""
    places = [root, root / "en", *sorted(root.glob("*/en")), *sorted(root.glob("*"))]
    return next(
        (p for p in places if (p / VALIDATED).is_file() and (p / CLIPS).is_dir()),
        None,
    )


def _read(path: Path, columns: tuple[str, ...]) -> Iterator[dict[str, str]]:
    with reading(path), open(path, encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE, escapechar="\\")
        if lacking := [name for name in columns if name not in (reader.fieldnames or ())]:
            raise ValueError(
                f"{path}: no column {', '.join(lacking)} in its first line; this is another "
                f"version: {_SOURCE if path.name == TRANSLATIONS else _COMMON_VOICE}"
            )
        for row in reader:
            if all(row[name] is not None for name in columns):
                yield row


def _sentences(root: Path) -> list[Sentence]:
    """All recordings that have a translation, in the order of Common Voice's list."""
    voice = _common_voice(root)
    assert voice is not None
    translations = {
        row["path"]: (row["translation"], row["split"])
        for row in _read(root / TRANSLATIONS, ("path", "translation", "split"))
    }
    found = []
    for row in _read(voice / VALIDATED, ("path", "sentence")):
        clip = row["path"]
        if clip in translations:
            german, split = translations[clip]
            split = "train" if split == "train_covost" else split
            found.append(Sentence(clip, split, row["sentence"], german))
    return found


def _usable(sentence: Sentence) -> bool:
    english, german = len(sentence.english.split()), len(sentence.german.split())
    shorter, longer = sorted((english, german))
    return shorter >= 1 and longer / shorter <= LONGEST_RATIO


def _measured(sentences: list[Sentence], clips: Path) -> dict[str, list[dict[str, str]]]:
    """The rows of each split's tsv, shortest recording first; without those that are missing."""
    rows: dict[str, list[dict[str, str]]] = {split: [] for split in SPLITS}
    unreadable = []
    here = [s for s in sentences if s.split in rows and (clips / s.clip).is_file()]
    for sentence in Bar("clips", len(here)).over(here):
        try:
            header = soundfile.info(clips / sentence.clip)
        except soundfile.SoundFileError:
            unreadable.append(clips / sentence.clip)
            continue
        values = (
            sentence.clip.split(".")[0],
            sentence.clip,
            str(header.frames),
            str(header.samplerate),
            _english(sentence.english),
            _german(sentence.german),
        )
        rows[sentence.split].append(dict(zip(COLUMNS, values, strict=True)))
    if unreadable:
        raise ValueError(
            f"{audio_checks.name_some(unreadable)}: not readable as audio; get them again, or "
            "remove them to go on without"
        )
    return {split: sorted(found, key=lambda r: int(r["n_frames"])) for split, found in rows.items()}


def _german(text: str) -> str:
    return _without_stray_spaces(ascii_punctuation(text.replace("\t", " "), "de"))


def _english(text: str) -> str:
    text = _without_stray_spaces(ascii_punctuation(text.replace("\t", " "), "en"))
    return " ".join("".join(c for c in text if c not in _DROPPED).split()).lower()


def _without_stray_spaces(text: str) -> str:
    for mark in ".?,'":
        text = text.replace(f" {mark}", mark)
    return text.replace("do n't", "don't")


def _write_tsv(path: Path, rows: list[dict[str, str]]) -> None:
    lines = ["\t".join(COLUMNS), *("\t".join(row[name] for name in COLUMNS) for row in rows)]
    write_text(path, "\n".join(lines) + "\n")


def _write_vocabulary(texts: list[str], prefix: Path) -> None:
    """A sentencepiece model of single characters, and its symbols as fairseq reads them."""
    import sentencepiece

    model = io.BytesIO()
    bos, pad, eos, unk = range(len(SPECIAL))
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        model_type="char",
        vocab_size=VOCABULARY,
        character_coverage=1.0,
        bos_id=bos,
        pad_id=pad,
        eos_id=eos,
        unk_id=unk,
        minloglevel=2,
    )
    with atomic_path(prefix.with_suffix(".model")) as temporary:
        temporary.write_bytes(model.getvalue())
    pieces = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    symbols = Dictionary()
    for number in range(len(SPECIAL), pieces.get_piece_size()):
        symbols.add_symbol(pieces.id_to_piece(number))
    symbols.save(prefix.with_suffix(".txt"))
