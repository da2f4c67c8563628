"""LibriSpeech with SUPERB's lexicons, for phone recognition. Nothing has to be made from it."""

from pathlib import Path

from upstream.compat.ctc_corpus import read_lexicon, spelled
from upstream.compat.ctc_phones import phones
from upstream.corpora import librispeech
from upstream.corpora.audio_checks import name_some
from upstream.corpora.survey import Survey
from upstream.door import tasks


def survey(root: Path) -> Survey:
    """Count utterances; see that every word has its phones."""
    found = librispeech.inspect(root)
    problems = found.problems + _lexicon(root, found.words)
    return Survey(found.counts, problems, found.hours)


def _lexicon(root: Path, words: set[str]) -> list[str]:
    """Return what is wrong with the lexicons."""
    header = tasks.header("pr")
    patterns = header["root_keys"]["downstream_expert.corpus.lexicon"]["files"]
    sources = [url for url in header["corpus"]["source"] if "lexicon" in url]
    files = next((found for p in patterns if (found := sorted(root.glob(p)))), [])
    if not files:
        return [
            f"{root}: no pronunciation lexicon (*lexicon*.txt); download {' and '.join(sources)} "
            "and put them there"
        ]
    try:
        known = read_lexicon(tuple(map(str, files)))
    except (ValueError, OSError) as error:
        return [f"{error}; or download it again from {' and '.join(sources)}"]
    problems = []
    where = ", ".join(map(str, files))
    if unknown := sorted(word for word in words if word.upper() not in known):
        problems.append(
            f"{where}: no phones for {len(unknown)} words of the transcripts "
            f"({name_some(unknown)}); SUPERB has two lexicons, {' and '.join(sources)}: put both "
            "there, or add lines for these words"
        )
    used = {phone for word in words for phone in known.get(word.upper(), "").split()}
    vocabulary = set(phones())
    if strange := sorted(phone for phone in used if spelled(phone, vocabulary) is None):
        problems.append(
            f"{where}: the phones {name_some(strange)} are not among the 71 (ARPAbet with stress, "
            "SIL, SPN): write them as one of these in the lexicon, or set "
            "config.downstream_expert.text.vocab_file to a file with one phone per line"
        )
    return problems
