import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mt4ssl_core.config import DataConfig
from mt4ssl_core.data.loader import PretrainLoader
from mt4ssl_core.data.manifest import Manifest, hours_of, open_manifest, split_valid
from mt4ssl_core.data.shards import shard_order
from mt4ssl_core.data.shards.shard_folder import ShardCuts
from mt4ssl_core.data.shards.shard_index import FORMAT, Rows, ShardIndex
from mt4ssl_core.data.shards.shard_order import Shards

HOUR = 3600 * 16_000


def pretended(folder, ids, samples, tars, saved=False):
    """Shards without audio: tars that are holes, and their index."""
    rows, parts = Rows(), np.array_split(np.arange(len(ids)), tars)
    for part in parts:
        for place, row in enumerate(part):
            rows.add(ids[row], int(samples[row]), (1024 * place + 512, 500), (0, 0))
    names = [Path(folder) / f"shard-{number:06d}.tar" for number in range(tars)]
    size = 1024 * (len(parts[0]) + 1)
    starts = np.cumsum([0, *map(len, parts)])
    index = ShardIndex(names, [size] * tars, starts, rows.columns())
    if saved:
        for name in names:
            with open(name, "wb") as file:
                file.truncate(size)
        index.save(Path(folder) / "shards.index")
        facts = {"format": FORMAT, "shards": tars, "utterances": len(ids), "classes": None}
        (Path(folder) / "shards.json").write_text(json.dumps(facts))
    return ShardCuts(index)


@pytest.fixture(scope="module")
def cuts():
    """3000 utterances of 60 speakers, one after the other, in 25 tars."""
    samples = np.random.default_rng(0).integers(16_000, 20 * 16_000, 3000)
    return pretended("/nowhere", [f"s{i // 50:02d}/{i}" for i in range(3000)], samples, 25)


def loader(cuts, hours: float | None = 1.0, seed=0, rank=0, world_size=1, **changes):
    sizes: dict[str, Any] = {"max_seconds": 16.0, "batch_seconds": 200.0, "workers": 0}
    cfg = DataConfig(train="-", **sizes | changes)
    manifest = Manifest(cuts, hours_of(cuts))
    return PretrainLoader(
        manifest, None, cfg, normalize=False, seed=seed, rank=rank, world_size=world_size,
        shuffle_hours=hours,
    )  # fmt: skip


@pytest.fixture(autouse=True)
def no_reading(monkeypatch):
    asked: list[str] = []
    monkeypatch.setattr(shard_order, "_advise", lambda tars: asked.extend(tar.name for tar in tars))
    return asked


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_an_epoch_has_every_utterance_once_and_each_process_tars_of_its_own(cuts, world_size):
    plans = [loader(cuts, rank=rank, world_size=world_size).plan(3) for rank in range(world_size)]
    assert len({len(plan) for plan in plans}) == 1
    places = [np.concatenate(plan) for plan in plans]
    assert sorted(np.concatenate(places)) == list(range(3000))
    seconds = [cuts.samples[place].clip(max=16 * 16_000).sum() / 16_000 for place in places]
    assert max(seconds) - min(seconds) < 40  # the length of a few utterances
    tars = [set(np.searchsorted(cuts.index.starts, place, "right")) for place in places]
    assert all(len(a & b) <= 1 for a in tars for b in tars if a is not b)
    for plan in plans:
        for group in plan:
            lengths = cuts.samples[group].clip(max=16 * 16_000)
            assert len(group) * lengths.max(initial=0) <= 200 * 16_000


def test_the_order_depends_on_seed_and_epoch_and_may_be_entered_anywhere(cuts):
    whole = loader(cuts).plan(0)
    for start in (0, 1, 37, len(whole) - 1, len(whole), len(whole) + 5):
        found = loader(cuts)._plan(0, start)
        assert len(found) == max(0, len(whole) - start)
        assert all(map(np.array_equal, found.groups, whole[start:]))
    assert loader(cuts).num_batches(0) == len(whole)
    firsts = [tuple(loader(cuts, seed=seed).plan(epoch)[0]) for seed, epoch in ((0, 1), (1, 0))]
    assert len({tuple(whole[0]), *firsts}) == 3


def test_only_the_tars_of_this_window_and_the_next_are_read(cuts, no_reading):
    groups, seen = iter(loader(cuts)._plan(0, 0).groups), set()
    for _ in range(15):  # three quarters of an hour
        seen |= set(np.searchsorted(cuts.index.starts, next(groups), "right") - 1)
    assert len(seen) <= 5 and {f"shard-{tar:06d}.tar" for tar in seen} <= set(no_reading)
    assert len(set(no_reading)) <= 8


def test_what_is_shorter_than_a_window_is_shuffled_as_a_whole(cuts):
    assert loader(cuts, hours=20.0).order is None and loader(cuts, hours=None).order is None
    names = [
        loader(cuts, hours=hours, world_size=n).fingerprint for hours in (1.0, None) for n in (1, 2)
    ]
    assert len(set(names)) == 3 and names[2] == names[3]
    padding = [
        1 - sum(cuts.samples[g].clip(max=256_000).sum() for g in plan)
        / sum(len(g) * cuts.samples[g].clip(max=256_000).max() for g in plan)
        for plan in (loader(cuts, hours=hours).plan(0) for hours in (1.0, None))
    ]  # fmt: skip
    assert padding[0] < padding[1] + 0.05  # of a window of 18 batches


