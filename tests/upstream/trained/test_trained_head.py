"""A trained head says of audio files what s3prl's test says of them."""

import csv
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from superb_data import FEW_STEPS, corpus, save_checkpoint, smoke, tiny_checkpoint

import mt4ssl
from mt4ssl_core.checkpoints import checkpoint
from mt4ssl_core.data.audio import load_wave
from upstream.door import tasks
from upstream.heads import command, labels, runner, states
from upstream.heads.task_request import TaskRequest
from upstream.store.options import StoreOptions
from upstream.trained import formats
from upstream.trained.answers import classify, transcribe
from upstream.trained.predict import predict
from upstream.trained.trained_head import TrainedHead

TESTED = {  # task: where its test is, what s3prl writes
    "ks": ("speech_commands_test_set_v0.01/*/*.wav", "test_predict.txt"),
    "sid": ("**/*.wav", "test_predict.txt"),
    "ic": ("**/*.wav", "test_predict.csv"),
    "er": ("IEMOCAP_full_release/Session1/**/*.wav", "test_fold1_predict.txt"),
    "pr": ("LibriSpeech/test-clean/**/*.flac", "test-hyp.ark"),
    "asr": ("LibriSpeech/test-clean/**/*.flac", "test-clean-noLM-hyp.ark"),
    "sf": ("SNIPS/test/*.wav", "test-hyp.ark"),
}


def scattered(path: Path, task: str) -> Path:
    """Give a head weights at random that say something else of every utterance."""
    stored = checkpoint.read(path, states.NAMESPACE)
    weights, random = stored["Downstream"], torch.Generator().manual_seed(0)
    for name in [name for name in weights if name != "best_score"]:
        weights[name] = torch.randn(weights[name].shape, generator=random)
    if task in ("sid", "er"):  # the means of utterances are alike
        waves = [load_wave(file) for file in corpus(task).glob(TESTED[task][0])]
        mean = torch.stack([row.mean(0) for row in TrainedHead(path).features(waves)]).mean(0)
        weights["projector.bias"] = -weights["projector.weight"] @ mean
        weights["model.post_net.linear.bias"].zero_()
    torch.save(stored, path)
    return path


@pytest.fixture(scope="module")
def tested(tmp_path_factory):
    """Return a function to a task's experiment: trained for two steps, scattered, tested."""
    made: dict[str, Path] = {}

    def of(task: str) -> Path:
        if task not in made:
            folder = tmp_path_factory.mktemp(task)
            smoke(task, folder, stages=[])
            path = scattered(states.best_checkpoint(folder / "exp"), task)
            evaluate(path)
            made[task] = path
        return made[task]

    return of


def evaluate(path: Path, store: str = "auto") -> None:
    request = TaskRequest(
        mode="evaluate",
        past_exp=str(path),
        device="cpu",
        store=StoreOptions(store, precision="fp32"),
    )
    header = states.read(path)["Config"]["superb"]
    if header["code"] == "asr":
        request.others["evaluate_split"] = "test-clean"
    runner.launch(command.settle(request))


def names(task: str, file: Path) -> str:
    """What s3prl calls a file in its predictions."""
    if task == "ks":
        return "-".join(file.parts[-2:])
    return "-".join(file.with_suffix("").parts[-3:]) if task == "sid" else file.stem


def said_in_test(task: str, path: Path) -> dict[str, str]:
    lines = (path.parent / TESTED[task][1]).read_text().splitlines()
    said = dict(line.split("," if task == "ic" else " ", 1) for line in lines)
    if task == "ic":
        return {name: text.replace(",", ", ") for name, text in said.items()}
    if task == "sf":
        slots = (corpus("sf") / "SNIPS/slots.txt").read_text().split()[1:]
        marks = "|".join(f"B-{name} | E-{name}" for name in sorted(slots, key=len, reverse=True))
        return {name: " ".join(re.sub(marks, "", text).split()) for name, text in said.items()}
    return said


@pytest.mark.parametrize("task", TESTED)
def test_what_is_said_is_what_the_test_says(task, tested):
    path = tested(task)
    wanted = said_in_test(task, path)
    assert len(set(wanted.values())) > 1 and all(wanted.values())
    files = {names(task, file): file for file in corpus(task).glob(TESTED[task][0])}
    rows = predict(path.parent, [files[name] for name in wanted])
    assert {names(task, Path(file)): said.text for file, said in rows} == wanted
    assert all(0 < said.confidence <= 1 for _, said in rows)


