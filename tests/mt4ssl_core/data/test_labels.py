import pickle
from pathlib import Path

import numpy as np
import pytest

from mt4ssl_core.data import label_lines
from mt4ssl_core.data.audio_index import AudioIndex, IndexedCuts
from mt4ssl_core.data.labels import LabelStore, read_dict, write_dict
from mt4ssl_core.data.tsv import TsvRow, read_tsv, write_tsv

ROWS = {"a/one.flac": [0, 1, 2], "a/two.flac": [3, 3], "b c.wav": [1, 0, 3, 2]}


def write(folder: Path, km: str | None = None, classes: int | None = 4) -> Path:
    """Three utterances, with the text of the .km given."""
    rows = [TsvRow(id, folder / id, 400 + 320 * (len(row) - 1)) for id, row in ROWS.items()]
    write_tsv(folder / "train.tsv", "/data/speech", rows)
    if km is None:
        km = "".join(" ".join(map(str, row)) + "\n" for row in ROWS.values())
    (folder / "train.km").write_text(km)
    if classes is not None:
        write_dict(folder / "dict.km.txt", classes)
    return folder / "train.km"


def test_tsv_round_trip(tmp_path):
    write(tmp_path)
    rows = read_tsv(tmp_path / "train.tsv")
    assert [row.id for row in rows] == list(ROWS)
    assert rows[0].path == Path("/data/speech/a/one.flac")
    assert rows[0].num_samples == 1040
    text = (tmp_path / "train.tsv").read_text()
    assert text == "/data/speech\na/one.flac\t1040\na/two.flac\t720\nb c.wav\t1360\n"


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("", ":1:", "an empty file"),
        ("a.wav\t16000\n", ":1:", "root folder"),
        ("/root\n", ":", "no audio"),
        ("/root\na.wav\t10\nb.wav 20\n", ":3:", "b.wav 20"),
        ("/root\na.wav\tlong\n", ":2:", "long"),
        ("/root\na.wav\t-3\n", ":2:", "-3"),
        ("/root\na.wav\t10\n\nb.wav\t10\n", ":3:", "samples"),
        ("/root\na.wav\t10\nb.wav\t10\na.wav\t10\n", ":4:", "already on line 2"),
    ],
)
def test_bad_tsv_names_file_and_line(tmp_path, text, where, what):
    path = tmp_path / "x.tsv"
    path.write_text(text)
    with pytest.raises(ValueError) as error:
        read_tsv(path)
    assert f"{path}{where}" in str(error.value)
    assert what in str(error.value)


def test_binary_tsv_is_a_clear_error(tmp_path):
    (tmp_path / "x.tsv").write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(ValueError, match=r"x\.tsv: not UTF-8"):
        read_tsv(tmp_path / "x.tsv")


def test_id_with_tab_is_refused_and_leaves_nothing(tmp_path):
    with pytest.raises(ValueError, match="rename"):
        write_tsv(tmp_path / "x.tsv", "/root", [TsvRow("a\tb.wav", Path("a"), 5)])
    assert not list(tmp_path.iterdir())


def test_dict_round_trip(tmp_path):
    write_dict(tmp_path / "dict.km.txt", 3)
    assert (tmp_path / "dict.km.txt").read_text() == "0 1\n1 1\n2 1\n"
    assert read_dict(tmp_path / "dict.km.txt") == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("text", "where"),
    [("", ":"), ("0 1\n1\n", ":2:"), ("0 1\n1 x\n", ":2:"), ("a 1\na 1\n", ":2:")],
)
def test_bad_dict_names_file_and_line(tmp_path, text, where):
    path = tmp_path / "dict.km.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"dict\.km\.txt" + where):
        read_dict(path)


def test_store_returns_the_labels_of_each_utterance(tmp_path):
    store = LabelStore.open(write(tmp_path))
    assert store.num_classes == 4
    assert len(store) == 3
    assert list(store) == list(ROWS)
    for id, row in ROWS.items():
        assert id in store
        assert store[id].dtype == np.int64
        assert store[id].tolist() == row
    assert "c" not in store
    with pytest.raises(ValueError, match=r"train\.tsv: no row for 'c'"):
        store["c"]


@pytest.mark.parametrize("ending", ["\n", "", "\r\n"])
def test_line_endings(tmp_path, ending):
    store = LabelStore.open(write(tmp_path, f"0 1 2\n3 3\n1 0 3 2{ending}"))
    assert [store[id].tolist() for id in ROWS] == list(ROWS.values())


def test_number_of_classes_comes_from_dict_or_argument_or_labels(tmp_path):
    km = write(tmp_path, classes=None)
    assert LabelStore.open(km).num_classes == 4
    assert LabelStore.open(km, 7).num_classes == 7
    write_dict(tmp_path / "dict.km.txt", 9)
    assert LabelStore.open(km).num_classes == 9
    with pytest.raises(ValueError, match=r"dict\.km\.txt: 9 labels, but 7 classes"):
        LabelStore.open(km, 7)


