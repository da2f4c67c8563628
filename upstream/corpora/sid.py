"""VoxCeleb1 with its identification split. Nothing has to be made from it."""

from pathlib import Path

from upstream.corpora import voxceleb
from upstream.corpora.survey import Survey
from upstream.corpora.texts import read_text

TRAIN = "1"
SPLITS = {TRAIN: "train", "2": "dev", "3": "test"}


def survey(root: Path) -> Survey:
    """Count the utterances of the three splits; see that every one is there."""
    audio, problems, hours = voxceleb.inspect(root)
    file, absent = voxceleb.list_file(root, "sid", "meta_data")
    counts = dict.fromkeys(SPLITS.values(), 0)
    if file is None:
        return Survey(counts, problems + absent, hours)
    wanted = set()
    for number, line in enumerate(read_text(file).splitlines(), 1):
        fields = line.split()
        if len(fields) != 2 or fields[0] not in SPLITS:
            problems.append(
                f"{file}, line {number}: expected '1|2|3 idXXXXX/VIDEO/UTT.wav', found {line!r}; "
                "download it again"
            )
            break
        counts[SPLITS[fields[0]]] += 1
        wanted.add(fields[1])
    problems += voxceleb.missing_utterances(
        file, wanted, {name for part in audio.values() for name in part}
    )
    problems += [
        f"{file}: nothing for {split}; download it again" for split in counts if not counts[split]
    ]
    return Survey(counts, problems, hours)