@pytest.mark.parametrize(("task", "column"), [("classify", "label"), ("ctc", "text")])
def test_a_head_of_ones_own_table(task, column, tmp_path):
    files = sorted(corpus("ks").glob(TESTED["ks"][0]))
    rows = [
        (file, file.parent.name.strip("_"), s) for s in ("train", "dev", "test") for file in files
    ]
    with open(tmp_path / "own.csv", "w", newline="", encoding="utf-8") as table:
        csv.writer(table).writerows([("path", column, "split"), *rows])
    settings = {**tasks.header(task)["smoke"], **FEW_STEPS, "downstream_expert.datarc.gain": -3.0}
    settings["downstream_expert.datarc.csv"] = str(tmp_path / "own.csv")
    asked = {"ckpt": tiny_checkpoint(), "device": "cpu", "overrides": settings, "stages": []}
    runner.run(task, "mt4ssl", tmp_path / "exp", **asked)
    path = scattered(states.best_checkpoint(tmp_path / "exp"), task)
    evaluate(path)
    (written,) = {"test_predict.txt", "test-hyp.ark"} & {p.name for p in path.parent.iterdir()}
    wanted = [line.partition(" ")[2] for line in (path.parent / written).read_text().splitlines()]
    assert [said.text for _, said in predict(path, files)] == wanted
    assert len(set(wanted)) > 1


def changed(path: Path, folder: Path, **entries) -> Path:
    """Copy a head, with other entries; None: without."""
    stored = checkpoint.read(path, states.NAMESPACE)
    for key, value in entries.items():
        stored.pop(key, None) if value is None else stored.update({key: value})
    target = folder / path.name
    torch.save(stored, target)
    return target


def some(task: str, count: int = 3) -> list[Path]:
    return sorted(corpus(task).glob(TESTED[task][0]))[:count]


def test_frames_that_are_stored_say_the_same(tested):
    path, before = tested("pr"), said_in_test("pr", tested("pr"))
    evaluate(path, store="frames")
    assert said_in_test("pr", path) == before


def test_it_is_as_sure_as_the_head(tested, tmp_path):
    head = TrainedHead(tested("ic"))
    waves = [load_wave(file) for file in some("ic")]
    said = [head.read(row, top=3) for row in head.features(waves)]
    assert [slot for slot, _ in said[0].slots] == list(labels.INTENT)
    for one in said:
        shares = [one.confidence, *(share for _, share in one.others)]
        assert len(shares) == 3 and shares == sorted(shares, reverse=True) and sum(shares) <= 1
        assert one.text == ", ".join(value for _, value in one.slots)


def test_formats(tested, tmp_path, capsys):
    files = some("ks")
    for kind in ("csv", "jsonl"):
        predict(tested("ks"), files, top=2, out=tmp_path / f"said.{kind}")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "said.csv").read_text())))
    lines = [json.loads(line) for line in (tmp_path / "said.jsonl").read_text().splitlines()]
    assert [row["file"] for row in rows] == [line["file"] for line in lines] == [*map(str, files)]
    for row, line in zip(rows, lines, strict=True):
        assert (row["label"], float(row["confidence"])) == (line["label"], line["confidence"])
        assert row["label_2"] == line["others"][0]["label"] != row["label"]
    capsys.readouterr()
    predict(tested("ks"), files)
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["file", "label", "confidence"] and len(shown) == 5
    with pytest.raises(ValueError, match="format 'xml': unknown; use table, csv, jsonl"):
        predict(tested("ks"), files, format="xml")


