import json
import tarfile

import numpy as np
import pytest
import soundfile

from mt4ssl_core.data.audio import load_wave
from mt4ssl_core.data.batch import BatchReader
from mt4ssl_core.data.labels import LabelStore
from mt4ssl_core.data.manifest import open_manifest
from mt4ssl_core.data.shards import shard_folder, shard_writer
from mt4ssl_core.data.shards.shard_folder import ShardCuts
from mt4ssl_core.data.shards.shard_index import ShardIndex
from mt4ssl_core.data.shards.shard_labels import ShardLabels
from mt4ssl_core.data.shards.shard_writer import shard
from mt4ssl_core.data.tsv import TsvRow, write_tsv
from mt4ssl_core.files import write_json
from mt4ssl_core.labelling import utterances
from mt4ssl_core.labelling.kmeans_fit import fit_corpus
from mt4ssl_core.labelling.kmeans_label import label_corpus
from mt4ssl_core.settings.frames import num_frames

SMALL = 0.1  # MB of a tar: a few utterances


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """20 files of 16-bit noise of 0.3 to 1 s in two folders, labelled at random."""
    root = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    rows, lines = [], []
    for number in range(20):
        size = int(rng.integers(4_800, 16_000))
        path = root / "audio" / f"s{number // 10}" / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, rng.integers(-9000, 9000, size, dtype=np.int16), 16_000)
        rows.append(TsvRow(path.relative_to(root / "audio").as_posix(), path, size))
        lines.append(" ".join(map(str, rng.integers(0, 7, num_frames(size)))))
    write_tsv(root / "train.tsv", root / "audio", rows)
    (root / "train.km").write_text("\n".join(lines) + "\n")
    (root / "dict.km.txt").write_text("".join(f"{label} 1\n" for label in range(7)))
    return root


