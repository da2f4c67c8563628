"""Query-by-example spoken term detection: laid out as the QUESST 2014 database.

Non-native English beside two other languages, at 8 kHz; the ground truth, in NIST's formats, says
which query occurs in which recording, for all languages together. A query is spoken by somebody who
is in none of the recordings.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile

from mini_superb import mixing
from mini_superb.clip import Clip, random_of, seed_of
from mini_superb.grammar import EVERYDAY, Grammar, phrases, sentence, words
from mini_superb.plan import Paths, Plan, Task
from mini_superb.voices import cast, mood, scene

CORPUS = "qbe/quesst14Database"
RATE = 8000
ENGLISH = "nnenglish"  # the one language that SUPERB uses
VOICES = {ENGLISH: ("en-us",), "albanian": ("sq",), "czech": ("cs",)}
# Two words next to each other are the query; each fits between a subject and a place.
VERBS = words("remembered measured finished followed painted enjoyed described repaired")
OBJECTS = words(
    "television newspaper vegetables elephants photographs furniture umbrellas musicians"
)

OTHERS: dict[str, Grammar] = {
    "albanian": {
        "S": phrases("WHO WHAT WHEN"),
        "WHO": words("Ana Besa Ilir"),
        "WHAT": phrases("sheh malin | do ujin | ka librin"),
        "WHEN": words("sot nesër"),
    },
    "czech": {
        "S": phrases("WHO WHAT WHEN"),
        "WHO": words("Petr Jana Honza"),
        "WHAT": phrases("vidí vodu | má knihu | staví dům"),
        "WHEN": words("dnes zítra"),
    },
}


@dataclass(frozen=True)
class Counts:
    """Queries of the dev and of the eval set, recordings of each, others; files per language."""

    queries: int
    occurrences: int
    fillers: int
    foreign: int


COUNTS = {
    "tiny": Counts(3, 2, 2, foreign=1),
    "default": Counts(10, 5, 12, foreign=3),
    "large": Counts(32, 15, 240, foreign=20),
}


@dataclass(frozen=True)
class Item:
    """A recording or a query: its path below the corpus, its language, what is said in it."""

    path: str
    language: str
    text: str


def plan(seed: int, size: str) -> Plan:
    """Queries of about a second and recordings of 2-3 s."""
    counts = COUNTS[size]
    rng = random_of(seed, "qbe")
    pairs = [f"{verb} {thing}" for verb in VERBS for thing in OBJECTS]
    drawn = [str(pair) for pair in rng.permutation(pairs)[: 2 * counts.queries]]
    sets = {"dev": drawn[: counts.queries], "eval": drawn[counts.queries :]}
    audio = _shuffled(rng, _recordings(rng, drawn, counts))
    documents = [_item("Audio/quesst14_", 5, index, *item) for index, item in enumerate(audio)]
    clips = _clips(rng, seed, "audio", documents)
    queries: dict[str, list[Item]] = {}
    for split, terms in sets.items():
        asked = [(ENGLISH, term) for term in terms] + [
            (language, sentence(grammar, rng, "WHAT")) for language, grammar in OTHERS.items()
        ]
        prefix = f"{split}_queries/quesst14_{split}_"
        queries[split] = [_item(prefix, 4, index, *item) for index, item in enumerate(asked)]
        clips += _clips(rng, seed, split, queries[split])
    texts = {_key("utterances"): _lines(documents)}
    texts |= {_key(split): _lines(items) for split, items in queries.items()}
    return Plan(clips, texts, lambda root: _finish(root, documents, queries))


def _item(prefix: str, digits: int, index: int, language: str, text: str) -> Item:
    return Item(f"{prefix}{index + 1:0{digits}d}.wav", language, text)


def _recordings(
    rng: np.random.Generator, terms: Sequence[str], counts: Counts
) -> list[tuple[str, str]]:
    """Language and text of every recording: the queries' sentences, others, other languages."""
    said = []
    for term in terms:
        for _ in range(counts.occurrences):
            said.append((ENGLISH, sentence({**EVERYDAY, "S": [f"WHO_ALONE {term} TIME"]}, rng)))
    said += [(ENGLISH, sentence(EVERYDAY, rng)) for _ in range(counts.fillers)]
    for language, grammar in OTHERS.items():
        said += [(language, sentence(grammar, rng)) for _ in range(counts.foreign)]
    return said


