import os
from pathlib import Path

import pytest

from analysis.abx import layers as abx_layers
from analysis.abx.items import ItemFile, Stretch, read_items, triphones
from analysis.labelled_speech.alignments import Alignment, Interval
from analysis.labelled_speech.speech import LabelledUtterance
from analysis.probes import probe_tasks
from benchmarks import abx as beside_fastabx

HEAD = beside_fastabx.HEAD


def spoken(*said, speaker="s"):
    """An utterance of 1 s that says these labels in turn, 0.1 s each."""
    tier = tuple(Interval(n / 10, (n + 1) / 10, label) for n, label in enumerate(said))
    aligned = Alignment("u", {"phones": tier}, None, "u.phn")
    return LabelledUtterance("set/u.wav", Path("u.wav"), 16_000, speaker=speaker, alignment=aligned)


def test_triphones_are_between_two_phones_without_stress_or_silence():
    found = triphones(spoken("h#", "AH0", "b", "c", "pau", "d"))
    assert found == [Stretch(5, 20, "b", ("AH", "c"), "s")]
    assert triphones(spoken("a", "b", "c", speaker=None)) == []


def test_an_item_file(tmp_path):
    path = tmp_path / "x.item"
    path.write_text(f"{HEAD}\nu 0.1 0.2 b a c s\nu 0.2 0.3 c b d t\n\nv 0 1 b a c s\n")
    items = read_items(path)
    assert items.stretches["u"] == [
        Stretch(5, 10, "b", ("a", "c"), "s"), Stretch(10, 15, "c", ("b", "d"), "t"),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="1 of its 2 files are not in --data, first v;"):
        abx_layers.said_in(items, [spoken()])


@pytest.mark.parametrize(
    "text, told",
    [
        ("", "expected a first line '#file onset"),
        ("file onset\n", "expected a first line"),
        (f"{HEAD}\n", "no line below the first"),
        (f"{HEAD}\nu 0.2 0.1 b a c s\n", "line 2: 'u 0.2 0.1 b a c s'; expected file, onset <"),
        (f"{HEAD}\nu nan 0.1 b a c s\n", "line 2"),
        (f"{HEAD}\nu 0.1 inf b a c s\n", "line 2"),
        (f"{HEAD}\nu 0.1 1e308 b a c s\n", "line 2"),
        (f"{HEAD}\nu 0.1 0.2 b a c\n", "line 2"),
        (f"{HEAD}\nu 0.101 0.102 b a c s\n", "line 2: 0.101 to 0.102 s has no frame"),
    ],
)
def test_what_is_no_item_file(tmp_path, text, told):
    path = tmp_path / "x.item"
    path.write_text(text)
    with pytest.raises(ValueError) as error:
        read_items(path)
    assert str(path) in str(error.value) and told in str(error.value)


def test_speech_with_nothing_to_compare_allows_no_abx():
    items = ItemFile(Path("x.item"), {"u": [Stretch(0, 5, "b", ("a", "c"), "s")]})
    with pytest.raises(ValueError, match="abx_within: no two phones in one context"):
        probe_tasks.possible_probes([spoken()], ["abx_within"], items=items)


@pytest.mark.slow
@pytest.mark.parametrize("speaker", ["within", "across"])
def test_equals_fastabx(tmp_path, speaker):
    """Where MT4SSL_FASTABX_PYTHON is the Python of an environment with fastabx."""
    python = os.environ.get("MT4SSL_FASTABX_PYTHON")
    if not python:
        pytest.skip("no MT4SSL_FASTABX_PYTHON")
    beside_fastabx.write_speech(tmp_path, 60, dim=24, noise=4)
    own = beside_fastabx.ours(tmp_path, speaker)
    other = beside_fastabx.theirs(python, tmp_path, speaker)
    assert own["error"] == pytest.approx(other["error"], abs=1e-4)
    assert 0.05 < own["error"] < 0.5
