"""Damaged files are noticed, with what is whole; files that claim too much are not used."""

import argparse
import json
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from test_convert import FP32, fairseq_variant, ours_file

from analysis.records import head_files
from mt4ssl_core import config
from mt4ssl_core.checkpoints import checkpoint, convert, tensor_files
from mt4ssl_core.checkpoints.foreign import checkpoint_files
from mt4ssl_core.labelling.kmeans_model import KMeans
from upstream.heads import states


def content(path: Path) -> Any:
    """All of a checkpoint that is used."""
    state = convert.load_any(path)
    encoder = convert.encoder_of(state, path)
    settings = config.to_dict(encoder.cfg)
    kept = {k: v for k, v in settings.items() if k not in config.TRAINING_ONLY}
    return [encoder.state_dict(), kept, state["targets"], state["progress"]]


def of_kmeans(path: Path) -> Any:
    model = KMeans.load(path)
    return [model.centroids, model.features, model.meta]


def of_head(path: Path) -> Any:
    stored = states.read(path)
    return [stored["Downstream"], stored["Featurizer"], vars(stored["Args"]), stored["Config"]]


CONFIG: dict[str, Any] = {"runner": {}, "optimizer": {}, "downstream_expert": {}}


def head(path: Path) -> Path:
    args = argparse.Namespace(downstream="speech_commands", upstream="fbank")
    weights = {"Featurizer": {"weights": torch.randn(4)}, "Downstream": {"w": torch.randn(3)}}
    state = {"Args": args, "Config": CONFIG, **weights}
    torch.save(state, path)
    return path


def kmeans(path: Path) -> Path:
    KMeans(torch.randn(20, 39), "mfcc", {"k": "20"}).save(path)
    return path


def copy(path: Path) -> Path:
    path.write_bytes(FP32.read_bytes())
    return path


def folder(path: Path) -> Path:
    return convert.export_hf(ours_file(path.with_name("ours.pt")), path)


FILES: dict[str, tuple[Callable[[Path], Path], Callable[[Path], Any], str]] = {
    "last.pt": (ours_file, content, ""),
    "fairseq.pt": (copy, content, ""),
    "hf": (folder, content, "model.safetensors"),
    "hf/config": (folder, content, "config.json"),
    "hf/preprocessor": (folder, content, "preprocessor_config.json"),
    "km.safetensors": (kmeans, of_kmeans, ""),
    "states-4.ckpt": (head, of_head, ""),
}


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return all(map(same, a, b)) if isinstance(a, list) else a == b


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_noticed_or_changes_nothing(tmp_path, name):
    make, read, inner = FILES[name]
    path = make(tmp_path / name.split("/")[0])
    file = path / inner if inner else path
    expected, whole = read(path), file.read_bytes()
    draw = random.Random(0)
    last = len(whole) - 1
    places = [draw.randint(0, last) for _ in range(12)]
    places += [draw.randint(0, min(600, last)) for _ in range(8)]
    places += [draw.randint(max(0, last - 2000), last) for _ in range(8)]
    noticed = 0
    for place in places:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << draw.randrange(8)
        file.write_bytes(damaged)
        try:
            assert same(read(path), expected), place
        except ValueError as error:
            assert file.name in str(error) or str(path) in str(error)
            assert len(str(error)) < 2000
            noticed += 1
    for share in (0.0, 0.3, 0.95):
        file.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ValueError, match=tmp_path.name):
            read(path)
    assert noticed > len(places) // 4