def _shuffled(rng: np.random.Generator, items: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return [items[index] for index in rng.permutation(len(items))]


def _clips(rng: np.random.Generator, seed: int, split: str, items: list[Item]) -> list[Clip]:
    """Record the items, each by one of a few people that the split has for its language."""
    clips = []
    for language, voices in VOICES.items():
        spoken = [item for item in items if item.language == language]
        names = [f"{split}-{language}-{k}" for k in range(min(6, len(spoken)))]
        people = cast(rng, {"all": names}, voices)["all"]
        for index, item in enumerate(spoken):
            path = f"{CORPUS}/{item.path}"
            person = mood(rng, people[index % len(people)])
            person = replace(person, rate=min(person.rate, 165.0))
            here = scene(rng, snr_db=(18.0, 35.0), channel_db=2.0)
            clips.append(Clip(path, split, seed_of(seed, path), item.text, person, here))
    return clips


def _key(name: str) -> str:
    return f"{CORPUS}/scoring/language_key_{name}.lst"


def _lines(items: list[Item]) -> str:
    return "".join(f"quesst14Database/{item.path} {item.language}\n" for item in items)


def _finish(root: Path, documents: list[Item], queries: dict[str, list[Item]]) -> None:
    """Bring all audio to 8 kHz, then write the ground truth, which has the durations."""
    corpus = root / CORPUS
    every = [*documents, *queries["dev"], *queries["eval"]]
    mixing.convert((corpus / item.path for item in every), RATE)
    seconds = {item.path: soundfile.info(corpus / item.path).duration for item in documents}
    for split, items in queries.items():
        folder = corpus / "scoring" / f"groundtruth_quesst14_{split}"
        folder.mkdir(parents=True, exist_ok=True)
        files = {
            "quesst14.ecf.xml": _ecf(documents, seconds),
            f"quesst14_{split}.tlist.xml": _tlist(items),
            f"quesst14_{split}.rttm": _rttm(documents, items, seconds),
        }
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")


def _stem(item: Item) -> str:
    return Path(item.path).stem


def _ecf(documents: list[Item], seconds: dict[str, float]) -> str:
    """The recordings to be searched."""
    rows = [
        f'<excerpt audio_filename="{Path(item.path).name}" channel="1" tbeg="0.000" '
        f'dur="{seconds[item.path]:.3f}" language="multiple" source_type="splitcts"/>\n'
        for item in documents
    ]
    total = f"{sum(seconds.values()):.3f}"
    return f'<?xml version="1.0"?>\n<ecf source_signal_duration="{total}">\n{"".join(rows)}</ecf>\n'


def _tlist(items: list[Item]) -> str:
    """The queries."""
    rows = [
        f'<term termid="{_stem(item)}"><termtext>{item.text}</termtext></term>\n' for item in items
    ]
    head = '<termlist ecf_filename="quesst14.ecf.xml" language="multiple">'
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{head}\n{"".join(rows)}</termlist>\n'


def _rttm(documents: list[Item], queries: list[Item], seconds: dict[str, float]) -> str:
    """Which query occurs in which recording; NO_KEYWORD stands for the speech beside."""
    rows = []
    for document in documents:
        where = f"{_stem(document)} 1 0.000 {seconds[document.path]:.3f}"
        rows.append(f"SPEAKER {where} <NA> <NA> SELF <NA>\n")
        found = [_stem(query) for query in queries if _occurs(query, document)]
        rows += [f"LEXEME {where} {name} lex SELF <NA>\n" for name in found or ["NO_KEYWORD"]]
    return "".join(rows)


def _occurs(query: Item, document: Item) -> bool:
    return query.language == document.language and f" {query.text} " in f" {document.text} "


def paths(root: Path) -> Paths:
    """What s3prl's config of the task asks for, under the corpus root."""
    return {"root": root / "qbe", "dataset_root": root / CORPUS}


TASK = Task("qbe", plan, paths)
