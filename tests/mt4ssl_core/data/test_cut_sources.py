"""A lhotse manifest may be anybody's: nothing that it names is run or fetched."""

import gzip
import json

import numpy as np
import pytest
import soundfile
from lhotse import CutSet, Recording

from mt4ssl_core.data.audio import load_wave
from mt4ssl_core.data.manifest import open_manifest


@pytest.fixture
def lines(tmp_path):
    """Cuts as dictionaries, and a function that writes them."""
    cuts = []
    for name in ("a", "b", "c"):
        soundfile.write(tmp_path / f"{name}.wav", np.full(16_000, 0.1), 16_000)
        cuts.append(Recording.from_file(tmp_path / f"{name}.wav").to_cut().to_dict())

    def write(path=tmp_path / "cuts.jsonl"):
        path.write_text("".join(json.dumps(cut) + "\n" for cut in cuts))
        return path

    return cuts, write


def hostile(recording, trap):
    source = {**recording["sources"][0], "type": "command", "source": f"touch {trap}"}
    return {**recording, "sources": [source]}


def in_the_recording(cuts, trap):
    cuts[1]["recording"] = hostile(cuts[1]["recording"], trap)


def in_an_impulse_response(cuts, trap):
    response = hostile(cuts[0]["recording"], trap)
    reverb = {"name": "ReverbWithImpulseResponse", "kwargs": {"rir": response}}
    cuts[1]["recording"]["transforms"] = [reverb]


def in_a_mix(cuts, trap):
    cuts[2]["recording"] = hostile(cuts[2]["recording"], trap)
    tracks = [{"cut": cut, "type": cut["type"], "offset": 0.0} for cut in cuts[1:3]]
    cuts[1:] = [{"id": "mix", "type": "MixedCut", "tracks": tracks}]


def in_the_response_of_a_mix(cuts, trap):
    response = hostile(cuts[0]["recording"], trap)
    reverb = {"name": "ReverbWithImpulseResponse", "kwargs": {"rir": response}}
    tracks = [{"cut": cut, "type": cut["type"], "offset": 0.0} for cut in cuts[1:3]]
    cuts[1:] = [{"id": "mix", "type": "MixedCut", "tracks": tracks, "transforms": [reverb]}]


PLACES = [in_the_recording, in_an_impulse_response, in_a_mix, in_the_response_of_a_mix]


@pytest.mark.parametrize("place", PLACES)
def test_no_command_of_a_manifest_is_run(tmp_path, lines, place):
    cuts, write = lines
    trap = tmp_path / "trap"
    place(cuts, trap)
    with pytest.raises(ValueError, match=r"cuts.jsonl: cut .*shell command, which is not run; if"):
        open_manifest(write(), min_seconds=0.1)
    for cut in CutSet.from_file(tmp_path / "cuts.jsonl"):
        if cut.id in ("mix", cuts[1]["id"]):
            with pytest.raises(ValueError, match="is not run"):
                load_wave(cut)
    assert not trap.exists()


def test_no_command_of_a_shar_folder_is_run(tmp_path, lines):
    cuts, write = lines
    folder = tmp_path / "shar"
    folder.mkdir()
    CutSet.from_file(write()).to_shar(folder, fields={"recording": "wav"}, warn_unused_fields=False)
    shard = next(folder.glob("cuts.*.jsonl.gz"))
    in_an_impulse_response(cuts, tmp_path / "trap")
    with gzip.open(shard, "wt") as file:
        file.writelines(json.dumps(cut) + "\n" for cut in cuts)
    with pytest.raises(ValueError, match="is not run"):
        open_manifest(folder, min_seconds=0.1)


def test_no_name_of_a_file_reaches_a_shell(tmp_path, lines):
    cuts, write = lines
    file = tmp_path / f"x;touch trap{len(cuts)};.sph"
    (tmp_path / "a.wav").rename(file)
    cuts[0]["recording"]["sources"][0]["source"] = str(file)
    cuts[0]["recording"]["transforms"] = [{"name": "Volume", "kwargs": {"factor": 2.0}}]
    cut = open_manifest(write(), min_seconds=0.1).cuts[0]
    with pytest.raises(ValueError, match="shell command; convert it to FLAC or WAV"):
        load_wave(cut)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            {"type": "url", "source": "http://127.0.0.1:9/a.wav"},
            "is at a URL, which is not fetched",
        ),
        ({"type": "memory", "source": "A" * 1000}, "should be inside the manifest"),
        ({"type": "shar", "source": ""}, "give the folder"),
        ({"type": "s3", "source": "b"}, "type 's3', which is unknown"),
        ({"source": None}, "should be a file, not None"),
    ],
)
def test_audio_that_is_in_no_file_is_refused_by_name(lines, source, words):
    cuts, write = lines
    cuts[1]["recording"]["sources"][0].update(source)
    with pytest.raises(ValueError, match=rf"cuts.jsonl: cut {cuts[1]['id']}: .*{words}"):
        open_manifest(write(), min_seconds=0.1)


@pytest.mark.parametrize(
    "fields", [{"id": ["x"]}, {"duration": "1.5"}, {"start": -3.0}, {"start": None}]
)
def test_fields_of_other_types_are_refused_by_name(lines, fields):
    cuts, write = lines
    cuts[1].update(fields)
    with pytest.raises(ValueError, match=r"cuts.jsonl: cut 2 .*write it again"):
        open_manifest(write(), min_seconds=0.1)
