"""What 8, 64 and 512 GPUs would do to a run, on paper: nothing here is measured.

``python benchmarks/scaling.py`` counts the operations of an update of BASE and of LARGE as
``benchmarks/roofline.py`` does, and the bytes that each GPU sends per update from the parameters.
It writes ``benchmarks/results/scaling.json`` and the table of docs/scaling.md; with
``--tables-only`` the table alone, from the JSON.
"""

import argparse
import sys
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest.mock import patch

import torch

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from analysis.tables.results_page import between_markers  # noqa: E402
from benchmarks import roofline  # noqa: E402
from mt4ssl_core.files import read_json, write_json  # noqa: E402

PAGE, JSON = ROOT / "docs" / "scaling.md", ROOT / "benchmarks" / "results" / "scaling.json"
GPU, NODE = "H100", 8  # of a node
NVLINK, NETWORK = 450e9, 50e9  # bytes/s that a GPU sends: H100's NVLink; 400 Gbit/s for each GPU
REACHED = 0.8  # of both
PAPER = 16 * 237.5  # seconds of audio in an update
MOST = 237.5  # of them on a GPU at a time
COUNTED = (12, 20.0)  # utterances, and seconds of each, that are counted
GPUS = (8, 64, 512)
BACKWARD = 2 / 3  # of an update's arithmetic, during which gradients are sent


@dataclass(frozen=True)
class Model:
    """What is counted of a model: of ``COUNTED`` audio, seconds on a GPU, and bytes kept."""

    name: str
    parameters: int
    teacher: int
    compute: float
    optimiser: float
    kept: float


@dataclass(frozen=True)
class Row:
    """What is predicted: of one GPU and update, unless the name says otherwise."""

    model: str
    parallel: str
    gpus: int
    audio: float
    accumulate: int
    sent: float
    seconds: float
    efficiency: float
    memory: float


def model_of(size: str) -> Model:
    """Count a size of `roofline.SIZES`; fused kernels are taken for granted."""
    operations, parameters, kept = roofline.counted(size, *COUNTED)
    made = roofline.build(size, "meta", torch.bfloat16)
    teacher = sum(p.numel() for p in made.parameters() if not p.requires_grad)
    peak, bandwidth = roofline.GPUS[GPU]
    rates = peak * roofline.REACHED[0], bandwidth * roofline.REACHED[1]
    rest = parameters * roofline.OPTIMISER_BYTES / rates[1]
    compute = roofline.seconds(operations.fused(), *rates)
    return Model(size, int(parameters), teacher, compute, rest, kept)


def sent(model: Model, parallel: str, gpus: int, accumulate: int) -> float:
    """Bytes that each GPU sends per update.

    ddp: gradients go round the ring twice, in fp32. fsdp: weights come together for each forward
    and backward, the teacher's for each forward, and gradients are summed once.
    """
    share, weights = (gpus - 1) / gpus, 4 * model.parameters
    if parallel == "ddp":
        return 2 * share * weights
    return share * (accumulate * (2 * weights + 4 * model.teacher) + weights)


def row(model: Model, parallel: str, gpus: int, audio: float) -> Row:
    """Predict an update of ``audio`` seconds on each GPU, in as few micro-batches as fit.

    What is sent hides behind the backward pass as far as that is longer.
    """
    accumulate = -(-audio // MOST)
    bytes_sent = sent(model, parallel, gpus, int(accumulate))
    rate = REACHED * (NVLINK if gpus <= NODE else NETWORK)
    kept_parts = gpus if parallel == "fsdp" else 1
    compute = model.compute * audio / (COUNTED[0] * COUNTED[1])
    rest = model.optimiser / kept_parts
    hidden = BACKWARD * compute / accumulate if parallel == "ddp" else BACKWARD * compute
    seconds = compute + rest + max(0.0, bytes_sent / rate - hidden)
    at_once = audio / accumulate / (COUNTED[0] * COUNTED[1])
    memory = 22 * model.parameters / kept_parts + model.kept * at_once
    alone = compute + model.optimiser
    return Row(
        model.name, parallel, gpus, audio, int(accumulate), bytes_sent, seconds,
        min(1.0, alone / seconds), memory,
    )  # fmt: skip


def rows(models: list[Model]) -> list[Row]:
    """The paper's batch where each GPU gets an utterance at least, then 237.5 s on each."""
    found = []
    for model in models:
        for gpus in GPUS:
            batches = [PAPER / gpus] if PAPER / gpus >= COUNTED[1] else []
            for audio in [*batches, *[MOST] * (gpus * MOST > PAPER)]:
                found += [row(model, parallel, gpus, audio) for parallel in ("ddp", "fsdp")]
    return found


def table(found: list[dict]) -> str:
    """The rows in Markdown."""
    lines = [
        "| model | GPUs | `run.parallel` | audio per update (min) | per GPU (s) | accumulate | "
        "sent per GPU (GB) | ms per update | efficiency | memory (GB) |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in (Row(**values) for values in found):
        lines.append(
            f"| {one.model} | {one.gpus} | {one.parallel} | {one.gpus * one.audio / 60:.0f} | "
            f"{one.audio:.0f} | {one.accumulate} | {one.sent / 1e9:.2f} | "
            f"{one.seconds * 1e3:.0f} | {one.efficiency:.0%} | {one.memory / 1e9:.0f} |"
        )
    return "\n".join(lines)


def show() -> None:
    """Write the table of the page from the JSON."""
    between_markers(PAGE, "scaling", table(read_json(JSON)["rows"]))


def count() -> None:
    """Count, predict, and write the JSON."""
    with patch.object(torch, "autocast", lambda *_, **__: nullcontext()):  # meta knows of none
        models = [model_of(size) for size in roofline.SIZES]
    setting = {"gpu": GPU, "predicted": True, "nvlink": NVLINK, "network": NETWORK}
    write_json(
        JSON,
        {
            "setting": setting,
            "models": [asdict(model) for model in models],
            "rows": [asdict(one) for one in rows(models)],
        },
    )


def main() -> None:
    """Write both, or only the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--tables-only", action="store_true", help="only write the table")
    if not parser.parse_args().tables_only:
        count()
    show()
    print(table(read_json(JSON)["rows"]))


if __name__ == "__main__":
    main()