def test_dict_in_another_order_gives_positions(tmp_path):
    km = write(tmp_path, "SIL AH\nAH T\nT\n", None)
    (tmp_path / "dict.km.txt").write_text("AH 5\nT 3\nSIL 1\n")
    store = LabelStore.open(km)
    assert [store[id].tolist() for id in ROWS] == [[2, 0], [0, 1], [1]]
    assert store.num_classes == 3


@pytest.mark.parametrize(
    ("km", "where", "what"),
    [
        ("0 1\n2 3\n", ":", "2 lines"),
        ("0 1\n2 3\n", ":", "train.tsv lists 3 utterances; b c.wav (train.tsv:4)"),
        ("0\n1\n2\n3\n", ":4:", "labels without audio"),
        ("0 1\n2 4 3\n1\n", ":2:", "'4' is beyond the 4 classes"),
        ("0 1\n2 99999999999999999999\n1\n", ":2:", "beyond the 4 classes"),
        ("0 1\n2 3\n1 x 2\n", ":3:", "'x' is not a class id"),
        ("0 1\n2 -1\n1\n", ":2:", "'-1' is not a class id"),
        ("0 1\n2 1.0\n1\n", ":2:", "'1.0' is not a class id"),
        ("0 1\n2 é\n1\n", ":2:", "'é' is not a class id"),
        ("", ":", "0 lines"),
    ],
)
def test_bad_km_names_file_line_and_remedy(tmp_path, km, where, what):
    path = write(tmp_path, km)
    with pytest.raises(ValueError) as error:
        LabelStore.open(path)
    assert f"{path}{where}" in str(error.value)
    assert what in str(error.value)
    assert "mt4ssl kmeans label" in str(error.value)


def test_label_missing_in_the_dict(tmp_path):
    km = write(tmp_path, "a b\nb\na c\n", None)
    (tmp_path / "dict.km.txt").write_text("a 1\nb 1\n")
    with pytest.raises(ValueError, match=r"train\.km:3: label 'c' is not in dict\.km\.txt"):
        LabelStore.open(km)


def many(folder: Path, per_second: float = 50, change=lambda counts: counts, n: int = 8) -> Path:
    """Utterances of 20, 27, ... frames with rows of labels at ``per_second``."""
    frames = [20 + 7 * i for i in range(n)]
    rows = [TsvRow(f"{i}.wav", Path(f"{i}.wav"), 400 + 320 * (t - 1)) for i, t in enumerate(frames)]
    write_tsv(folder / "train.tsv", "/r", rows)
    counts = change([round(t * per_second / 50) for t in frames])
    (folder / "train.km").write_text("".join(" ".join(["1"] * n) + "\n" for n in counts))
    return folder / "train.km"


def listed(km: Path) -> IndexedCuts:
    index = AudioIndex.open(km.with_suffix(".tsv"))
    return IndexedCuts(index, np.arange(len(index)))


@pytest.mark.parametrize("off", [-2, -1, 0, 1, 2])
def test_rows_within_the_tolerance(tmp_path, off):
    store = LabelStore.open(many(tmp_path, change=lambda counts: [n + off for n in counts]))
    store.check_cuts(listed(store.path))
    row = store.frames("0.wav", 20)
    assert row.shape == (20,) and row.dtype == np.int64
    assert row.tolist() == [1] * min(20, 20 + off) + [-1] * max(0, -off)


@pytest.mark.parametrize("off", [-20, -4, -3, 3, 30])
def test_one_bad_row_among_many_is_named_with_its_line(tmp_path, off):
    def third(counts):
        return [n + off * (i == 2) for i, n in enumerate(counts)]

    store = LabelStore.open(many(tmp_path, change=third))
    message = rf"train\.km:3: {34 + off} labels for 2\.wav.* 34 frames .*other audio or incomplete"
    with pytest.raises(ValueError, match=message):
        store.check_cuts(listed(store.path))


@pytest.mark.parametrize(
    ("per_second", "label_rate"), [(100, 50), (25, 50), (50, 100), (200, 50), (12.5, 50), (62, 50)]
)
def test_labels_at_another_rate_say_which(tmp_path, per_second, label_rate):
    store = LabelStore.open(many(tmp_path, per_second), label_rate=label_rate)
    known = {62: "62"}.get(per_second, f"{per_second:g}")
    with pytest.raises(ValueError, match=rf"train\.km:1: .*set data\.label_rate={known}"):
        store.check_cuts(listed(store.path))
    right = LabelStore.open(tmp_path / "train.km", label_rate=per_second)
    right.check_cuts(listed(right.path))


