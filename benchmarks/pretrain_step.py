"""Seconds of one training update of a BASE model, beside peers: fp32 on a CPU, bf16 on CUDA.

``python benchmarks/pretrain_step.py`` writes benchmarks/results/pretrain_step_<machine>.json and
its table in docs/results.md. Each peer lives in a process of its own, and they take turns, so that
a ratio is of neighbours in time. ``--earlier FOLDER`` adds another checkout of this code.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent.parent
sys.path.insert(0, str(HERE))
from benchmarks.dispatching import Dispatched  # noqa: E402

ROOT = Path(os.environ.get("MT4SSL_BENCHMARKED", HERE))
sys.path.insert(0, str(ROOT))

RESULTS = Path(__file__).parent / "results"
COMMITTED = RESULTS / "pretrain_step_epyc_2core.json"
CLASSES = 500
ABOUT = {
    "ours": "both targets, with the teacher's pass; dropout, clipping, AdamW",
    "ours, offline": "the offline target alone",
    "ours, compiled": "both targets, run.compile=true",
    "ours, checkpointed": "both targets, run.activation_checkpointing=true",
    "ours, 4 masks": "both targets, masking.repeats=4",
    "earlier": "another checkout of this code (--earlier), both targets",
    "torchaudio": "HuBERT pre-training: hubert_pretrain_base, AdamW",
    "transformers": "Data2VecAudioModel: forward and backward, no teacher, head or optimiser",
}
Update = Callable[[int], None]


def ours(
    count: int, samples: int, device: str, changes: Sequence[str] = (), compiled: bool = False
) -> Update:
    """An update of this code (or of the checkout that MT4SSL_BENCHMARKED names)."""
    from mt4ssl_core import config
    from mt4ssl_core.data.masking import span_mask
    from mt4ssl_core.model.mt4ssl import MT4SSL
    from mt4ssl_core.model.optim import AdamW

    try:
        from mt4ssl_core.memory import keep_memory

        keep_memory()
    except ImportError:  # an earlier checkout
        pass
    given = ["data.train=x", "data.labels=x", f"offline.num_classes={CLASSES}"]
    cfg = config.load("base", [*given, *changes])
    model = MT4SSL(cfg).to(device).train()
    if getattr(cfg.run, "activation_checkpointing", False):
        model.encoder.checkpoint_activations()
    if compiled or device != "cpu":
        from mt4ssl_core.model.compiling import compile_blocks

        compile_blocks(model)
    optimizer = AdamW(model, cfg.optim)
    lengths, waves = torch.full((count,), samples), torch.randn(count, samples)
    frames = model.encoder.frame_lengths(lengths).tolist()
    labels = torch.randint(0, CLASSES, (count, max(frames)))
    waves = waves.to(device)

    def update(number: int) -> None:
        ids = [f"{number}/{i}" for i in range(count)]
        mask = span_mask(frames, ids, cfg.masking, seed=1, epoch=0)
        optimizer.prepare(number)
        optimizer.zero_grad()
        for target in model.each_target():
            target.before_micro_batch(model.encoder, number, first=True)
        batch = [waves, lengths, mask.to(device), labels.to(device), number]
        if device != "cpu":
            from mt4ssl_core.data.masking import Places

            batch.append(Places.of(mask, labels).map(lambda x: x.to(device)))
        with autocast(device):
            losses = model(*batch)
        total = torch.stack([loss.total for loss in losses]).sum() / mask.sum()
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()

    return update


def autocast(device: str) -> torch.autocast:
    """bf16, but on a CPU fp32."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=device != "cpu")