@pytest.fixture(scope="module")
def shards(corpus, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "shards"
    shard(corpus / "train.tsv", out, labels=corpus / "train.km", shard_mb=SMALL)
    return out


@pytest.fixture
def copy(shards, tmp_path):
    """A copy that may be spoiled."""
    out = tmp_path / "shards"
    out.mkdir()
    for path in shards.iterdir():
        (out / path.name).write_bytes(path.read_bytes())
    return out


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def opened(folder):
    cuts = open_manifest(folder, min_seconds=0.1).cuts
    assert isinstance(cuts, ShardCuts)
    return cuts


def test_shards_give_what_the_list_gives(corpus, shards):
    listed = open_manifest(corpus / "train.tsv", min_seconds=0.1)
    found = open_manifest(shards, min_seconds=0.1)
    assert found.hours == pytest.approx(listed.hours) and not found.skipped
    cuts = {cut.id: cut for cut in found.cuts}
    assert cuts.keys() == {cut.id for cut in listed.cuts} and list(cuts) != sorted(cuts)
    store, labels = LabelStore.open(corpus / "train.km"), ShardLabels.of(found.cuts, 7, 50.0)
    store.check_cuts(found.cuts)  # they may also be used with another .km of the same audio
    for cut in listed.cuts:
        wave = load_wave(cut)
        assert np.array_equal(load_wave(cuts[cut.id]), wave)
        frames = num_frames(len(wave))
        assert np.array_equal(labels.of_cut(cuts[cut.id], frames), store.frames(cut.id, frames))
    hashes = dict(zip((cut.id for cut in listed.cuts), listed.cuts.hashes(), strict=True))
    assert [hashes[id] for id in cuts] == list(found.cuts.hashes())
    for some in (found.cuts, found.cuts.take(np.array([2, 5, 6]))):
        ids = [some.id(place) for place in range(len(some))]
        assert b"".join(some.id_bytes()) == b"".join(id.encode() + b"\0" for id in ids)
        assert ids == [cut.id for cut in some]
    assert ids == [list(cuts)[place] for place in (2, 5, 6)]


def test_a_shard_is_a_tar_that_others_read(shards):
    facts = json.loads((shards / "shards.json").read_text())
    tars = sorted(shards.glob("*.tar"))
    assert len(tars) == facts["shards"] > 2 and facts["utterances"] == 20 and facts["classes"] == 7
    with tarfile.open(tars[1]) as archive:
        names = archive.getnames()
        assert names[:3] == ["000001000000.json", "000001000000.km", "000001000000.flac"]
        about = json.load(archive.extractfile(names[0]))
        samples, rate = soundfile.read(archive.extractfile(names[2]))
        assert rate == 16_000 and about["samples"] == len(samples) and about["id"].endswith(".wav")
    assert all(path.with_suffix(".index").is_file() for path in tars)


def test_opus_and_the_files_as_they_are(tmp_path):
    audio = tmp_path / "audio"
    audio.mkdir()
    rng = np.random.default_rng(1)
    soundfile.write(audio / "a.flac", rng.normal(0, 0.1, (8_000, 2)), 8_000)
    soundfile.write(audio / "b.ogg", rng.normal(0, 0.1, 24_000), 16_000)
    for format in ("opus", "as-is"):
        shard(audio, tmp_path / format, format=format)
        for cut in opened(tmp_path / format):
            whole = load_wave(audio / cut.id)
            assert len(load_wave(cut)) == len(whole)
            assert format == "opus" or np.array_equal(load_wave(cut), whole)
    with tarfile.open(tmp_path / "as-is" / "shard-000000.tar") as archive:
        kept = {name.split(".")[1] for name in archive.getnames()}
    assert kept == {"json", "flac", "ogg"}


def test_what_is_too_loud_for_16_bits_is_said(tmp_path, capsys):
    (tmp_path / "audio").mkdir()
    for name, loudest in (("a", 1.5), ("b", 1.0)):
        soundfile.write(
            tmp_path / "audio" / f"{name}.wav", np.linspace(-1, loudest, 8_000), 16_000, "FLOAT"
        )
    shard(tmp_path / "audio", tmp_path / "out")
    assert "clipped: 1 utterances are louder than 16 bits hold" in capsys.readouterr().out


def test_an_interruption_costs_one_tar(corpus, shards, tmp_path, monkeypatch):
    whole, count, real = contents(shards), [], shard_writer.encoded

    def interrupted(cut, format):
        count.append(1)
        if len(count) == 14:
            raise KeyboardInterrupt
        return real(cut, format)

    again = {"labels": corpus / "train.km", "shard_mb": SMALL}
    monkeypatch.setattr(shard_writer, "encoded", interrupted)
    with pytest.raises(KeyboardInterrupt):
        shard(corpus / "train.tsv", tmp_path / "out", **again)
    there = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.tar")}
    assert 0 < len(there) < len(list(shards.glob("*.tar")))
    with pytest.raises(ValueError, match="not finished; give the same command again"):
        open_manifest(tmp_path / "out", min_seconds=0.1)
    shard(corpus / "train.tsv", tmp_path / "out", **again)
    assert all(path.stat().st_mtime_ns == time for path, time in there.items())
    assert contents(tmp_path / "out") == whole


def test_what_is_there_already_and_what_is_of_another_job(corpus, copy, capsys):
    before = contents(copy)
    shard(corpus / "train.tsv", copy, labels=corpus / "train.km", shard_mb=SMALL)
    assert "there already" in capsys.readouterr().out and contents(copy) == before
    with pytest.raises(ValueError, match="another seed are there; give a new folder"):
        shard(corpus / "train.tsv", copy, labels=corpus / "train.km", shard_mb=SMALL, seed=1)
    with pytest.raises(ValueError, match=r"holds other files and no shards\.job\.json; give"):
        shard(corpus / "train.tsv", corpus)
    with pytest.raises(ValueError, match="unknown; use flac, opus, wav, as-is"):
        shard(corpus / "train.tsv", copy, format="mp3")


def test_audio_that_cannot_be_read_is_named_again_after_an_interruption(corpus, tmp_path, capsys):
    audio = tmp_path / "audio"
    audio.mkdir()
    for path in (corpus / "audio" / "s0").iterdir():
        (audio / path.name).write_bytes(path.read_bytes())
    rows = [TsvRow(path.name, path, soundfile.info(path).frames) for path in audio.iterdir()]
    write_tsv(tmp_path / "a.tsv", audio, rows)
    (audio / "5.wav").write_bytes((audio / "5.wav").read_bytes()[:200])
    with pytest.raises(ValueError, match=r"1 of 10 files could not be used.*5\.wav"):
        shard(tmp_path / "a.tsv", tmp_path / "out", shard_mb=SMALL, max_skipped=0)
    with pytest.raises(ValueError, match=r"5\.wav"):
        shard(tmp_path / "a.tsv", tmp_path / "strict", shard_mb=SMALL, strict=True)
    capsys.readouterr()
    shard(tmp_path / "a.tsv", tmp_path / "out", shard_mb=SMALL)
    said = capsys.readouterr().out
    assert f"skipped {audio}/5.wav" in said and "9 utterances" in said
    assert len(opened(tmp_path / "out")) == 9


def test_an_index_that_is_lost_or_damaged_is_made_again(copy, monkeypatch):
    ids = [cut.id for cut in opened(copy)]
    columns = {name: column.copy() for name, column in opened(copy).index.columns.items()}
    (copy / "shard-000000.index").write_bytes(b"no index")
    (copy / "shard-000001.index").unlink()
    (copy / "shards.index").unlink()
    made = opened(copy)
    assert [cut.id for cut in made] == ids and (copy / "shards.index").is_file()
    assert all(np.array_equal(made.index.columns[name], columns[name]) for name in columns)
    monkeypatch.setattr(shard_folder, "scanned", None)
    assert [cut.id for cut in opened(copy)] == ids
    index = ShardIndex.load(copy / "shards.index")
    index.columns["audio"] = index.columns["audio"] + 10**9
    index.save(copy / "shards.index")
    with pytest.raises(ValueError, match=r"shards\.index: damaged"):
        ShardIndex.load(copy / "shards.index")


def test_tars_that_are_cut_short_or_missing_are_named(copy):
    tar = copy / "shard-000001.tar"
    content = tar.read_bytes()
    tar.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"shard-000001\.tar: truncated"):
        opened(copy)
    tar.unlink()
    with pytest.raises(ValueError, match=r"tars .* but shards.json counts"):
        opened(copy)