def test_what_cannot_be_read_is_named_and_the_others_are_said(tested, tmp_path, capsys):
    (tmp_path / "broken.wav").write_bytes(b"RIFF no audio")
    (tmp_path / "empty.wav").touch()
    soundfile.write(tmp_path / "short.wav", np.zeros(100), 16000)
    nan = np.full(16000, np.nan, np.float32)
    soundfile.write(tmp_path / "nan.wav", nan, 16000, subtype="FLOAT")
    soundfile.write(tmp_path / "silence.wav", np.zeros(16000), 16000)
    stereo = np.repeat(np.random.default_rng(0).normal(0, 0.1, (22050, 1)), 2, 1)
    soundfile.write(tmp_path / "stereo.flac", stereo, 44100)
    out = tmp_path / "said.csv"
    given = [tmp_path / name for name in ("broken.wav", "empty.wav", "short.wav", "nan.wav")]
    given += [tmp_path / "silence.wav", tmp_path / "stereo.flac"]
    with pytest.raises(ValueError, match=r"predict: 4 of 6 files.*mend the files named"):
        predict(tested("ks"), given, out=out)
    said = capsys.readouterr().err
    for name in ("broken", "empty", "short", "nan"):
        assert f"{name}.wav" in said
    assert [line.split(",")[0] for line in out.read_text().splitlines()[1:]] == [
        *map(str, given[4:])
    ]
    with pytest.raises(ValueError, match=r"broken\.wav"):
        predict(tested("ks"), given, strict=True)
    with pytest.raises(ValueError, match=r"no usable audio \(1 skipped"):
        predict(tested("ks"), given[:1])


def test_too_few_frames_for_a_head_are_skipped(tested, monkeypatch, capsys):
    def fail(*_):
        raise RuntimeError("Expected all tensors to be longer")

    head = TrainedHead(tested("asr"))
    monkeypatch.setattr(head._model.model, "forward", fail)
    with pytest.raises(ValueError, match=r"^5 frames are too few for this head$"):
        head.read(torch.zeros(5, 16))


def test_the_encoder_is_the_one_that_it_was_trained_on(tested, tmp_path):
    stored = checkpoint.read(tested("ks"), states.NAMESPACE)
    stored["Args"].upstream_ckpt = str(tmp_path / "gone.pt")
    head = changed(tested("ks"), tmp_path, Args=stored["Args"])
    with pytest.raises(
        ValueError, match=r"was trained on .*gone\.pt, which is not there; give .*-k"
    ):
        TrainedHead(head)
    moved = shutil.copy(tiny_checkpoint(), tmp_path / "moved.pt")
    assert TrainedHead(head, ckpt=str(moved)).ckpt == str(moved)
    stored["Args"].upstream, stored["Args"].upstream_ckpt = "fbank", None
    with pytest.raises(ValueError, match=r"is of fbank, without a file; leave -k out"):
        TrainedHead(changed(tested("ks"), tmp_path, Args=stored["Args"]), ckpt=str(moved))
    head = changed(tested("ks"), tmp_path)
    other = save_checkpoint(tmp_path / "other.pt", seed=2)
    with pytest.raises(ValueError, match=r"other\.pt: another encoder \(fingerprint .*\) than"):
        TrainedHead(head, ckpt=str(other))


def test_a_head_of_before_takes_its_labels_from_the_corpus(tested, tmp_path):
    config = checkpoint.read(tested("ic"), states.NAMESPACE)["Config"]
    head = changed(tested("ic"), tmp_path, Labels=None)
    known = TrainedHead(tested("ic")).labels
    assert set(known) == set(labels.INTENT) and TrainedHead(head).labels == known
    config["downstream_expert"]["datarc"]["file_path"] = "/gone"
    head = changed(head, tmp_path, Config=config)
    with pytest.raises(ValueError, match=r"not say what its outputs are called.*--root DIR"):
        TrainedHead(head)
    assert TrainedHead(head, root=corpus("ic")).labels == known
    keywords = changed(tested("ks"), tmp_path, Labels=None)
    assert TrainedHead(keywords).labels == TrainedHead(tested("ks")).labels


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"Labels": {"label": ["yes", "no"]}}, "has 12 outputs, and names of 2; give"),
        ({"Labels": {"symbol": ["a"] * 12}}, "its outputs have no names"),
        ({"Labels": {"label": [1] * 12}}, "its outputs have no names"),
        ({"Config": None}, "not an s3prl checkpoint"),
        ({"Downstream": {"projector.weight": torch.zeros(3, 3)}}, "not those of its config"),
    ],
)
def test_a_damaged_head_is_named(tested, tmp_path, entries, says):
    head = changed(tested("ks"), tmp_path, **entries)
    with pytest.raises(ValueError, match=rf"{re.escape(str(head))}.*{says}"):
        TrainedHead(head)