@pytest.mark.parametrize("change", [lambda c: c[::-1], lambda c: [*c[1:], c[0]]])
def test_lines_in_another_order_than_the_list(tmp_path, change):
    store = LabelStore.open(many(tmp_path, change=change))
    with pytest.raises(
        ValueError, match=r"8 of 8 rows .*in different orders or of different audio"
    ):
        store.check_cuts(listed(store.path))


@pytest.mark.parametrize(
    ("rate", "labels", "expected"),
    [  # fairseq: targets[(torch.arange(T).float() * feat2tar_ratio).long()]
        (100, 8, [0, 2, 4, 6]),
        (100, 7, [0, 2, 4, 6]),
        (25, 2, [0, 0, 1, 1]),
        (75, 6, [0, 1, 3, 4]),
        (50, 4, [0, 1, 2, 3]),
    ],
)
def test_frames_take_the_labels_that_fairseq_takes(tmp_path, rate, labels, expected):
    write_tsv(tmp_path / "x.tsv", "/r", [TsvRow("a", Path("a"), 1360)])
    (tmp_path / "x.km").write_text(" ".join(map(str, range(labels))) + "\n")
    store = LabelStore.open(tmp_path / "x.km", label_rate=rate)
    store.check("a", 4)
    assert store.frames("a", 4).tolist() == expected


def test_empty_row_is_too_short_for_anything(tmp_path):
    store = LabelStore.open(write(tmp_path, "0\n\n1\n"))
    assert store["a/two.flac"].shape == (0,)
    with pytest.raises(ValueError, match=r"train\.km:2: 0 labels"):
        store.check("a/two.flac", 1)


@pytest.mark.parametrize("given", ["labels/train.km", "labels"])
def test_labels_in_another_folder_than_their_list(tmp_path, given):
    """fairseq's task.data and task.label_dir."""
    km = write(tmp_path)
    (tmp_path / "labels").mkdir()
    km.rename(tmp_path / "labels" / "train.km")
    (tmp_path / "dict.km.txt").rename(tmp_path / "labels" / "dict.km.txt")
    store = LabelStore.open(tmp_path / given, 4, audio=tmp_path / "train.tsv")
    assert [store[id].tolist() for id in ROWS] == list(ROWS.values())
    for audio in (None, tmp_path, tmp_path / "none.tsv"):
        with pytest.raises((ValueError, FileNotFoundError), match=r"give it as data\.train|\.km"):
            LabelStore.open(tmp_path / given, audio=audio)


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_files_of_windows(tmp_path, mark, end):
    km = write(tmp_path)
    for name in ("train.tsv", "train.km", "dict.km.txt"):
        text = (tmp_path / name).read_text().replace("\n", end)
        (tmp_path / name).write_bytes(mark + text.encode())
    store = LabelStore.open(km)
    assert [store[id].tolist() for id in ROWS] == list(ROWS.values())
    assert read_tsv(tmp_path / "train.tsv")[0].path == Path("/data/speech/a/one.flac")


def test_home_in_a_root(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x.tsv").write_text("~/speech\na.wav\t16000\n/abs/b.wav\t16000\n")
    rows = read_tsv(tmp_path / "x.tsv")
    assert [row.path for row in rows] == [tmp_path / "speech/a.wav", Path("/abs/b.wav")]


def test_missing_files(tmp_path):
    km = write(tmp_path)
    (tmp_path / "train.tsv").unlink()
    with pytest.raises(FileNotFoundError, match=r"train\.tsv"):
        LabelStore.open(km)
    with pytest.raises(FileNotFoundError, match=r"none\.km"):
        LabelStore.open(tmp_path / "none.km")


def test_store_is_small_and_lives_on_in_other_processes(tmp_path):
    store = LabelStore.open(write(tmp_path))
    store["a/one.flac"]
    copy = pickle.loads(pickle.dumps(store))
    assert [copy[id].tolist() for id in ROWS] == list(ROWS.values())


def test_change_of_the_file_is_noticed(tmp_path):
    km = write(tmp_path)
    copy = pickle.loads(pickle.dumps(LabelStore.open(km)))
    km.write_text("0\n1\n2\n")
    with pytest.raises(ValueError, match="changed"):
        copy["a/one.flac"]


def test_blocks_do_not_matter(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    rows = [random.integers(0, 500, random.integers(0, 40)).tolist() for _ in range(200)]
    listing = [TsvRow(f"{i}.wav", Path(f"{i}.wav"), 1) for i in range(200)]
    write_tsv(tmp_path / "x.tsv", "/r", listing)
    (tmp_path / "x.km").write_text("".join(" ".join(map(str, row)) + "\n" for row in rows))
    for block in (1, 7, 100, 1 << 20):
        monkeypatch.setattr(label_lines, "_BLOCK", block)
        store = LabelStore.open(tmp_path / "x.km")
        assert store.num_classes == max(max(row, default=0) for row in rows) + 1
        assert all(store[f"{i}.wav"].tolist() == row for i, row in enumerate(rows))