@pytest.mark.parametrize(
    ("there", "named"),
    [
        ({"best.pt": "whole", "previous.pt": "whole"}, "previous.pt"),
        ({"best.pt": "whole", "previous.pt": "damaged"}, "best.pt"),
        ({"update_9.pt": "whole", "update_10.pt": "whole", "best.pt": "damaged"}, "update_10.pt"),
        ({"update_7.pt": "damaged"}, None),
        ({}, None),
    ],
)
@pytest.mark.parametrize("cut", [False, True])
def test_what_is_whole_beside_a_damaged_checkpoint_is_named(tmp_path, there, named, cut):
    whole = ours_file(tmp_path / "last.pt").read_bytes()
    middle = bytearray(whole)
    middle[len(whole) // 2] ^= 4
    for name, how in there.items():
        (tmp_path / name).write_bytes(whole if how == "whole" else middle)
    (tmp_path / "last.pt").write_bytes(whole[:5000] if cut else middle)
    says = rf"{named} beside it is whole" if named else "copy it again or give an older one"
    with pytest.raises(ValueError, match=rf"last\.pt: .*(damaged|cut off).*{says}"):
        checkpoint.load(tmp_path / "last.pt")


def test_files_without_checksums_are_read(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        path = ours_file(tmp_path / "a.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert convert.load_encoder(path).cfg.dim == 32


# ---- Files that claim too much


def stride(path: Path) -> None:
    def change(state):
        state["model"]["encoder.layer_norm.weight"] = torch.zeros(1).expand(10**10)

    fairseq_variant(path.parent, change).rename(path)


def bomb(path: Path) -> None:
    torch.save({"x": torch.zeros(30_000_000)}, path)
    with zipfile.ZipFile(path) as source:
        parts = [(info, source.read(info)) for info in source.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for info, data in parts:
            target.writestr(info.filename, data)


def nest(path: Path) -> None:
    value: Any = [1.0]
    for _ in range(40):
        value = [value] * 10
    state = torch.load(ours_file(path), weights_only=True)
    state["config"]["encoder"]["conv_layers"] = value
    torch.save(state, path)


def layers(path: Path) -> None:
    state = torch.load(ours_file(path), weights_only=True)
    state["config"]["encoder"]["layers"] = 10**8
    torch.save(state, path)


def wide(path: Path) -> None:
    state = torch.load(ours_file(path), weights_only=True)
    state["config"]["encoder"] |= {"dim": 65_536, "layers": 500, "ffn_dim": 262_144}
    torch.save(state, path)


def sparse(path: Path) -> None:
    def change(state):
        index, size = torch.zeros(2, 1, dtype=torch.int64), (10**6, 10**6)
        state["model"]["mask_emb"] = torch.sparse_coo_tensor(
            index, torch.ones(1), size, check_invariants=True
        )

    fairseq_variant(path.parent, change).rename(path)


def announced(path: Path) -> None:
    """The old format says how large a storage is before it is there."""
    torch.save({"x": torch.zeros(1000)}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    assert data.count(b"M\xe8\x03") >= 1  # 1000, as pickle writes it
    path.write_bytes(data.replace(b"M\xe8\x03", b"J\x00\x00\x00\x40"))


EXCESS: list[Callable[[Path], None]] = [stride, bomb, nest, layers, wide, sparse, announced]
PROBE = """
import resource, sys, time
from mt4ssl_core.checkpoints import convert
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
try:
    convert.load_encoder(sys.argv[1], int(sys.argv[2]) if sys.argv[2:] else None)
except ValueError as error:
    assert sys.argv[1] in str(error) and len(str(error)) < 2000, str(error)[:500]
else:
    raise SystemExit("accepted")
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert grown < 300_000 and time.process_time() - start < 10, grown
"""


def test_files_that_claim_too_much_are_refused_at_once(tmp_path):
    paths = []
    for i, make in enumerate(EXCESS):
        (tmp_path / str(i)).mkdir()
        make(tmp_path / str(i) / "x.pt")
        paths.append(str(tmp_path / str(i) / "x.pt"))
    code = f"import sys\nfor path in {paths!r}:\n    sys.argv[1:] = [path]\n    print(path)\n"
    code += "".join(f"    {line}\n" for line in PROBE.strip().splitlines())
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


@pytest.mark.parametrize("name", [checkpoint_files.CONFIG, *checkpoint_files.HEARING])
@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"a":' * 100_000, "", "null", '{"a": 1e400', "9" * 5000, " " * (1 << 23)],
    ids=["lists", "objects", "empty", "null", "cut", "digits", "blanks"],
)
def test_settings_that_are_no_settings(tmp_path, name, text):
    path = folder(tmp_path / "hf")
    (path / name).write_text(text)
    with pytest.raises(ValueError, match=name) as caught:
        convert.load_any(path)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("value", [None, [], 3, {"a": 3}, {"a": "../x"}, {"a": ""}, "x" * 10**6])
def test_index_of_shards_of_another_form(tmp_path, value):
    path = folder(tmp_path / "hf")
    (path / "model.safetensors").unlink()
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": value}))
    with pytest.raises(ValueError, match=r"index\.json: (no weight_map|names)"):
        convert.load_any(path)


OTHER: list[Any] = [
    None,
    "",
    -1,
    [],
    {},
    3,
    True,
    [[]],
    {"a": {}},
    torch.zeros(2),
    "x" * 10**6,
    float("nan"),
]


@pytest.mark.parametrize(
    "key", [*checkpoint.REQUIRED, "encoder.key", "config.encoder", "targets.x"]
)
def test_parts_of_another_type_are_refused_by_name(tmp_path, key):
    path = ours_file(tmp_path / "a.pt")
    state = torch.load(path, weights_only=True)
    section, _, inner = key.partition(".")
    for value in OTHER:
        if key in ("optimizer", "scaler") and (value is None or isinstance(value, dict)):
            continue
        if isinstance(value, dict) and key in ("targets", "progress", "targets.x"):
            continue
        changed = {**state[section], inner: value} if inner else value
        torch.save(state | {section: changed}, path)
        with pytest.raises(ValueError, match=r"a\.pt: ") as caught:
            convert.load_encoder(path)
        assert len(str(caught.value)) < 3000


@pytest.mark.parametrize(
    "key",
    ["cfg", "cfg.model", "cfg.task", "model", "args", "optimizer_history", "task_state",
     "extra_state", "last_optimizer_state", "model._ema"],
)  # fmt: skip
def test_parts_of_a_fairseq_checkpoint_of_another_type(tmp_path, key):
    section, _, inner = key.partition(".")
    raw = fairseq_variant(tmp_path, lambda s: None)
    expected = content(raw)[0]
    for value in OTHER:
        path = fairseq_variant(
            tmp_path,
            lambda s, v=value: s[section].update({inner: v}) if inner else s.update({section: v}),
        )
        try:
            assert same(content(path)[0], expected)  # a part that the encoder does not need
        except ValueError as error:
            assert str(path) in str(error)
            assert len(str(error)) < 2000


def test_weights_that_are_not_finite(tmp_path):
    path = ours_file(tmp_path / "a.pt")
    state = checkpoint.load(path)
    state["encoder"]["context.norm.bias"][3] = float("nan")
    checkpoint.save(path, state)
    with pytest.raises(ValueError, match=r"a\.pt: context\.norm\.bias has NaN"):
        convert.load_encoder(path)


@pytest.mark.parametrize("value", [torch.randn(3), torch.zeros(0, 4), torch.zeros(2, 2).long()])
def test_kmeans_of_another_form(tmp_path, value):
    about = {"format": "mt4ssl-kmeans", "version": "2"}
    tensor_files.save(tmp_path / "km", {"centroids": value}, about)
    with pytest.raises(ValueError, match=r"km: centroids of shape"):
        KMeans.load(tmp_path / "km")


def test_files_of_others_without_our_checksum_are_read(tmp_path):
    save_file({"a": torch.ones(3)}, tmp_path / "x", metadata={"sha256": "theirs"})
    tensors, about, checked = tensor_files.load(tmp_path / "x")
    assert tensors["a"].sum() == 3 and about == {"sha256": "theirs"} and not checked


@pytest.mark.parametrize(
    "changes",
    [{"Args": 3}, {"Featurizer": {"weights": torch.zeros(2, 2)}}, {"Featurizer": []},
     {"Args": argparse.Namespace()}, {"Featurizer": {"weights": 3}}],
)  # fmt: skip
def test_heads_of_another_form(tmp_path, changes):
    stored = torch.load(head(tmp_path / "h.ckpt"), weights_only=False)
    torch.save({**stored, **changes}, tmp_path / "h.ckpt")
    with pytest.raises(ValueError, match=r"h\.ckpt: "):
        head_files._read(tmp_path / "h.ckpt")
