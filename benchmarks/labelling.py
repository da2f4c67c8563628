"""What labelling a large corpus holds in memory beside the audio, which streams by.

``python benchmarks/labelling.py`` writes benchmarks/results/labelling_<machine>.json and the table
in docs/results.md. `mt4ssl kmeans label` runs whole on lists as of manifest.py beside this file,
but noise stands for the features, so that no audio is read: the list, the labels that grow, an
interruption at the half, taking up what is there, the index and the statistics of the finished
labels. Each measurement is a new process, and counts from after its imports.
"""

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from benchmarks import manifest, pages  # noqa: E402
from mt4ssl_core.labelling import kmeans_label  # noqa: E402
from mt4ssl_core.labelling.kmeans_model import KMeans  # noqa: E402
from mt4ssl_core.settings.frames import num_frames  # noqa: E402

CLUSTERS, DIM = 500, 39
LARGE, HOURS = 15_000_000, 60_000  # utterances and hours of Libri-light, cut to 14.4 s


def silent(most: int) -> Callable[..., Iterator[tuple[Any, np.ndarray, torch.Tensor]]]:
    """Stands for `kmeans_label.stream`: noise for each utterance; interrupted after ``most``."""
    noise = torch.randn(100, DIM, generator=torch.Generator().manual_seed(0))

    def stream(cuts: Iterable[Any], *_: Any) -> Iterator[tuple[Any, np.ndarray, torch.Tensor]]:
        for number, cut in enumerate(cuts):
            if number == most:
                raise KeyboardInterrupt
            yield cut, np.zeros(cut.num_samples), noise[: num_frames(cut.num_samples)]

    return stream


def label(folder: Path, count: int) -> dict[str, Any]:
    """Label ``x.tsv`` in a folder, interrupted at the half; the statistics."""
    centroids = torch.randn(CLUSTERS, DIM, generator=torch.Generator().manual_seed(1))
    KMeans(centroids).save(folder / "km.safetensors")
    given = folder / "km.safetensors", folder / "x.tsv", folder / "labels"
    with patch.object(kmeans_label, "stream", silent(count // 2)), suppress(KeyboardInterrupt):
        kmeans_label.label_corpus(*given, device="cpu", progress=False)
    with patch.object(kmeans_label, "stream", silent(count)):
        return kmeans_label.label_corpus(*given, device="cpu", progress=False)


def measure(count: int, folder: Path) -> dict[str, float]:
    """Seconds and bytes for each of ``count`` utterances."""
    manifest.write_corpus(folder, count)
    command = [sys.executable, __file__, "--one", str(folder), "--counts", str(count)]
    said = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()
    return {"utterances": count, **json.loads(said[-1])}


def table() -> str:
    """The table of docs/results.md, from the committed JSON."""
    kept = pages.records("labelling")
    if not kept:
        return pages.NOT_RUN
    record = kept[0]
    lines = ["| utterances | s | at the peak, MB | bytes each |", "| ---: | ---: | ---: | ---: |"]
    for found in record["sizes"]:
        count, peak = found["utterances"], found["peak"]
        lines.append(
            f"| {count:,} | {found['seconds']:.1f} | {peak * count / 1e6:,.0f} | {peak:,.0f} |"
        )
    first, last = record["sizes"][0], record["sizes"][-1]
    totals = [found["peak"] * found["utterances"] for found in (first, last)]
    more = last["utterances"] - first["utterances"]
    each = (totals[1] - totals[0]) / more if more else last["peak"]
    most = totals[1] + each * (LARGE - last["utterances"])
    return "\n".join(lines) + (
        f"\n\nBeyond what the process holds after its imports, in one process of "
        f"{record['machine']}, load {record['load']:.1f}. {HOURS:,} hours are {LARGE:,} utterances "
        f"of 14.4 s: at {each:,.0f} bytes for each that is more, {most / 1e9:.1f} GB. "
        "`python benchmarks/labelling.py` repeats it."
    )


def main() -> None:
    """Measure and write, or only the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--counts", type=int, nargs="+", default=[100_000, 500_000])
    parser.add_argument("--machine", default=platform.machine())
    parser.add_argument("--folder", help="for the lists; default: the system's temporary folder")
    parser.add_argument("--tables-only", action="store_true")
    parser.add_argument("--one", type=Path, metavar="FOLDER", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        (count,) = args.counts
        print(json.dumps(manifest.one(lambda folder: label(folder, count), args.one, count)))
        return
    if not args.tables_only:
        manifest.keep_sizes("labelling", args, measure)
    pages.show("labelling", table())


if __name__ == "__main__":
    main()