def test_a_part_of_the_utterances_keeps_its_tars(cuts):
    part = cuts.take(np.arange(5, 3000, 7))
    shards = Shards.of(part)
    for number, (first, stop) in enumerate(zip(shards.starts, shards.starts[1:], strict=False)):
        rows = part.rows[first:stop]
        begin, end = cuts.index.starts[number : number + 2]
        assert ((rows >= begin) & (rows < end)).all()
    assert sorted(np.concatenate(loader(part).plan(0))) == list(range(len(part)))


def quality(plan, speakers):
    """|rank correlation| of the order with that of the tars; pairs of one speaker in a batch."""
    order = np.concatenate(plan)
    correlation = abs(np.corrcoef(order, np.arange(len(order)))[0, 1])
    pairs, same = 0, 0
    for group in plan:
        _, counts = np.unique(speakers[group], return_counts=True)
        pairs += len(group) * (len(group) - 1)
        same += int((counts * (counts - 1)).sum())
    return correlation, same / pairs


def test_the_quality_of_shuffling_is_that_of_a_whole_shuffle_if_tars_were_shuffled(cuts):
    """9 h in windows of 1 h. In the order of the corpus a batch is of few speakers."""
    rng = np.random.default_rng(5)
    order = rng.permutation(3000)
    speakers = np.array([int(cuts.id(place)[1:3]) for place in range(3000)])
    shuffled = pretended("/nowhere", [cuts.id(i) for i in order], cuts.samples[order], 25)
    mixed = np.array([int(shuffled.id(place)[1:3]) for place in range(3000)])
    found = {
        "whole": [quality(loader(cuts, None).plan(epoch), speakers) for epoch in range(4)],
        "shuffled tars": [quality(loader(shuffled).plan(epoch), mixed) for epoch in range(4)],
        "kept order": [quality(loader(cuts).plan(epoch), speakers) for epoch in range(4)],
    }
    share = {name: np.mean([same for _, same in values]) for name, values in found.items()}
    assert share["whole"] == pytest.approx(1 / 60, rel=0.15)
    assert share["shuffled tars"] == pytest.approx(share["whole"], rel=0.15)
    assert share["kept order"] > 4 * share["whole"]
    assert np.mean([rank for rank, _ in found["shuffled tars"]]) < 0.35  # 25 tars
    print({name: (np.mean([r for r, _ in v]), share[name]) for name, v in found.items()})


MEMORY = """
import sys
import numpy as np
from mt4ssl_core.config import DataConfig
from mt4ssl_core.data.loader import PretrainLoader
from mt4ssl_core.data.manifest import open_manifest, split_valid

def anonymous():
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(lines["RssAnon"].split()[0]) * 1024

def memory(folder):
    manifest, held_out = split_valid(open_manifest(folder, min_seconds=0.1), 0.01)
    cfg = DataConfig(train="-", workers=0)
    loader = PretrainLoader(manifest, None, cfg, normalize=False, seed=0, shuffle_hours=20.0)
    loader.fingerprint
    groups = iter(loader._plan(0, 0).groups)
    assert all(loader.cuts[place].id for _ in range(20) for place in next(groups))
    return len(manifest.cuts) + len(held_out.cuts), anonymous()

for folder in sys.argv[1:]:
    memory(folder)  # what is loaded when it is first used
    print(*memory(folder))
"""


def test_memory_hardly_grows_with_the_corpus(tmp_path):
    """Of 250,000 utterances against 50,000; the index is mapped, and shared by processes."""
    for count in (50_000, 250_000):
        folder = tmp_path / str(count)
        folder.mkdir()
        ids = [f"a-rather-long-name-of-a-speaker/and-of-a-book/{i:09d}.flac" for i in range(count)]
        pretended(folder, ids, np.full(count, 32_000), count // 1000, saved=True)
    out = subprocess.run(
        [sys.executable, "-c", MEMORY, tmp_path / "50000", tmp_path / "250000"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    (few, small), (many, large) = (map(int, line.split()) for line in out.stdout.splitlines())
    assert (few, many) == (50_000, 250_000)
    assert (large - small) / 200_000 < 60  # bytes per utterance


def test_a_shar_folder_is_read_in_windows_too(tmp_path):
    import soundfile

    audio = tmp_path / "audio"
    audio.mkdir()
    for number in range(12):
        noise = np.random.default_rng(number).normal(0, 0.1, 12_000 + 100 * number)
        soundfile.write(audio / f"{number:02d}.wav", noise, 16_000)
    from lhotse import CutSet

    (tmp_path / "shar").mkdir()
    listed = CutSet(list(open_manifest(audio, min_seconds=0.1).cuts))
    listed.to_shar(tmp_path / "shar", fields={"recording": "flac"}, shard_size=3)
    manifest = open_manifest(tmp_path / "shar", min_seconds=0.1)
    train, _ = split_valid(manifest, 0.1)
    shards = Shards.of(train.cuts)
    assert len(shards.tars) == 4 and shards.starts[-1] == len(train.cuts)
    made = loader(train.cuts, hours=2 / 3600, max_seconds=1.0, batch_seconds=2.0)
    assert made.order is not None
    ids = [id for batch in made.batches(0) for id in batch.ids]
    assert sorted(ids) == sorted(cut.id for cut in train.cuts)
