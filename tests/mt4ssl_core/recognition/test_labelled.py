"""How much transcribed speech a model has had: by the name of its data and by its hours."""

import json

import pytest

from mt4ssl_core.recognition.labelled import labelled

WHOLE = {"train": "LibriSpeech/train-clean-100", "valid": "LibriSpeech/dev-clean"}
PART = {"part": "10min", "train": "librispeech_finetuning", "valid": "dev"}
OWN_SPLIT = {"part": None, "train": "lists/train-clean-100.tsv", "valid": None}


def noted(folder, *lines):
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder / "best.pt"


def begun(train, held_out=0.0):
    return {"update": 0, "train_hours": train, "held_out_hours": held_out}


@pytest.mark.parametrize(
    ("data", "hours", "amount"),
    [
        (WHOLE, (100.59, 5.4), "100h"),
        (WHOLE, (0.02, 0.01), None),  # a small corpus in the same folders
        (WHOLE, (94.9, 5.4), None),
        (WHOLE, (105.1, 5.4), None),
        (OWN_SPLIT, (95.4, 5.2), "100h"),
        (OWN_SPLIT, (50.3, 50.3), None),
        (PART, (0.1669, 5.4), "10m"),
        (PART, (0.01, 5.4), None),
        ({"train": "lists/train-clean-100_first10h.tsv"}, (100.59, 0.0), None),
        ({"train": "speech"}, (100.59, 0.0), None),
    ],
)
def test_it_is_known_by_the_name_of_the_data_and_by_the_hours(tmp_path, data, hours, amount):
    assert labelled({"data": data}, noted(tmp_path, begun(*hours))) == amount


@pytest.mark.parametrize("lines", [(), ([],), ({"update": 0, "train_hours": "100"},)])
def test_it_is_unknown_where_no_hours_are_noted(tmp_path, lines):
    assert labelled({"data": WHOLE}, tmp_path / "best.pt") is None
    assert labelled({"data": WHOLE}, noted(tmp_path, *lines)) is None
    assert labelled({"data": WHOLE}, noted(tmp_path, begun(10**400))) is None
    assert labelled(None, noted(tmp_path, begun(100.0))) is None


def test_what_a_run_noted_last_before_its_first_update_counts(tmp_path):
    path = noted(tmp_path, begun(0.02), begun(100.59), {"update": 50, "train_hours": 1.0})
    assert labelled({"data": WHOLE}, path) == "100h"