def torchaudio_hubert(count: int, samples: int, device: str) -> Update:
    """An update of torchaudio's HuBERT."""
    from torchaudio.models import hubert_pretrain_base

    model: Any = hubert_pretrain_base(num_classes=CLASSES).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    waves = torch.randn(count, samples, device=device)
    lengths = torch.full((count,), samples, device=device)
    labels = torch.randint(0, CLASSES, (count, (samples - 400) // 320 + 1), device=device)

    def update(number: int) -> None:
        optimizer.zero_grad()
        with autocast(device):
            masked, _, penalty = model(waves, labels, lengths)
        classes = torch.zeros(
            len(masked), dtype=torch.long, device=device
        )  # the right class comes first
        (torch.nn.functional.cross_entropy(masked.float(), classes) + penalty).backward()
        optimizer.step()

    return update


def transformers_data2vec(count: int, samples: int, device: str) -> Update:
    """Forward and backward of transformers' data2vec."""
    from transformers import Data2VecAudioConfig, Data2VecAudioModel

    model: Any = Data2VecAudioModel(Data2VecAudioConfig()).train()
    model.to(device)
    waves = torch.randn(count, samples, device=device)

    def update(number: int) -> None:
        model.zero_grad()
        with autocast(device):
            output = model(waves).last_hidden_state
        output.float().square().mean().backward()

    return update


PEERS: dict[str, Callable[[int, int, str], Update]] = {
    "ours": ours,
    "ours, offline": partial(ours, changes=["online=null"]),
    "ours, compiled": partial(ours, compiled=True),
    "ours, checkpointed": partial(ours, changes=["run.activation_checkpointing=true"]),
    "ours, 4 masks": partial(ours, changes=["masking.repeats=4"]),
    "earlier": ours,
    "torchaudio": torchaudio_hubert,
    "transformers": transformers_data2vec,
}


BESIDE = ("ours", "ours, offline", "earlier", "torchaudio", "transformers")


def work(name: str, count: int, samples: int, threads: int, device: str) -> None:
    """Be a peer: make an update for every line that comes in."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    update = PEERS[name](count, samples, device)
    seen: dict[str, int] = {}  # what is compiled is not counted
    for number, _ in enumerate(sys.stdin, 1):
        counts = number == 1 and name != "ours, compiled" and device == "cpu"
        before = resource.getrusage(resource.RUSAGE_SELF)
        wall = time.perf_counter()
        with Dispatched() if counts else nullcontext() as found:
            update(number)
        if found is not None:
            seen = {"operators": found.operators, "reads": found.reads}
        if device != "cpu":
            torch.cuda.synchronize()
        took, after = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_SELF)
        said = {
            "wall": took,
            "user": after.ru_utime - before.ru_utime,
            "kernel": after.ru_stime - before.ru_stime,
            "page faults": after.ru_minflt - before.ru_minflt,
            "peak GB": after.ru_maxrss / 1e6,
            **seen,
        }
        print(json.dumps(said), flush=True)


class Peer:
    """A peer in a process of its own."""

    def __init__(self, name: str, setting: list[str], root: Path):
        environment = os.environ | {"MT4SSL_BENCHMARKED": str(root)}
        command = [sys.executable, __file__, "--worker", name, *setting]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def update(self) -> dict[str, float]:
        """Make one update; what it took."""
        assert self.process.stdin and self.process.stdout
        print(file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise ValueError("a peer has ended; see what it wrote above")
        return json.loads(line)


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Medians over rounds in which every peer makes one update."""
    setting = ["--count", args.count, "--seconds", args.seconds, "--threads", args.threads]
    setting += ["--device", args.device]
    names = [name for name in args.peers if name != "earlier" or args.earlier]
    roots = {name: args.earlier if name == "earlier" else HERE for name in names}
    peers = {name: Peer(name, list(map(str, setting)), roots[name]) for name in names}
    rounds = []
    for number in range(args.rounds + 1):
        rounds.append({name: peer.update() for name, peer in peers.items()})
        print(f"round {number}:", {k: round(v["wall"], 2) for k, v in rounds[-1].items()})
    for peer in peers.values():
        peer.process.communicate()
    rounds = rounds[1:]  # the first one warms up
    medians = {
        name: {key: statistics.median(r[name][key] for r in rounds) for key in rounds[0][name]}
        for name in names
    }
    return {"medians": medians, "rounds": rounds}


def table(path: Path = COMMITTED, script: str = "pretrain_step") -> str:
    """The table of a JSON, which ``script`` makes."""
    if not path.exists():
        return "Not run yet."
    record = json.loads(path.read_text())
    lines = [
        "| update of | s | kernel s | peak GB | operators | host reads | s / ours | |",
        "| --- |" + " ---: |" * 6 + " --- |",
    ]
    for name, found in record["medians"].items():
        ratios = [r[name]["wall"] / r["ours"]["wall"] for r in record["rounds"]]
        cells = [f"{found[key]:.3g}" for key in ("wall", "kernel", "peak GB")]
        cells += [f"{found[key]:,}" if key in found else "" for key in ("operators", "reads")]
        cells += [f"{statistics.median(ratios):.2f}", ABOUT[name]]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    about = record["setting"]
    lines += ["", f"BASE, {about['count']} x {about['seconds']:g} s, on {about['device']}, "
              f"{about['threads']} thread(s) of {record['machine']}, load {record['load']:.1f}: "
              f"medians of {about['rounds']} alternated rounds. "
              f"`python benchmarks/{script}.py` repeats it."]  # fmt: skip
    return "\n".join(lines)


def parse(peers: Sequence[str]) -> argparse.Namespace:
    """The options, with these peers if no others are given."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--worker", choices=PEERS, help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, default=2, help="utterances")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(peers))
    parser.add_argument("--earlier", type=Path, help="another checkout of this code")
    parser.add_argument("--machine", default=platform.machine())
    parser.add_argument("--out", type=Path, help="of the JSON")
    parser.add_argument("--tables-only", action="store_true")
    return parser.parse_args()


def report(args: argparse.Namespace, script: str, committed: Path) -> None:
    """Measure and write a JSON, unless only the table is asked for; show it."""
    from benchmarks import pages
    from mt4ssl_core.files import write_json

    path = args.out or (
        committed if args.tables_only else RESULTS / f"{script}_{args.machine}.json"
    )
    if not args.tables_only:
        setting = {
            key: getattr(args, key) for key in ("count", "seconds", "threads", "rounds", "device")
        }
        about = {"machine": args.machine, "torch": torch.__version__, "load": os.getloadavg()[0]}
        found = about | {"setting": setting} | measure(args)
        write_json(path, found)
    print(table(path, script))
    if path == committed:
        pages.show(script.replace("_", "-"), table(path, script))


def main() -> None:
    """Measure beside peers, or be one of them."""
    args = parse(BESIDE)
    if args.worker:
        work(args.worker, args.count, int(args.seconds * 16_000), args.threads, args.device)
    else:
        report(args, "pretrain_step", COMMITTED)


if __name__ == "__main__":
    main()