def entry(name, size=0, kind=tarfile.REGTYPE):
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = size, kind, "/etc/passwd"
    return info.tobuf(tarfile.GNU_FORMAT)


def filled(content):
    return content + bytes(-len(content) % 512)


META = json.dumps({"id": "a", "samples": 16_000}).encode()
ALIEN = json.dumps({"id": "\ud800", "samples": 16_000}).encode()  # text that no file can hold
LONG = json.dumps({"id": "a", "samples": 10**30}).encode()


@pytest.mark.parametrize(
    ("hostile", "said"),
    [
        (entry("../../x.json", 4) + b"{}  ", "expected KEY.SUFFIX, no folders"),
        (entry("/etc/x.json", 4) + b"{}  ", "expected KEY.SUFFIX, no folders"),
        (entry("a.json", kind=tarfile.SYMTYPE), "is no plain file"),
        (entry("a.json", kind=tarfile.FIFOTYPE), "is no plain file"),
        (entry("x" * 300 + ".json", 4), "is no plain file"),  # a GNU header of a long name
        (entry("a.json", 1 << 40), "truncated: a.json has 1,099,511,627,776 bytes"),
        (entry("a.flac", 4) + b"fLaC", "no a.json before a.flac"),
        (entry("a.json", 4) + b"[1] ", "should say the id and the samples"),
        (entry("a.json", len(LONG)) + LONG, "should say the id and the samples"),
        (entry("a.json", 100_000) + b"[" * 100_000, "should say the id and the samples"),
        (entry("a.json", len(META)) + META, "truncated: its end is missing"),
        (entry("a.json", len(META)) + filled(META) + bytes(1024), "no audio of a; "),
        (2 * (entry("a.json", len(META)) + filled(META)), "no audio of a before a.json"),
        (
            entry("a.json", len(META)) + filled(META) + 2 * (entry("a.km", 1) + filled(b"1")),
            "a.km is there twice",
        ),
        (entry("a.json", len(ALIEN)) + ALIEN, "should say the id and the samples"),
        (b"\1" * 512, "no member of a tar is there"),
    ],
)
def test_a_hostile_tar_is_refused_by_name(copy, hostile, said):
    for path in copy.glob("*.index"):
        path.unlink()
    (copy / "shard-000001.tar").write_bytes(hostile + bytes(-len(hostile) % 512))
    with pytest.raises(ValueError, match=r"shard-000001\.tar") as error:
        opened(copy)
    assert said in str(error.value)


def test_a_tar_that_is_there_twice_is_refused(copy):
    for path in copy.glob("*.index"):
        path.unlink()
    one, other = copy / "shard-000000.tar", copy / "shard-000001.tar"
    other.write_bytes(one.read_bytes())
    with pytest.raises(
        ValueError, match=r"shard-000001\.tar: '.*' is in shard-000000\.tar already"
    ):
        opened(copy)


