"""Phoneme recognition: laid out as LibriSpeech, with its lexicon and phoneme vocabulary."""

from pathlib import Path

from mini_superb.grammar import Grammar, phrases, words
from mini_superb.librispeech import recorded
from mini_superb.plan import Counts, Paths, Plan, Task

CORPUS = "pr/LibriSpeech"
LEXICONS = (
    "pr/lexicon/librispeech-lexicon-200k-g2p.txt",
    "pr/lexicon/librispeech-lexicon-allothers-g2p.txt",
)
VOCABULARY = "pr/vocab/phoneme.txt"

VOWELS = words("AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW")
CONSONANTS = words("B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH")

# Pronunciations in ARPAbet with stress, as the General American voice of espeak-ng says them.
PRONUNCIATIONS = {
    # in the first lexicon file
    "a": "AH0",
    "the": "DH AH0",
    "we": "W IY1",
    "they": "DH EY1",
    "he": "HH IY1",
    "she": "SH IY1",
    "two": "T UW1",
    "three": "TH R IY1",
    "seven": "S EH1 V AH0 N",
    "behind": "B IH0 HH AY1 N D",
    "beside": "B IH0 S AY1 D",
    "near": "N IH1 R",
    "with": "W IH1 DH",
    "through": "TH R UW1",
    "again": "AH0 G EH1 N",
    "today": "T AH0 D EY1",
    "slowly": "S L OW1 L IY0",
    "together": "T AH0 G EH1 DH ER0",
    "big": "B IH1 G",
    "small": "S M AO1 L",
    "young": "Y AH1 NG",
    "yellow": "Y EH1 L OW0",
    "happy": "HH AE1 P IY0",
    "quiet": "K W AY1 AH0 T",
    "green": "G R IY1 N",
    "strange": "S T R EY1 N JH",
    "good": "G UH1 D",
    "cold": "K OW1 L D",
    "found": "F AW1 N D",
    "followed": "F AA1 L OW0 D",
    "watched": "W AA1 CH T",
    "carried": "K AE1 R IY0 D",
    "painted": "P EY1 N T IH0 D",
    "pulled": "P UH1 L D",
    "heard": "HH ER1 D",
    "touched": "T AH1 CH T",
    "loved": "L AH1 V D",
    "enjoyed": "EH0 N JH OY1 D",
    "reached": "R IY1 CH T",
    "boat": "B OW1 T",
    "house": "HH AW1 S",
    "cat": "K AE1 T",
    "bird": "B ER1 D",
    "tree": "T R IY1",
    "child": "CH AY1 L D",
    "king": "K IH1 NG",
    "queen": "K W IY1 N",
    # in the second
    "garden": "G AA1 R D AH0 N",
    "window": "W IH1 N D OW0",
    "river": "R IH1 V ER0",
    "village": "V IH1 L IH0 JH",
    "mother": "M AH1 DH ER0",
    "teacher": "T IY1 CH ER0",
    "horse": "HH AO1 R S",
    "voice": "V OY1 S",
    "shadow": "SH AE1 D OW0",
    "book": "B UH1 K",
    "moon": "M UW1 N",
    "fish": "F IH1 SH",
    "rose": "R OW1 Z",
    "zebra": "Z IY1 B R AH0",
    "treasure": "T R EH1 ZH ER0",
    "bridge": "B R IH1 JH",
}
_FIRST_OF_SECOND_FILE = "garden"

GRAMMAR: Grammar = {
    "S": phrases("""
        SUBJECT VERB OBJECT | SUBJECT VERB OBJECT PLACE | SUBJECT VERB OBJECT ADVERB |
        ADVERB SUBJECT VERB OBJECT | THING VERB OBJECT | THING PLACE VERB OBJECT
    """),
    "SUBJECT": phrases("we | they | he | she | THING"),
    "OBJECT": phrases("THING | THING | NUMBER fish"),
    "THING": phrases("ARTICLE NOUN | ARTICLE ADJECTIVE NOUN"),
    "ARTICLE": words("the the a"),
    "PLACE": phrases("PREPOSITION the NOUN | PREPOSITION the ADJECTIVE NOUN"),
    "NUMBER": words("two three seven"),
    "ADVERB": words("again today slowly together"),
    "PREPOSITION": words("behind near with beside through"),
    "ADJECTIVE": words("big small young yellow happy quiet green strange good cold"),
    "VERB": words("""
        found followed watched carried painted pulled heard touched loved enjoyed reached
    """),
    "NOUN": words("""
        boat house cat bird tree child king queen garden window river village mother teacher horse
        voice shadow book moon fish rose zebra treasure bridge
    """),
}


COUNTS = {
    "tiny": Counts((3, 3), (2, 2), (2, 2)),
    "default": Counts((30, 12), (8, 10), (10, 10)),
    "large": Counts((120, 20), (20, 20), (20, 20)),
}


def plan(seed: int, size: str) -> Plan:
    """Utterances of 1.5-3.5 s with transcripts, two lexicon files and the vocabulary."""
    clips, texts = recorded(seed, "pr", COUNTS[size], GRAMMAR)
    return Plan(clips, texts | _lexicon())


def _lexicon() -> dict[str, str]:
    """Two lexicon files, as LibriSpeech has, and the vocabulary, one phoneme per line."""
    lines = [f"{word.upper()}\t{phones}\n" for word, phones in PRONUNCIATIONS.items()]
    middle = list(PRONUNCIATIONS).index(_FIRST_OF_SECOND_FILE)
    phonemes = ["SIL", "SPN", *CONSONANTS, *(f"{v}{stress}" for v in VOWELS for stress in "012")]
    return {
        LEXICONS[0]: "".join(sorted(lines[:middle])),
        LEXICONS[1]: "".join(sorted(lines[middle:])),
        VOCABULARY: "".join(f"{phoneme}\n" for phoneme in phonemes),
    }


def paths(root: Path) -> Paths:
    """What s3prl's config of the task asks for, under the corpus root."""
    return {
        "root": root / "pr",
        "path": root / CORPUS,
        "lexicon": [root / lexicon for lexicon in LEXICONS],
        "vocab_file": root / VOCABULARY,
    }


TASK = Task("pr", plan, paths)
