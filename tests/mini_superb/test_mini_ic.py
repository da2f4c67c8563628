import csv

import soundfile
from superb_data import corpus

from mini_superb import ic


def test_tables_name_every_recording_once_and_label_it_with_an_intent():
    base = corpus("ic") / ic.CORPUS
    counts, named, speakers = ic.COUNTS["tiny"], [], {}
    for split in ("train", "valid", "test"):
        with open(base / "data" / f"{split}_data.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert tuple(rows[0]) == ic.COLUMNS
        assert len(rows) == counts.speakers[split] * counts.intents
        speakers[split] = {row["speakerId"] for row in rows}
        for row in rows:
            assert row["path"].split("/")[2] == row["speakerId"]
            said = ic.INTENTS[row["action"], row["object"], row["location"]]
            assert row["transcription"].lower() in [text.lower() for text in said]
        named += [base / row["path"] for row in rows]
    assert sorted(named) == sorted(base.rglob("*.wav"))
    assert soundfile.info(named[0]).samplerate == 16000
    assert not speakers["train"] & speakers["test"]
    assert not speakers["train"] & speakers["valid"]


def test_every_intent_is_trained_and_tested_equally_often():
    clips = ic.plan(0, "default").clips
    counts = ic.COUNTS["default"]
    assert len(clips) == counts.intents * sum(counts.speakers.values()) <= 800
    taken = list(ic.INTENTS)[: counts.intents]
    assert min(len(set(labels)) for labels in zip(*taken, strict=True)) >= 4  # in every slot
    assert ic.COUNTS["large"].intents == len(ic.INTENTS)