@pytest.mark.parametrize(
    "about",
    [{"next": 10**6}, {"next": 1.5}, {"skipped": [[1, 2]]}, {"skipped": [["a", "b"]]},
     {"skipped": None}, {"clipped": "no"}, {"first": True}],
)  # fmt: skip
def test_a_part_whose_index_says_other_things_is_written_again(corpus, copy, about):
    whole = contents(copy)
    write_json(copy / "shards.job.json", json.loads(whole["shards.json"])["request"])
    (copy / "shards.json").unlink()
    first = ShardIndex.load(copy / "shard-000000.index")
    first.about |= about
    first.save(copy / "shard-000000.index")
    shard(corpus / "train.tsv", copy, labels=corpus / "train.km", shard_mb=SMALL)
    assert contents(copy) == whole


@pytest.mark.parametrize("text", ["[]", '{"request": []}', '{"classes": true}', "null"])
def test_facts_of_another_form_are_refused(corpus, copy, text):
    for name in ("shards.json", "shards.job.json"):
        (copy / name).write_text(text)
        with pytest.raises(ValueError, match=r"should say|not finished|another format"):
            opened(copy)
        with pytest.raises(ValueError, match=r"shards of another format, .*; give a new folder"):
            shard(corpus / "train.tsv", copy, labels=corpus / "train.km", shard_mb=SMALL)
        (copy / name).unlink()


def test_damaged_members_are_skipped_by_name(copy):
    cuts = opened(copy)
    with open(cuts.index.tars[0], "r+b") as file:
        for name, place, shift, bad in (
            ("audio", 0, 30, b"\xff" * 200),
            ("audio", 1, -512, b"\xff" * 100),  # the header before it
            ("labels", 2, 0, b"x"),
            ("labels", 3, 0, b"9"),
        ):
            file.seek(int(cuts.index.columns[name][place]) + shift)
            file.write(bad)
    labels = ShardLabels.of(cuts, 7, 50.0)
    reader = BatchReader(labels, False, 1e-5, 0, None, strict=False)
    batch = reader.read([cuts[i] for i in range(5)], 0)
    assert batch.ids == [cuts.id(4)] and len(batch.skipped) == 4
    for number, skipped in enumerate(batch.skipped):
        assert skipped.name == f"{cuts.index.tars[0]} (cut {cuts.id(number)})"
    reasons = [skipped.reason for skipped in batch.skipped]
    assert "no member of a tar" in reasons[1]
    assert all("no class ids below 7" in reason for reason in reasons[2:])
    with pytest.raises(ValueError, match=r"shard-000000\.tar"):
        BatchReader(labels, False, 1e-5, 0, None, strict=True).read([cuts[0]], 0)


def test_labels_that_do_not_fit_a_run_are_refused(corpus, shards, tmp_path):
    cuts = opened(shards)
    with pytest.raises(ValueError, match="labels of 7 classes, but 100 are configured"):
        ShardLabels.of(cuts, 100, 50.0)
    with pytest.raises(ValueError, match=r"leave data\.label_rate out"):
        ShardLabels.of(cuts, 7, 100.0)
    shard(corpus / "train.tsv", tmp_path / "plain")
    with pytest.raises(ValueError, match="20 utterances have no labels"):
        ShardLabels.of(opened(tmp_path / "plain"), 7, 50.0)


def test_kmeans_and_extract_take_shards_for_audio(corpus, shards, tmp_path):
    model = fit_corpus(shards, tmp_path / "km.safetensors", k=4, device="cpu", progress=False)
    listed = fit_corpus(
        corpus / "train.tsv", tmp_path / "km2.safetensors", k=4, device="cpu", progress=False
    )
    assert model.meta["frames"] == listed.meta["frames"]
    stats = label_corpus(
        tmp_path / "km.safetensors", shards, tmp_path / "labels", device="cpu", progress=False
    )
    assert stats["utterances"] == 20
    store = LabelStore.open(tmp_path / "labels" / "train.km")
    store.check_cuts(opened(shards))  # data.train=SHARDS data.labels=labels/train.km
    found, _ = utterances.find([shards], strict=True)
    assert {one.name for one in found} == {cut.id for cut in opened(shards)}
