import json
import pickle
import tracemalloc

import numpy as np
import pytest
import soundfile

from mt4ssl_core.config import DataConfig
from mt4ssl_core.data import audio_index, columns, label_lines, list_files
from mt4ssl_core.data.audio_index import AudioIndex, IndexedCuts
from mt4ssl_core.data.columns import Columns
from mt4ssl_core.data.cuts import ListedCuts, id_hash
from mt4ssl_core.data.labels import LabelStore, write_dict
from mt4ssl_core.data.loader import PretrainLoader
from mt4ssl_core.data.manifest import Manifest, open_manifest, split_valid
from mt4ssl_core.data.tsv import TsvRow, write_tsv
from mt4ssl_core.files import sha256_of
from mt4ssl_core.settings.frames import num_frames


@pytest.fixture(autouse=True)
def everything_is_kept(monkeypatch):
    monkeypatch.setattr(columns, "KEPT_FROM", 0)


@pytest.fixture
def corpus(tmp_path):
    """60 files with labels 0, 1, 2, ... in each; the second half of the list is shuffled."""
    rng = np.random.default_rng(0)
    numbers = [*range(30), *rng.permutation(np.arange(30, 60))]
    rows = []
    for number in numbers:
        path = tmp_path / f"ü{number}.wav"
        soundfile.write(path, np.full(int(rng.integers(800, 3200)), 0.1), 16_000)
        rows.append(TsvRow(path.name, path, soundfile.info(path).frames))
    write_tsv(tmp_path / "x.tsv", tmp_path, rows)
    lines = (" ".join(map(str, range(num_frames(row.num_samples)))) for row in rows)
    (tmp_path / "x.km").write_text("\n".join(lines) + "\n")
    return tmp_path / "x.tsv"


def loader(manifest, labels=None, **sizes):
    cfg = DataConfig(train="-", workers=0, max_seconds=0.1, batch_seconds=0.5, **sizes)
    return PretrainLoader(manifest, labels, cfg, normalize=False, seed=1)


def as_list(manifest):
    return Manifest(ListedCuts(manifest.cuts), manifest.hours)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3])
def test_an_index_gives_what_a_list_gives(corpus, share):
    for manifest in split_valid(open_manifest(corpus, min_seconds=0.06), share):
        listed = as_list(manifest)
        assert [cut.id for cut in listed.cuts] == list(
            map(manifest.cuts.id, range(len(listed.cuts)))
        )
        assert manifest.cuts.samples.tolist() == listed.cuts.samples.tolist()
        for seed in (0, 3):
            assert manifest.cuts.hashes(seed).tolist() == listed.cuts.hashes(seed).tolist()
        ours, theirs = loader(manifest), loader(listed)
        assert ours.fingerprint == theirs.fingerprint
        plans = [[batch.ids for batch in one.batches(2)] for one in (ours, theirs)]
        assert plans[0] == plans[1]


def test_a_split_of_an_index_is_that_of_a_list(corpus):
    manifest = open_manifest(corpus, min_seconds=0.06)
    pairs = zip(split_valid(manifest, 0.2), split_valid(as_list(manifest), 0.2), strict=True)
    for indexed, listed in pairs:
        assert [cut.id for cut in indexed.cuts] == [cut.id for cut in listed.cuts]
        assert indexed.hours == listed.hours


@pytest.mark.parametrize("same_hash", [False, True])
def test_ids_are_found(corpus, monkeypatch, same_hash):
    if same_hash:

        class Constant:
            def copy(self):
                return self

            def update(self, data):
                pass

            def digest(self):
                return b"\1" * 8

        monkeypatch.setattr(audio_index, "blake2b", lambda *args, **kwargs: Constant())
        monkeypatch.setattr(audio_index, "id_hash", lambda id: int.from_bytes(b"\1" * 8))
    for index in (AudioIndex.open(corpus), pickle.loads(pickle.dumps(AudioIndex.open(corpus)))):
        assert [index.find(index.id(row)) for row in range(60)] == list(range(60))
        assert index.find("ü60.wav") == index.find("") == -1
        if not same_hash:
            wanted = np.array([id_hash("none"), index.hashes[7]], dtype=np.uint64)
            assert index.find_all(wanted).tolist() == [-1, 7]


def test_one_process_maps_a_list_once(corpus):
    index = AudioIndex.open(corpus)
    assert AudioIndex.open(corpus) is index
    with open(corpus, "a") as file:
        file.write("ü1/../ü1.wav\t900\n")
    assert len(AudioIndex.open(corpus)) == 61 and len(index) == 60


def test_a_name_that_is_there_twice_is_named(corpus):
    with open(corpus, "a") as file:
        file.write("ü3.wav\t900\nü2.wav\t900\n")
    with pytest.raises(ValueError, match=r"x\.tsv:62: ü3\.wav is already on line 5; remove"):
        AudioIndex.open(corpus)


