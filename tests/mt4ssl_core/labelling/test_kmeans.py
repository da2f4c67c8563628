import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import ranks
import soundfile
import torch
from safetensors.torch import save_file
from superb_data import tiny_checkpoint

from mt4ssl_core.config import EncoderConfig
from mt4ssl_core.data.audio import load_wave
from mt4ssl_core.data.labels import LabelStore, read_dict
from mt4ssl_core.data.manifest import open_manifest
from mt4ssl_core.data.mfcc import mfcc
from mt4ssl_core.data.tsv import TsvRow, read_tsv, write_tsv
from mt4ssl_core.labelling import sample
from mt4ssl_core.labelling.kmeans_fit import fit_corpus
from mt4ssl_core.labelling.kmeans_label import label_corpus, label_stats
from mt4ssl_core.labelling.kmeans_model import KMeans
from mt4ssl_core.locks import lock
from mt4ssl_core.model.encoder import Encoder
from mt4ssl_core.settings.frames import num_frames


def tone(samples: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    pitch = random.uniform(100, 3000)
    wave = 0.3 * np.sin(2 * np.pi * pitch * np.arange(samples) / 16000)
    return wave + 0.01 * random.standard_normal(samples)


@pytest.fixture
def corpus(tmp_path):
    folder = tmp_path / "audio"
    (folder / "sub").mkdir(parents=True)
    for number in range(12):
        path = folder / ("sub" if number % 2 else ".") / f"{number:02}.wav"
        soundfile.write(path, tone(4000 + 777 * number, number), 16000)
    return folder


@pytest.fixture
def model(corpus, tmp_path):
    path = tmp_path / "km.safetensors"
    fit_corpus(corpus, path, k=6, progress=False)
    return path


def label(model, source, out, **options):
    return label_corpus(model, source, out, progress=False, **options)


def visible(folder):
    return sorted(path.name for path in folder.iterdir())


LABELS = ["dict.km.txt", "train.km", "train.stats.json", "train.tsv"]


def test_apply_gives_the_nearest_centroid():
    points, centroids = torch.randn(2500, 5), torch.randn(9, 5)
    ids = KMeans(centroids).apply(points)
    assert ids.dtype == torch.int64
    assert torch.equal(ids, torch.cdist(points, centroids).argmin(1))
    with pytest.raises(ValueError, match=r"\(3, 4\).*5 dimensions"):
        KMeans(centroids).apply(torch.zeros(3, 4))


def test_save_and_load(tmp_path):
    model = KMeans(torch.randn(4, 3), "ckpt:/a/b.pt:6", {"seed": "1"})
    model.save(tmp_path / "x" / "km.safetensors")
    loaded = KMeans.load(tmp_path / "x" / "km.safetensors")
    assert torch.equal(loaded.centroids, model.centroids)
    assert (loaded.features, loaded.meta) == (model.features, model.meta)


def test_other_files_are_no_kmeans(tmp_path):
    with pytest.raises(FileNotFoundError, match="mt4ssl kmeans fit"):
        KMeans.load(tmp_path / "none")
    (tmp_path / "text").write_text("0 1\n" * 100)
    with pytest.raises(ValueError, match=r"text: cannot be read .*kmeans fit"):
        KMeans.load(tmp_path / "text")
    save_file({"weight": torch.zeros(2, 2)}, tmp_path / "other")
    with pytest.raises(ValueError, match=r"other: a safetensors file, but not a k-means"):
        KMeans.load(tmp_path / "other")
    KMeans(torch.randn(400, 3)).save(tmp_path / "km")
    (tmp_path / "half").write_bytes((tmp_path / "km").read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"half: cannot be read .*kmeans fit"):
        KMeans.load(tmp_path / "half")


def test_fit_then_label(corpus, model, tmp_path):
    loaded = KMeans.load(model)
    assert loaded.centroids.shape == (6, 39)
    assert loaded.features == "mfcc"
    history = json.loads(loaded.meta["inertia_history"])
    assert history[-1] < history[0]

    stats = label(model, corpus, tmp_path / "out")
    assert visible(tmp_path / "out") == LABELS
    assert json.loads((tmp_path / "out/train.stats.json").read_text()) == stats
    assert read_dict(tmp_path / "out/dict.km.txt") == [str(label) for label in range(6)]
    rows = read_tsv(tmp_path / "out/train.tsv")
    assert len(rows) == 12
    assert {row.id for row in rows} >= {"00.wav", "sub/01.wav"}
    store = LabelStore.open(tmp_path / "out/train.km", 6)
    for row in rows:
        wave = load_wave(row.path)  # root + id is the file
        assert row.num_samples == len(wave)
        expected = loaded.apply(mfcc(torch.from_numpy(wave)))
        assert (store[row.id] == expected.numpy()).mean() > 0.95  # but for ties
        store.check(row.id, num_frames(row.num_samples))


def test_labels_are_those_of_the_audio_whatever_the_source_is(corpus, model, tmp_path):
    label(model, corpus, tmp_path / "a")
    label(model, tmp_path / "a/train.tsv", tmp_path / "b")
    for name in ("train.tsv", "train.km"):
        assert (tmp_path / "a" / name).read_text() == (tmp_path / "b" / name).read_text()


def test_repeats_with_the_seed(corpus, tmp_path):
    def centroids(seed, workers=2):
        path = tmp_path / "again"
        return fit_corpus(
            corpus, path, k=5, seed=seed, workers=workers, iterations=3, progress=False
        ).centroids

    assert torch.equal(centroids(1), centroids(1, workers=4))
    assert not torch.equal(centroids(1), centroids(2))


def test_sample_is_bounded(corpus, tmp_path, monkeypatch):
    total = sum(num_frames(soundfile.info(path).frames) for path in corpus.rglob("*.wav"))
    small = fit_corpus(corpus, tmp_path / "a", k=4, sample_frames=40, progress=False)
    assert small.meta["frames"] == "40"
    assert 40 <= int(small.meta["frames_seen"]) < total  # only some utterances were read
    monkeypatch.setattr(sample, "SAMPLE_BYTES", 100 * 39 * 4)
    assert fit_corpus(corpus, tmp_path / "b", k=4, progress=False).meta["frames"] == "100"
    monkeypatch.undo()
    whole = fit_corpus(corpus, tmp_path / "c", k=4, progress=False)
    assert whole.meta["frames"] == whole.meta["frames_seen"] == str(total)


def test_mini_batches_let_all_audio_count(corpus, tmp_path, capsys):
    given = {"k": 4, "sample_frames": 60, "device": "cpu"}
    sampled = fit_corpus(corpus, tmp_path / "a", **given)
    moved = fit_corpus(corpus, tmp_path / "b", mini_batch=True, **given)
    total = sum(num_frames(4000 + 777 * number) for number in range(12))
    assert int(moved.meta["frames_seen"]) + int(moved.meta["frames_streamed"]) == total
    assert sampled.meta["frames_streamed"] == "0"
    said = capsys.readouterr().out
    assert f"then moved by {moved.meta['frames_streamed']} more; 12 of 12 files" in said
    again = fit_corpus(corpus, tmp_path / "c", mini_batch=True, **given)
    assert torch.equal(moved.centroids, again.centroids)


def test_memory_never_holds_more_than_the_sample(corpus, tmp_path, monkeypatch):
    held = []

    class Watched(sample.Reservoir):
        def add(self, frames):
            super().add(frames)
            held.append((len(self.points), self._kept.nbytes))

    monkeypatch.setattr(sample, "Reservoir", Watched)
    made = fit_corpus(corpus, tmp_path / "a", k=4, sample_frames=40, progress=False)
    assert int(made.meta["frames_seen"]) > 40
    assert max(held) == (40, 40 * 39 * 4)


def test_some_utterances_are_always_drawn_and_no_more_than_needed(corpus):
    cuts = open_manifest(corpus, min_seconds=0.025).cuts
    frames = {cut.id: num_frames(round(cut.duration * 16000)) for cut in cuts}
    firsts = set()
    for seed in range(50):
        for wanted in (1, 60, 200):
            drawn = [cuts.id(place) for place in sample.drawn(cuts, wanted, seed)]
            assert drawn == [id for id in frames if id in drawn]
            total = sum(frames[id] for id in drawn)
            assert wanted <= total < wanted + max(frames.values())
        firsts.add(sample.drawn(cuts, 1, seed)[0])
    assert len(firsts) == len(cuts)
    assert len(sample.drawn(cuts, 10**9, 0)) == len(cuts)


@pytest.mark.parametrize("device", ["cuda", "foo"])
def test_a_device_that_is_not_there_is_named_first(tmp_path, monkeypatch, device):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    nowhere = tmp_path / "nowhere"
    for work in (fit_corpus, lambda *a, **b: label_corpus(nowhere, *a, **b)):
        with pytest.raises(ValueError, match=f"device '{device}'"):
            work(nowhere, tmp_path / "out", device=device, progress=False)


def test_device_auto(corpus, tmp_path):
    fit_corpus(corpus, tmp_path / "km", k=3, device="auto", progress=False)
    assert label(tmp_path / "km", corpus, tmp_path / "out", device="auto")["utterances"] == 12


@pytest.mark.parametrize("wrong", [{"k": 0}, {"iterations": 0}, {"k": 50, "sample_frames": 20}])
def test_impossible_numbers(corpus, tmp_path, wrong):
    with pytest.raises(ValueError, match="expected k and iterations from 1"):
        fit_corpus(corpus, tmp_path / "km", progress=False, **wrong)
    assert not (tmp_path / "km").exists()


def test_more_clusters_than_frames(corpus, tmp_path):
    with pytest.raises(ValueError, match="cannot make 9999 clusters"):
        fit_corpus(corpus, tmp_path / "km", k=9999, progress=False)


@pytest.mark.parametrize("sound", [np.zeros, np.ones, lambda n: np.tile([0.5, -0.5], n // 2)])
def test_fewer_different_frames_than_clusters(tmp_path, sound):
    soundfile.write(tmp_path / "a.wav", sound(48000), 16000, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"only [1-9]\d? different ones, cannot make 50 clusters"):
        fit_corpus(tmp_path, tmp_path / "km", k=50, progress=False)
    assert not (tmp_path / "km").exists()


@pytest.mark.parametrize("clusters", [2, 7, 40])
def test_a_frame_has_one_label_however_frames_are_batched(clusters):
    random = torch.Generator().manual_seed(clusters)
    frames = 50 + torch.randn(700, 39, generator=random)
    model = KMeans(50 + torch.randn(clusters, 39, generator=random))
    whole = model.apply(frames)
    for size in (1, 7, 512, 699):
        assert torch.equal(torch.cat([model.apply(part) for part in frames.split(size)]), whole)


def test_bad_files_are_left_out_of_both_files_named_and_counted(corpus, model, tmp_path, capsys):
    (corpus / "02.wav").write_bytes(b"RIFF junk")
    broken = tone(4000, 1)
    broken[7] = np.nan
    soundfile.write(corpus / "04.wav", broken, 16000, subtype="FLOAT")
    stats = label_corpus(model, corpus, tmp_path / "out", max_skipped=0.2)
    assert stats["utterances"] == 10
    assert sorted(path[-6:] for path, _ in stats["skipped"]) == ["02.wav", "04.wav"]
    store = LabelStore.open(tmp_path / "out/train.km")
    assert "02.wav" not in store
    assert "04.wav" not in store
    printed = capsys.readouterr().out
    assert "skipped" in printed
    assert "2 files were skipped" in printed
    for bad in ("02.wav", "04.wav"):
        assert bad in printed
    with pytest.raises(ValueError, match=r"0[24]\.wav"):
        label(model, corpus, tmp_path / "strict", strict=True)
    assert not (tmp_path / "strict").exists() or not visible(tmp_path / "strict")


@pytest.mark.parametrize("bad", [2, 6, 12])
@pytest.mark.parametrize("late", [False, True])
def test_too_many_bad_files_write_nothing(corpus, model, tmp_path, bad, late):
    """By their headers, or found while they are read."""
    for number in range(bad):
        path = corpus / ("sub" if number % 2 else ".") / f"{number:02}.wav"
        if late:
            soundfile.write(path, np.full(8000, np.nan), 16000, subtype="FLOAT")
        else:
            path.write_bytes(b"")
    what = f"{bad} of 12 files could not be used|no usable audio"
    with pytest.raises(ValueError, match=what):
        fit_corpus(corpus, tmp_path / "again", k=3, progress=False)
    assert not (tmp_path / "again").exists()
    with pytest.raises(ValueError, match=what):
        label(model, corpus, tmp_path / "out")
    assert not (tmp_path / "out/train.km").exists()
    if bad < 12:
        assert label(model, corpus, tmp_path / "out", max_skipped=0.5)["utterances"] == 12 - bad


def test_mended_files_are_labelled_by_the_same_command(corpus, model, tmp_path):
    label(model, corpus, tmp_path / "whole")
    kept = {path: path.read_bytes() for path in (corpus / "02.wav", corpus / "04.wav")}
    for path in kept:
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"the others are kept|could not be used"):
        label(model, corpus, tmp_path / "out")
    for path, content in kept.items():
        path.write_bytes(content)
    assert label(model, corpus, tmp_path / "out")["utterances"] == 12
    stores = [LabelStore.open(tmp_path / name / "train.km") for name in ("whole", "out")]
    assert all(np.array_equal(stores[0][id], stores[1][id]) for id in stores[0])


@pytest.mark.parametrize("claim", [200_000_000, 9223372036854775807])
def test_a_claimed_length_does_not_fill_the_sample(corpus, tmp_path, claim):
    lengths = [(path.relative_to(corpus), soundfile.info(path).frames)
               for path in sorted(corpus.rglob("*.wav"))]  # fmt: skip
    rows = "".join(f"{name}\t{claim if n < 1 else frames}\n"
                   for n, (name, frames) in enumerate(lengths))  # fmt: skip
    (tmp_path / "x.tsv").write_text(f"{corpus}\n{rows}")
    made = fit_corpus(tmp_path / "x.tsv", tmp_path / "km", k=3, progress=False)
    total = sum(num_frames(frames) for _, frames in lengths[1:])
    assert made.meta["frames_seen"] == str(total)


@pytest.mark.parametrize("name", ["tab\t.wav", "line\n.wav", "bad\udcff.wav"])
def test_a_name_that_no_list_can_hold_is_skipped(corpus, model, tmp_path, name):
    (corpus / "02.wav").rename(corpus / name)
    stats = label(model, corpus, tmp_path / "out")
    assert stats["utterances"] == 11 and stats["failed"] == 1
    assert "cannot stand in a .tsv" in stats["skipped"][0][1]


@pytest.mark.parametrize("place", ["file", "labels"])
def test_a_file_size_limit_is_one_line(corpus, model, tmp_path, place):
    command = ["label", str(model), str(corpus), str(tmp_path / "o")]
    if place == "file":
        command = ["fit", str(corpus), str(tmp_path / "o"), "-k", "20"]
    script = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300));"
    script += f"from mt4ssl_cli import main; sys.exit(main({['kmeans', *command]!r}))"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith(f"mt4ssl: error: {tmp_path}/o")
    assert "File too large" in ended.stderr and "Traceback" not in ended.stderr
    assert not [path for path in tmp_path.glob("o*/[!.]*")] and not (tmp_path / "o").is_file()


def test_two_do_not_label_the_same(corpus, model, tmp_path):
    with lock(tmp_path / "out" / ".train.lock", "x"), pytest.raises(ValueError, match="in use by"):
        label(model, corpus, tmp_path / "out")


def test_names_that_are_too_long(corpus, model, tmp_path):
    with pytest.raises(ValueError, match="at most 240"):
        label(model, corpus, tmp_path / "out", name="x" * 241)
    label(model, corpus, tmp_path / "out", name="x" * 240)
    assert (tmp_path / "out" / f"{'x' * 240}.km").is_file()


def test_statistics(tmp_path):
    (tmp_path / "x.tsv").write_text("/r\na.wav\t57600000\nb.wav\t16000\n")
    (tmp_path / "x.km").write_text("0 0 1\n3\n")
    (tmp_path / "dict.km.txt").write_text("".join(f"{n} 1\n" for n in range(5)))
    stats = label_stats(tmp_path / "x.km")
    assert stats["frames"] == 4
    assert stats["hours"] == pytest.approx(1 + 1 / 3600)
    assert (stats["classes"], stats["used"]) == (5, 3)
    assert stats["top_share"] == 0.5
    assert stats["entropy_nats"] == pytest.approx(1.5 * np.log(2))


def test_any_callable_can_give_the_features(corpus, tmp_path):
    def energy(wave):
        return torch.from_numpy(wave).unfold(0, 400, 320).square().mean(1, keepdim=True)

    path = tmp_path / "km"
    assert fit_corpus(corpus, path, features=energy, k=3, progress=False).features == "callable"
    with pytest.raises(ValueError, match="fitted on a Python function"):
        label(path, corpus, tmp_path / "out")
    assert label(path, corpus, tmp_path / "out", features=energy)["used"] == 3
    with pytest.raises(ValueError, match="has 1 dimensions"):
        label(path, corpus, tmp_path / "bad", features=lambda w: mfcc(torch.from_numpy(w)))
    assert not visible(tmp_path / "bad")


def test_layer_of_an_encoder(corpus, tmp_path, monkeypatch):
    torch.manual_seed(0)
    cfg = EncoderConfig(dim=16, layers=2, heads=2, ffn_dim=16, pos_conv_groups=2)
    cfg.conv_layers = [[8, *shape] for _, *shape in cfg.conv_layers]
    encoder = Encoder(cfg).eval()
    checkpoint = tmp_path / "encoder.pt"
    checkpoint.write_bytes(b"weights")
    monkeypatch.setattr("mt4ssl_core.checkpoints.convert.load_encoder", lambda path: encoder)
    path = tmp_path / "km"
    monkeypatch.chdir(tmp_path)
    fitted = fit_corpus(corpus, path, features="ckpt:encoder.pt:2", k=3, progress=False)
    assert fitted.centroids.shape == (3, 16)
    assert fitted.features == f"ckpt:{checkpoint}:2"
    stats = label(path, corpus, tmp_path / "out")
    assert stats["utterances"] == 12 and stats["layers_counted_as"].startswith("Hugging Face")
    assert KMeans.load(path).meta["layers_counted_as"] == stats["layers_counted_as"]
    with pytest.raises(ValueError, match=r"layers 0 to 2; choose"):
        fit_corpus(corpus, path, features="ckpt:encoder.pt:3", k=3, progress=False)
    checkpoint.write_bytes(b"other weights")
    with pytest.raises(ValueError, match="changed since"):
        label(path, corpus, tmp_path / "later")


def test_hidden_states_go_through_a_store(corpus, tmp_path, monkeypatch):
    name, store = f"ckpt:{tiny_checkpoint()}:1", tmp_path / "store"
    plain = fit_corpus(corpus, tmp_path / "plain", features=name, k=3, progress=False)
    first = fit_corpus(corpus, tmp_path / "first", features=name, k=3, progress=False, store=store)
    assert torch.allclose(first.centroids, plain.centroids, atol=1e-4)
    monkeypatch.setattr(Encoder, "forward", None)  # nothing is computed any more
    again = fit_corpus(corpus, tmp_path / "again", features=name, k=3, progress=False, store=store)
    assert torch.equal(again.centroids, first.centroids)
    stats = label(tmp_path / "again", corpus, tmp_path / "out", store=store)
    assert stats["utterances"] == 12
    monkeypatch.undo()
    label(tmp_path / "plain", corpus, tmp_path / "plain labels")
    stored, computed = (
        LabelStore.open(tmp_path / folder / "train.km") for folder in ("out", "plain labels")
    )
    assert all(np.array_equal(stored[id], computed[id]) for id in stored)


def test_a_full_store_is_no_hindrance(corpus, tmp_path):
    name, store = f"ckpt:{tiny_checkpoint()}:1", tmp_path / "store"
    full = {"store": store, "store_gb": 1e-5}
    first = fit_corpus(corpus, tmp_path / "a", features=name, k=3, progress=False, **full)
    again = fit_corpus(corpus, tmp_path / "b", features=name, k=3, progress=False, store=store)
    assert torch.equal(first.centroids, again.centroids)


def test_a_store_has_no_mfcc(corpus, model, tmp_path):
    for attempt in (
        lambda: fit_corpus(corpus, tmp_path / "a", k=3, progress=False, store=tmp_path / "store"),
        lambda: label(model, corpus, tmp_path / "out", store=tmp_path / "store"),
    ):
        with pytest.raises(ValueError, match=r"hidden states of ckpt:PATH:LAYER.*leave it out"):
            attempt()


def test_labels_of_one_folder_share_their_classes(corpus, model, tmp_path):
    label(model, corpus, tmp_path / "out")
    label(model, corpus, tmp_path / "out", name="valid")
    fit_corpus(corpus, tmp_path / "seven", k=7, progress=False)
    with pytest.raises(
        ValueError, match=r"dict\.km\.txt: 6 classes for .*, but this k-means has 7"
    ):
        label(tmp_path / "seven", corpus, tmp_path / "out")
    fit_corpus(corpus, tmp_path / "six", k=6, seed=1, progress=False)
    with pytest.raises(ValueError, match=r"valid\.km: was labelled by another k-means"):
        label(tmp_path / "six", corpus, tmp_path / "out")
    (tmp_path / "out/valid.stats.json").unlink()  # nothing says where those are from
    label(tmp_path / "six", corpus, tmp_path / "out")
    label(tmp_path / "seven", corpus, tmp_path / "new")
    label(model, corpus, tmp_path / "new")  # the same name alone may be replaced
    assert len(read_dict(tmp_path / "new/dict.km.txt")) == 6
    with pytest.raises(ValueError, match="plain file name"):
        label(model, corpus, tmp_path / "out", name="../x")


SCRIPT = """
import sys, time
from mt4ssl_core.labelling import kmeans_label, sample
real, labelled = kmeans_label.KMeans.apply, []
def slow(self, features):
    if len(labelled) == 5:
        print("five", flush=True)
        time.sleep(600)
    labelled.append(features)
    return real(self, features)
kmeans_label.KMeans.apply = slow
kmeans_label.label_corpus(sys.argv[1], sys.argv[2], sys.argv[3], progress=False)
"""


def test_killed_labelling_goes_on_and_ends_the_same(corpus, model, tmp_path):
    label(model, corpus, tmp_path / "whole")
    out = tmp_path / "out"
    command = [sys.executable, "-c", SCRIPT, str(model), str(corpus), str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "five\n"
    process.kill()
    assert process.wait(300) != 0
    assert not [name for name in visible(out) if not name.startswith(".")]
    label(model, corpus, out)
    assert visible(out) == LABELS
    for name in ("train.tsv", "train.km", "dict.km.txt"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.slow
def test_several_processes_give_the_labels_of_one(corpus, model, tmp_path):
    (corpus / "sub/01.wav").write_bytes(b"not audio")
    cut = corpus / "cut.wav"
    cut.write_bytes((corpus / "00.wav").read_bytes()[:5000])
    alone = label(model, corpus, tmp_path / "alone", max_skipped=0.5)
    words = ["kmeans", "label", model, corpus, tmp_path / "two", "--device", "cpu"]
    half = tmp_path / "half.tsv"  # of which one process alone meets what is damaged
    write_tsv(half, corpus, [TsvRow(name, Path(), 4000) for name in ("00.wav", "cut.wav")])
    strict = ["kmeans", "label", model, half, tmp_path / "strict", "--device", "cpu", "--strict"]
    said, codes = ranks.together((2, [*words, "--max-skipped", "0.5"]), (2, strict))
    assert codes == [[0, 0], [2, 2]], said
    assert said.count(f"error: {cut}: ") == said.count("lost another one, which was killed") == 1, (
        said
    )
    assert "Traceback" not in said and "unexpected" not in said
    assert visible(tmp_path / "two") == visible(tmp_path / "alone") == LABELS
    for name in LABELS[:2] + LABELS[3:]:
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()
    two = json.loads((tmp_path / "two/train.stats.json").read_text())
    assert (two["utterances"], two["failed"]) == (alone["utterances"], alone["failed"])


def test_streaming_goes_on_where_it_stopped(corpus, model, tmp_path, monkeypatch):
    label(model, corpus, tmp_path / "whole")
    real, calls, limit = KMeans.apply, list[int](), 5

    def counting(self, features):
        if len(calls) == limit:
            raise KeyboardInterrupt
        calls.append(len(features))
        return real(self, features)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(KMeans, "apply", counting)
        label(model, corpus, tmp_path / "out")
    done = (tmp_path / "out/.train.km.partial").read_text().splitlines()
    assert [len(row.split()) for row in done] == calls
    calls.clear()
    limit = 1000
    monkeypatch.setattr(KMeans, "apply", counting)
    label(model, corpus, tmp_path / "out")
    assert len(calls) == 12 - 5
    for name in ("train.tsv", "train.km"):
        whole = (tmp_path / "whole" / name).read_text()
        assert (tmp_path / "out" / name).read_text() == whole


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_gives_the_same_labels(corpus, model, tmp_path):
    points = torch.randn(1000, 39)
    loaded = KMeans.load(model)
    same = loaded.apply(points) == loaded.apply(points.cuda()).cpu()
    assert same.float().mean() > 0.999


def _another_digit(text):
    at = next(place for place, byte in enumerate(text) if chr(byte).isdigit())
    return text[:at] + (b"1" if text[at : at + 1] == b"0" else b"0") + text[at + 1 :]


@pytest.mark.parametrize(
    "damage",
    [_another_digit, lambda text: text[:-1] + b" 0\n", lambda text: text.replace(b" ", b"\t", 1),
     lambda text: b"".join(reversed(text.splitlines(keepends=True)))],
)  # fmt: skip
def test_labels_that_are_not_those_written_are_named(corpus, model, tmp_path, damage):
    label(model, corpus, tmp_path / "out")
    km = tmp_path / "out" / "train.km"
    LabelStore.open(km)
    km.write_bytes(damage(km.read_bytes()))
    with pytest.raises(ValueError, match=r"train\.km: damaged, or changed .*train\.stats\.json"):
        LabelStore.open(km)
    (km.parent / "train.stats.json").unlink()  # the change was meant
    LabelStore.open(km)
