import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from superb_data import tiny_checkpoint

import mt4ssl_cli
from analysis.abx.items import read_items
from analysis.labelled_speech.speech import read_speech
from analysis.probes import probe_tasks, probe_training, probing
from analysis.probes.layer_features import open_upstream
from analysis.probes.probe_data import frame_data, gather


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Tones as phones: six to an utterance, the first its keyword, tuned to the speaker."""
    folder = tmp_path_factory.mktemp("speech")
    rng, lines = np.random.default_rng(0), []
    for number in range(96):
        speaker, said = number % 12, rng.integers(0, 4, 6)
        pitch = np.repeat(220.0 * 1.5**said * (1 + 0.03 * speaker), 6_000)
        wave = 0.3 * np.sin(2 * np.pi * np.cumsum(pitch) / 16_000)
        name = f"u{number:02d}"
        soundfile.write(folder / f"{name}.wav", wave + 0.01 * rng.normal(size=len(wave)), 16_000)
        phones = " ".join("abcd"[k] for k in said)
        split = "test" if speaker % 3 == 0 else "train"
        lines.append(f"{name}.wav,{split},s{speaker},{'fm'[speaker % 2]},w{said[0]},{phones}")
        rows = (f"{6_000 * i} {6_000 * (i + 1)} {'abcd'[k]}\n" for i, k in enumerate(said))
        (folder / f"{name}.phn").write_text("".join(rows))
    head = "path,split,speaker,gender,keyword,phones"
    (folder / "index.csv").write_text("\n".join([head, *lines]) + "\n")
    return folder


def command(*words):
    return mt4ssl_cli.main(["probe", *map(str, words)])


def test_every_probe_and_measure_of_a_checkpoint(source, tmp_path, capsys):
    words = [
        "-k",
        tiny_checkpoint(),
        "--data",
        source,
        "--alignments",
        source,
        "--out",
        tmp_path / "out",
    ]
    words += ["--clusters", "8", "--compare", "mt4ssl_untrained", "--store-dir", tmp_path / "store"]
    assert command(*words) == 0
    shown = capsys.readouterr().out
    found = json.loads((tmp_path / "out" / "probe.json").read_text())
    names = {row["measure"] for row in found["rows"]}
    assert names >= {"phone", "phone_ctc", "keyword", "gender", "cca_mel", "pnmi_excess"}
    assert names >= {"abx_within", "abx_across", "effective_rank"}
    assert {matrix["measure"] for matrix in found["matrices"]} == {"cca", "cka"}
    assert np.shape(found["matrices"][1]["values"]) == (found["layers"],) * 2
    for name in ("phone", "cca_phone", "pnmi"):
        assert f"| {name} ↑ |" in shown
    assert any(note.startswith("speaker: ") for note in found["notes"])
    values = [row["value"] for row in found["rows"] if row["measure"] == "phone"]
    assert max(values) > 1.5 * found["rows"][0]["baseline"]
    for file in ("probe.csv", "table.md", "layers.png", "layers.svg", "similarity.csv"):
        assert (tmp_path / "out" / file).stat().st_size > 100
    before = (tmp_path / "out" / "probe.json").read_text()
    assert command(*words) == 0  # now from the store
    assert (tmp_path / "out" / "probe.json").read_text() == before


def test_an_interrupted_probe_goes_on(source, tmp_path, monkeypatch):
    asked = probing.ProbeRequest([str(source)], str(tmp_path / "out"), str(tiny_checkpoint()),
                          probes="keyword,gender")  # fmt: skip
    whole, done = probe_training._rows, []

    def stopped(task, *others):
        if len(done) == 1:
            raise KeyboardInterrupt
        done.append(task.name)
        return whole(task, *others)

    monkeypatch.setattr(probe_training, "_rows", stopped)
    with pytest.raises(KeyboardInterrupt):
        probing.probe(asked)
    assert done == ["keyword"] and not (tmp_path / "out" / "probe.json").exists()
    assert not probing.is_done(asked)
    monkeypatch.setattr(
        probe_training, "_rows", lambda task, *o: (done.append(task.name), whole(task, *o))[1]
    )
    asked = replace(asked, probes="keyword,gender,phone_ctc")  # what is kept is of each
    probing.probe(asked)
    assert done == ["keyword", "gender", "phone_ctc"]
    found = json.loads((tmp_path / "out" / "probe.json").read_text())
    assert [row["measure"] for row in found["rows"]] == [
        name for name in [*done, "effective_rank"] for _ in range(found["layers"])
    ]
    assert probing.is_done(asked) and not list((tmp_path / "out").glob("*.partial.json"))
    assert probing.is_done(replace(asked, probes="phone_ctc, gender,keyword"))
    assert not probing.is_done(replace(asked, probes="gender,keyword"))
    table = source / "index.csv"
    text = table.read_text()
    table.write_text(text.replace(",w0,", ",w9,"))  # other labels
    assert not probing.is_done(asked)
    table.write_text(text)


def test_scores_of_a_checkpoint_alone(source):
    speech = read_speech([source])
    rows = probing.score_layers(tiny_checkpoint(), speech, ["keyword", "gender"])
    assert [row["measure"] for row in rows if row["chosen"]] == ["keyword", "gender"]
    assert rows == probing.score_layers(tiny_checkpoint(), speech, ["keyword", "gender"])


def test_abx_of_an_item_file_is_that_of_the_same_triphones(source, tmp_path):
    utterances = read_speech([source], source)
    lines = ["#file onset offset #phone prev-phone next-phone speaker"]
    for item in [item for item in utterances if item.split == "test"]:
        said = item.alignment.tier("phones")
        for a, b, c in zip(said, said[1:], said[2:], strict=False):
            words = (item.path.stem, a.start, c.end, b.label, a.label, c.label, item.speaker)
            lines.append(" ".join(map(str, words)))
    (tmp_path / "x.item").write_text("\n".join(lines) + "\n")
    features, found = open_upstream(tiny_checkpoint()), []
    for items in (None, read_items(tmp_path / "x.item")):
        chosen, _ = probe_tasks.possible_probes(utterances, probe_tasks.ABX, 20, items)
        kept = gather(features, [], probe_tasks.frames_of(chosen), show=False)
        rows = probe_training.run_probes(chosen, kept, features.layers, show=False)
        found.append([(row["measure"], row["layer"], row["value"]) for row in rows])
    with pytest.raises(ValueError, match=r"x\.item: says what abx_within and"):
        probe_tasks.possible_probes(utterances, ["phone"], 20, read_items(tmp_path / "x.item"))
    assert found[0] == found[1] and {row[0] for row in found[0]} == {*probe_tasks.ABX}
    assert all(0 <= value < 0.6 for *_, value in found[0])


def test_the_table_names_the_layer_that_was_chosen():
    def row(measure, layer, value, **more):
        return {"measure": measure, "layer": layer, "value": value, "direction": "max", **more}

    probe = [row("phone", i, value, chosen=i == 0) for i, value in enumerate((0.5, 0.6))]
    cca = [row("cca_mel", i, value) for i, value in enumerate((0.5, 0.6))]
    text = probing.markdown_table({"model": "m", "layers": 2, "rows": probe + cca, "notes": []})
    assert "| phone ↑ | **0.500** | 0.600 |" in text and "| cca_mel ↑ | 0.500 | **0.600** |" in text


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--probes", "phone"], "phone: 0 utterances have its labels"),
        (["--probes", "tone"], "--probes tone: unknown"),
        (["--clusters", "1"], "--clusters 1"),
        (["--compare", "hubrt"], "-u hubrt: no such upstream on s3prl's hub. Did you mean"),
        (["--data", "none.csv"], "none.csv: no such file or folder"),
    ],
)
def test_mistakes_are_one_line(source, tmp_path, capsys, words, told):
    given = [tiny_checkpoint(), "--out", tmp_path / "out"]
    given += words if "--data" in words else [*words, "--data", source]
    assert command(*given) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("mt4ssl: error: ") and told in error
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_used_is_left_out_and_named(source, tmp_path, capsys):
    """An impossible probe, an alignment of other audio, and audio that cannot be decoded."""
    data = shutil.copytree(source, tmp_path / "data")
    with open(data / "u00.phn", "a") as file:
        file.write("36000 50000 a\n")
    (data / "u01.wav").write_bytes(b"")
    soundfile.write(data / "u03.wav", np.full(36_000, np.nan), 16_000, subtype="FLOAT")
    words = ["-k", tiny_checkpoint(), "--data", data, "--alignments", data, "--clusters", "4"]
    words += ["--probes", "phone,speaker,gender", "--out", tmp_path / "out"]
    assert command(*words) == 1
    shown = capsys.readouterr()
    assert shown.out.strip().splitlines()[-1].startswith("2 of 3 probes done, on 9")
    assert "of 95 utterances: " in shown.out.strip().splitlines()[-1]
    assert "mt4ssl: not probed: speaker: " in shown.err.strip().splitlines()[-1]
    found = json.loads((tmp_path / "out" / "probe.json").read_text())
    assert {"phone", "gender"} <= {row["measure"] for row in found["rows"]}
    notes = "\n".join(found["notes"])
    assert "u00: tier phones ends at 3.125 s, but the audio has 2.250 s" in notes
    assert "1 of 96 audio files are left out, first" in notes and "u01.wav" in notes
    assert "1 audio files are left out, first" in notes and "u03.wav" in notes


def test_audio_that_is_lost_can_make_a_probe_impossible(source):
    speech = read_speech([source])
    chosen, _ = probe_tasks.possible_probes(speech, ["keyword", "phone_ctc"])
    lost = {item.id for item in speech if item.keyword != "w1" and item.split == "train"}
    kept, reasons = probe_tasks.without(chosen, lost)
    assert not kept and [reason.partition(":")[0] for reason in reasons] == ["keyword", "phone_ctc"]
    assert "20 of each and two classes are needed" in reasons[0]
    kept, reasons = probe_tasks.without(chosen, {speech[0].id})
    assert [len(task.train) + len(task.test) for task in kept] == [95, 95] and not reasons


def test_what_is_kept_of_frames(source):
    speech = read_speech([source], source)[:6]
    features = open_upstream(tiny_checkpoint())
    kept = gather(features, speech[:2], speech, show=False)
    data = frame_data(speech[:4], speech[4:], kept)
    frames = features.frames(soundfile.read(speech[0].path, dtype="float32")[0])
    assert np.allclose(data.features[: frames.shape[1]], frames.transpose(1, 0, 2), atol=2e-2)
    assert np.allclose(kept.means[speech[0].id], frames.mean(1), atol=1e-5) and len(kept.means) == 2
    assert len(data.phones) == len(data.mel) == len(data.utterance) == len(data.features)
    assert data.trained.tolist() == [True] * 4 + [False] * 2
    phones = data.segments["phone"]
    assert len(phones.labels) == 36 and list(data.segments) == ["phone"]
    first = phones.features[0]
    centres = (np.arange(200) * 320 + 200) / 16_000
    assert np.allclose(first, frames[:, : (centres < 0.375).sum()].mean(1), atol=2e-2)
    assert np.array_equal(kept.all_frames(speech)[:5], data.features[:5])
