"""What a large corpus costs before the first batch: seconds and memory, with an index and without.

``python benchmarks/manifest.py`` writes benchmarks/results/manifest_<machine>.json and the table in
docs/results.md. Lists of any size name ten short files through links, so that every row has a file
of its own name. Each measurement is a new process, and counts from after its imports. ``lists`` is
what fairseq's loaders do: names and sizes in Python lists and where each line of labels begins,
without any check.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks import pages  # noqa: E402
from mt4ssl_core.config import DataConfig  # noqa: E402
from mt4ssl_core.data.labels import LabelStore  # noqa: E402
from mt4ssl_core.data.loader import PretrainLoader  # noqa: E402
from mt4ssl_core.data.manifest import open_manifest, split_valid  # noqa: E402
from mt4ssl_core.files import write_json  # noqa: E402
from mt4ssl_core.settings.frames import num_frames  # noqa: E402

WAYS = {
    "lists": "lists, as fairseq's loaders",
    "first": "ours, the index is made",
    "again": "ours, the index is there",
}
_TOGETHER = 100_000  # rows that are written at once


def write_corpus(folder: Path, count: int) -> None:
    """Write a ``.tsv`` of ``count`` rows of 0.2 to 0.5 s, and labels of three digits."""
    rng, levels = np.random.default_rng(0), len(str(count - 1)) - 1
    for digit in range(10):
        soundfile.write(folder / f"{digit}.flac", np.zeros(8_000), 16_000)
        (folder / f"part{digit}").symlink_to(".")
    labels = "".join(f"{label:3d} " for label in rng.integers(0, 500, 10_000))
    with open(folder / "x.tsv", "w") as tsv, open(folder / "x.km", "w") as km:
        tsv.write(f"{folder}\n")
        for first in range(0, count, _TOGETHER):
            numbers = range(first, min(first + _TOGETHER, count))
            lengths = rng.integers(3_200, 8_000, len(numbers))
            rows = zip(numbers, lengths.tolist(), num_frames(lengths).tolist(), strict=True)
            names, lines = [], []
            for number, length, frames in rows:
                *parts, last = list(f"{number:0{levels + 1}d}")
                names.append(
                    "".join(f"part{digit}/" for digit in parts) + f"{last}.flac\t{length}\n"
                )
                begin = 4 * (number % 9_900)
                lines.append(labels[begin : begin + 4 * frames] + "\n")
            tsv.write("".join(names))
            km.write("".join(lines))


def ours(folder: Path) -> Any:
    """Do all that a run does before it loads its first batch; return what it then holds."""
    manifest, _ = split_valid(open_manifest(folder / "x.tsv", min_seconds=0.1), 0.01)
    labels = LabelStore.open(folder / "x.km", 500)
    loader = PretrainLoader(
        manifest, labels, DataConfig(train="-", workers=0), normalize=False, seed=1
    )
    assert loader.fingerprint
    plan = loader.plan(0)
    return loader, plan, [manifest.cuts[int(index)] for index in plan[0]]


def lists(folder: Path) -> Any:
    """Keep names, sizes and label offsets in lists, and order the utterances by their length."""
    names, sizes = [], []
    with open(folder / "x.tsv") as tsv:
        next(tsv)
        for line in tsv:
            name, size = line.rstrip("\n").split("\t")
            names.append(name)
            sizes.append(int(size))
    offsets, position = [], 0
    with open(folder / "x.km", encoding="utf-8") as km:
        for line in km:
            end = position + len(line.encode())
            offsets.append((position, end))
            position = end
    lengths = np.array(sizes)
    order = np.lexsort((np.random.default_rng(0).permutation(len(sizes)), lengths))
    return names, lengths, offsets, order


def memory() -> dict[str, int]:
    """Bytes that are resident in this process, in all and of mapped files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    kinds = {"resident": "VmRSS", "mapped": "RssFile"}
    return {name: 1024 * int(fields[field].split()[0]) for name, field in kinds.items()}


def one(work: Callable[[Path], Any], folder: Path, count: int) -> dict[str, float]:
    """Measure in this process."""
    before, started = memory(), time.perf_counter()
    held = work(folder)
    seconds = time.perf_counter() - started
    after = memory()
    peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    del held
    return {
        "seconds": seconds,
        "bytes": (after["resident"] - before["resident"]) / count,
        "mapped": (after["mapped"] - before["mapped"]) / count,
        "peak": (peak - before["resident"]) / count,
    }


def measure(count: int, folder: Path) -> dict[str, Any]:
    """Return what each way takes for a corpus of ``count`` utterances, by its name in WAYS."""
    write_corpus(folder, count)
    found = {}
    for way in WAYS:
        command = [sys.executable, __file__, "--one", way, str(folder), "--counts", str(count)]
        found[way] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    kept = sum(path.stat().st_size for path in folder.glob(".x.*"))
    return {"utterances": count, "kept_bytes": kept / count, "ways": found}


def table() -> str:
    """The table of docs/results.md, from the committed JSON."""
    kept = pages.records("manifest")
    if not kept:
        return pages.NOT_RUN
    record = kept[0]
    lines = ["| utterances | | s | bytes each | of these mapped | at the peak |"]
    lines.append("| ---: | --- | ---: | ---: | ---: | ---: |")
    for size in record["sizes"]:
        for way, found in size["ways"].items():
            numbers = [found[name] for name in ("bytes", "mapped", "peak")]
            cells = [f"{found['seconds']:.2f}", *(f"{number:,.0f}" for number in numbers)]
            lines.append(f"| {size['utterances']:,} | {WAYS[way]} | " + " | ".join(cells) + " |")
    lines += [
        "",
        f"Until the first batch is known, in one process of {record['machine']}, load "
        f"{record['load']:.1f}. Mapped memory is shared by all processes of a machine. Utterances "
        "of 0.2 to 0.5 s: longer ones have longer lines of labels, which are read once, when the "
        "index is made. `python benchmarks/manifest.py` repeats it.",
    ]
    return "\n".join(lines)


def keep_sizes(
    name: str, args: argparse.Namespace, measure: Callable[[int, Path], dict[str, Any]]
) -> None:
    """Measure at all ``args.counts``, each in a folder that is removed, and write the JSON."""
    load, sizes = os.getloadavg()[0], []
    for count in args.counts:
        folder = Path(tempfile.mkdtemp(dir=args.folder))
        try:
            sizes.append(measure(count, folder))
        finally:
            shutil.rmtree(folder)
    about = {"machine": args.machine, "python": platform.python_version(), "load": load}
    write_json(pages.record_path(name, args.machine), about | {"sizes": sizes})


def main() -> None:
    """Measure and write, or only the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--machine", default=platform.machine())
    parser.add_argument("--folder", help="for the lists; default: the system's temporary folder")
    parser.add_argument("--tables-only", action="store_true")
    parser.add_argument("--one", nargs=2, metavar=("WAY", "FOLDER"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        way, folder = args.one
        print(json.dumps(one(lists if way == "lists" else ours, Path(folder), args.counts[0])))
        return
    if not args.tables_only:
        keep_sizes("manifest", args, measure)
    pages.show("manifest", table())


if __name__ == "__main__":
    main()