def test_a_file_that_is_gone_since_is_named(corpus):
    open_manifest(corpus, min_seconds=0.06)
    (corpus.parent / "ü17.wav").unlink()
    with pytest.raises(ValueError, match=r"names .*ü17\.wav, which does not exist"):
        open_manifest(corpus, min_seconds=0.06)


def test_a_file_that_is_mended_since_is_used(corpus):
    path = corpus.with_name("ü7.wav")
    whole = path.read_bytes()

    def reason():
        return dict(open_manifest(corpus, min_seconds=0.06).skipped).get(str(path), "")

    path.unlink()
    path.mkdir()
    assert "a folder, expected a file" in reason()
    path.rmdir()
    with pytest.raises(ValueError, match=r"x\.tsv: names .*ü7\.wav, which does not exist"):
        reason()
    path.write_bytes(whole)
    assert "folder" not in reason()


def test_files_and_labels_are_looked_at_once(corpus, monkeypatch):
    before = LabelStore.open(corpus.with_suffix(".km"))
    open_manifest(corpus, min_seconds=0.06)

    def never(*args):
        raise AssertionError

    monkeypatch.setattr(list_files, "_look", never)
    monkeypatch.setattr(audio_index, "read_rows", never)
    monkeypatch.setattr(label_lines, "line_offsets", never)
    manifest = open_manifest(corpus, min_seconds=0.06)
    labels = LabelStore.open(corpus.with_suffix(".km"))
    assert labels.num_classes == before.num_classes and len(labels) == 60
    for batch in loader(manifest, labels).batches(0):
        assert (batch.labels[:, 0] >= 0).all()
    for id in labels:
        assert labels[id].tolist() == before[id].tolist() == list(range(len(labels[id])))


def test_labels_of_another_list_in_another_order(corpus):
    (corpus.parent / "other").mkdir()
    lines = corpus.read_text().splitlines()
    other = corpus.parent / "other" / "y.tsv"
    other.write_text("\n".join([lines[0], *lines[:20:-1], *lines[1:5]]) + "\n")
    manifest, labels = (
        open_manifest(other, min_seconds=0.06),
        LabelStore.open(corpus.with_suffix(".km")),
    )
    for batch in loader(manifest, labels).batches(0):
        assert all(len(labels[id]) >= 2 for id in batch.ids)
    other.write_text("\n".join([*lines, "./ü1.wav\t9999"]) + "\n")
    with pytest.raises(ValueError, match=r"1 utterance\(s\) have no labels, first \./ü1\.wav"):
        loader(open_manifest(other, min_seconds=0.06), labels)


def test_what_was_found_in_labels_is_still_asked_for(corpus):
    km = corpus.with_suffix(".km")
    classes = LabelStore.open(km).num_classes
    with pytest.raises(ValueError, match=rf"label '{classes - 1}' is beyond the {classes - 1} cla"):
        LabelStore.open(km, classes - 1)
    km.with_suffix(".stats.json").write_text(json.dumps({"km_sha256": sha256_of(km)}))
    LabelStore.open(km)
    km.with_suffix(".stats.json").write_text(json.dumps({"km_sha256": "0" * 64}))
    with pytest.raises(ValueError, match="its SHA-256 is not the one"):
        LabelStore.open(km)
    km.with_suffix(".stats.json").unlink()
    write_dict(corpus.with_name("dict.km.txt"), 2)
    with pytest.raises(ValueError, match=r"x\.km:1: label '2' is beyond the 2 classes"):
        LabelStore.open(km)


def test_memory_of_an_utterance(tmp_path, monkeypatch):
    """At most 200 bytes each at the peak, with a kept index and the batches of an epoch."""
    monkeypatch.setattr(list_files, "_look", lambda index: Columns({}, {"problems": {}}))
    monkeypatch.setattr(list_files, "_problem", lambda path: "")
    count = 40_000
    lengths = np.random.default_rng(0).integers(32_000, 250_000, count)
    rows = (f"{n % 97}/{n:08d}.flac\t{length}\n" for n, length in enumerate(lengths))
    (tmp_path / "x.tsv").write_text("/nowhere\n" + "".join(rows))
    frames = num_frames(lengths) // 50
    (tmp_path / "x.km").write_text("".join("7 " * n + "\n" for n in frames))

    def start():
        manifest, _ = split_valid(open_manifest(tmp_path / "x.tsv", min_seconds=1), 0.01)
        labels = LabelStore.open(tmp_path / "x.km", label_rate=1)
        found = PretrainLoader(
            manifest, labels, DataConfig(train="-", workers=0), normalize=False, seed=1
        )
        assert found.fingerprint and isinstance(manifest.cuts, IndexedCuts)
        return found, found.plan(0)

    start()
    peaks = []
    for _ in range(3):  # other threads of the test session may allocate meanwhile
        tracemalloc.start()
        try:
            start()
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    peak = min(peaks)
    mapped = sum(file.stat().st_size for file in tmp_path.glob(".x.*"))
    assert (peak + mapped) / count < 200