def test_what_is_no_head_is_named(tested, tmp_path):
    with pytest.raises(
        ValueError, match=r"holds no head; give the folder of an experiment, as run"
    ):
        TrainedHead(tmp_path)
    with pytest.raises(ValueError, match=r"holds no head; .*such as .*/exp$"):
        TrainedHead(tested("ks").parent.parent)
    with pytest.raises(ValueError, match=r"^/gone\.ckpt: no such checkpoint"):
        TrainedHead("/gone.ckpt")
    with pytest.raises(ValueError, match=rf"^{tiny_checkpoint()}: not an s3prl checkpoint"):
        TrainedHead(tiny_checkpoint())
    with pytest.raises(ValueError, match=r"^top 2: a head of asr gives one text"):
        predict(tested("asr"), some("asr"), top=2)
    with pytest.raises(ValueError, match=r"--out .*: a folder; give a file, such as .*said\.csv"):
        predict(tested("ks"), some("ks"), out=tmp_path)
    stored = checkpoint.read(tested("ks"), states.NAMESPACE)
    stored["Config"]["downstream_expert"]["datarc"]["gain"] = "loud"
    with pytest.raises(ValueError, match=r"datarc\.gain: 'loud'; expected decibels"):
        TrainedHead(changed(tested("ks"), tmp_path, Config=stored["Config"]))
    stored = checkpoint.read(tested("ks"), states.NAMESPACE)
    stored["Args"].downstream, stored["Config"]["superb"]["code"] = "diarization", "sd"
    other = changed(tested("ks"), tmp_path, Args=stored["Args"], Config=stored["Config"])
    with pytest.raises(
        ValueError, match=r"a head of sd, of which there is no label or text to say"
    ):
        TrainedHead(other)


def test_from_python(tested):
    files = some("ks")
    rows = predict(tested("ks"), files, top=2)
    head = mt4ssl.load_head(tested("ks").parent, device="cpu")
    assert (head.task, head.encoder) == ("ks", str(tiny_checkpoint()))
    assert head.labels["label"][:2] == ["yes", "no"] and "ks" in repr(head)
    for (_, wanted), found in zip(rows, head.predict(files, top=2), strict=True):
        assert (found.text, found.others[0][0]) == (wanted.text, wanted.others[0][0])
        assert found.confidence == pytest.approx(wanted.confidence, rel=1e-4)
    with pytest.raises(ValueError, match=r"^top 0: give 1 or more"):
        head.predict(files, top=0)
    samples, rate = soundfile.read(files[0], dtype="float32")
    assert head.predict((samples, rate)).text == rows[0][1].text


def test_classes_and_symbols():
    logits = torch.tensor([0.0, 1.0, 3.0, 0.5])
    said = classify({"label": ["a", "b", "c", "d"]}, logits, top=9)
    assert (said.text, said.slots) == ("c", ()) and len(said.others) == 3
    assert said.confidence == pytest.approx(float(logits.softmax(0)[2]))
    names = ["<pad>", "<eos>", "<unk>", " ", *"PLAYNOW", "B-who ", " E-who", "B-it ", " E-it"]
    text = ["P", "P", "L", "<pad>", "A", "Y", " ", "B-who ", "A", "<pad>", "A", " E-who", " ", "N"]
    text += ["<eos>", "O", "W", "B-it "]
    frames = torch.full((len(text), len(names)), -5.0)
    frames[range(len(text)), [names.index(symbol) for symbol in text]] = 5.0
    said = transcribe("ctc", "character-slot", {"symbol": names}, frames)
    assert (said.text, said.slots) == ("PLAY AA NOW", (("who", "AA"),))
    from s3prl.downstream.ctc import metric

    raw = "PLAY B-who AA E-who NOW"
    assert metric.parse(raw, "")[1:2] + metric.parse(raw, "")[3:] == (said.text, "AA:who")
    silent = transcribe("asr", "", {"symbol": ["<s>", "<pad>", "</s>", "A"]}, torch.eye(4)[[0, 2]])
    assert (silent.text, silent.confidence) == ("", None)
    rows = [("a.wav", said), ("b.wav", silent)]
    assert formats.written(rows, "csv", "text").splitlines()[2] == "b.wav,,,"
    assert json.loads(formats.written(rows, "jsonl", "text").splitlines()[1])["confidence"] is None
    assert formats.written(rows, "table", "text").splitlines()[-1].split() == ["b.wav", "-"]
