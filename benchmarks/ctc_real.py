#!/usr/bin/env python
"""Speech recognition on real speech: what does pre-training give when there are minutes of labels?

    python benchmarks/ctc_real.py --data DIR --checkpoint CKPT [--work DIR] [--only an4] [--seeds 3]

DIR holds folders an4 and speechocean762, each with an index.csv (columns path, speaker, split,
transcript). Three starts are fine-tuned with CTC on letters: the checkpoint, an untrained copy of
it, and log-mel frames with a head of the same size. The corpora's own test splits are scored,
greedily and with a 3-gram of the training transcripts, whose weights are tuned on a tenth of the
training speakers. Every piece (corpus, seed, start) is kept in --work: the same command goes on.
"""

import argparse
import csv
import io
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from analysis.probes.splits import drawn  # noqa: E402
from benchmarks import pages  # noqa: E402
from mini_superb.ngram import BackOff  # noqa: E402
from mt4ssl_core.bars import Bar  # noqa: E402
from mt4ssl_core.checkpoints.convert import load_encoder  # noqa: E402
from mt4ssl_core.checkpoints.fingerprints import checkpoint_fingerprint  # noqa: E402
from mt4ssl_core.config import SAMPLE_RATE, EncoderConfig  # noqa: E402
from mt4ssl_core.data.audio import load_wave  # noqa: E402
from mt4ssl_core.data.vocabulary import Vocabulary  # noqa: E402
from mt4ssl_core.files import atomic_path, read_json, write_json, write_text  # noqa: E402
from mt4ssl_core.finetuning.finetune import finetune  # noqa: E402
from mt4ssl_core.model.ctc import ctc_losses  # noqa: E402
from mt4ssl_core.model.mel_frames import MelFrames  # noqa: E402
from mt4ssl_core.recognition import decode_files  # noqa: E402
from mt4ssl_core.recognition.decode import DecodeRequest, decode  # noqa: E402
from mt4ssl_core.recognition.recogniser import Recogniser  # noqa: E402
from mt4ssl_core.recognition.references import Spoken, read_references  # noqa: E402
from mt4ssl_core.recognition.search_request import SearchRequest  # noqa: E402
from mt4ssl_core.recognition.word_scores import Errors, interval, total, word_errors  # noqa: E402
from mt4ssl_core.settings import finetuning  # noqa: E402
from mt4ssl_core.settings.finetuning import TextConfig  # noqa: E402
from mt4ssl_core.settings.recognition_defaults import BeamSettings  # noqa: E402

CORPORA = {"an4": "AN4", "speechocean762": "speechocean762"}
STARTS = {"pre-trained": [], "untrained": ["encoder.random=true"], "log-mel": []}
SEARCHES = ("greedy", "3-gram")
UPDATES = {"an4": 1500, "speechocean762": 3000}
DEV_SHARE, BATCH_SECONDS, RATE = 0.1, 32.0, 2e-3
BEAM = BeamSettings(beam=100)
GRID = {"lm_weights": (0.5, 1.0, 2.0), "word_scores": (0.0, 1.0)}


def prepare(data: Path, work: Path, corpus: str) -> Path:
    """Write train.csv, dev.csv, test.csv and the language model; returns their folder."""
    folder = work / corpus
    with open(data / corpus / "index.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    parts: dict[str, list[dict[str, str]]] = {"train": [], "dev": [], "test": []}
    for row in rows:
        held_out = drawn(f"ctc {corpus}/{row['speaker']}", DEV_SHARE)
        parts["test" if row["split"] == "test" else "dev" if held_out else "train"].append(row)
    for name, part in parts.items():
        text = io.StringIO()
        table = csv.writer(text)
        table.writerow(["path", "text", "speaker"])
        table.writerows(
            [(data / corpus / row["path"]).resolve(), row["transcript"], row["speaker"]]
            for row in part
        )
        write_text(folder / f"{name}.csv", text.getvalue())
    write_text(folder / "3-gram.arpa", BackOff([r["transcript"] for r in parts["train"]], 3).arpa())
    return folder


def train(folder: Path, start: str, seed: int, checkpoint: Path, updates: int) -> Recogniser | None:
    """Fine-tune one start, or go on; returns what listens where it is no checkpoint of ours."""
    out = folder / f"{start}_{seed}"
    if start == "log-mel":
        return log_mel(folder, out, seed, checkpoint, updates)
    cfg = finetuning.load("tiny_ctc", [
        f"data.train={folder / 'train.csv'}", f"data.valid={folder / 'dev.csv'}", "data.workers=0",
        f"data.batch_seconds={BATCH_SECONDS}", f"encoder.init={checkpoint}", *STARTS[start],
        f"optim.max_updates={updates}", f"optim.lr={RATE}", f"run.seed={seed}", f"run.out={out}",
        "run.device=cpu", "run.loggers=[]",
    ], files=True)  # fmt: skip
    finetune(cfg)
    return None


# ---- Log-mel frames in place of an encoder


class LogMelModel(nn.Module):
    """Log-mel frames, normalised by utterance, a layer of the encoder's width, and the head."""

    def __init__(self, dim: int, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.frames = MelFrames(EncoderConfig(frontend="mel", mel_norm="utterance"))
        self.projection = nn.Linear(self.frames.channels, dim)
        self.head = nn.Linear(dim, len(vocabulary))
        self.encoder = SimpleNamespace(
            hop=self.frames.hop,
            isolated=True,
            device=torch.device("cpu"),
            prepare=lambda wave: wave,
        )

    def forward(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """(B, N) and (B,) samples -> logits (B, T, V) and (B,) frames."""
        hidden = self.projection(self.frames(waves, lengths)).relu()
        return self.head(hidden), (lengths - 400) // self.frames.hop + 1


def log_mel(folder: Path, out: Path, seed: int, checkpoint: Path, updates: int) -> Recogniser:
    """Train such a model on as many batches, and keep the best on held-out speakers."""
    with open(folder / "train.csv", newline="", encoding="utf-8") as file:
        vocabulary = Vocabulary.from_transcripts(row["text"] for row in csv.DictReader(file))
    torch.manual_seed(seed)
    model = LogMelModel(load_encoder(checkpoint).dim, vocabulary)
    path, so_far = out / "best.pt", out / "unfinished.pt"
    if not path.exists():
        spoken, _ = read_references(folder / "train.csv", None, TextConfig(), vocabulary)
        waves = [load_wave(one.source) for one in spoken]
        optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
        best = np.inf
        drawn_batches = Bar("log-mel", updates).over(batches(spoken, seed, updates))
        for update, places in enumerate(drawn_batches):
            loss = _loss(model, [waves[p] for p in places], [spoken[p].text for p in places])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if (update + 1) % max(1, updates // 10) == 0:
                wer = _scored(_listening(model, path), folder / "dev.csv")
                if wer < best:
                    best = wer
                    with atomic_path(so_far) as temporary:
                        torch.save(model.state_dict(), temporary)
        os.replace(so_far, path)
    model.load_state_dict(torch.load(path, weights_only=True))
    return _listening(model, path)


def batches(spoken: Sequence[Spoken], seed: int, updates: int) -> Iterator[list[int]]:
    """Yield places of utterances that have `BATCH_SECONDS` together, drawn without replacement."""
    rng, queue = np.random.default_rng(seed), list[int]()
    for _ in range(updates):
        batch: list[int] = []
        while sum(spoken[place].samples for place in batch) < BATCH_SECONDS * SAMPLE_RATE:
            queue = queue or rng.permutation(len(spoken)).tolist()
            batch.append(queue.pop())
        yield batch


def _loss(model: LogMelModel, waves: Sequence[np.ndarray], texts: Sequence[str]) -> Tensor:
    pad = torch.nn.utils.rnn.pad_sequence
    lengths = torch.tensor([len(wave) for wave in waves])
    padded = pad([torch.from_numpy(wave) for wave in waves], batch_first=True)
    ids = [torch.tensor(model.vocabulary.encode(text)) for text in texts]
    sizes = torch.tensor([len(one) for one in ids])
    logits, frames = model(padded, lengths)
    blank = model.vocabulary.blank
    return ctc_losses(logits, frames, pad(ids, batch_first=True), sizes, blank).mean()


def _listening(model: Any, path: Path, request: SearchRequest | None = None) -> Recogniser:
    search = (request or SearchRequest()).searcher(model.vocabulary)
    return Recogniser(model, search, str(path))


def _scored(recogniser: Recogniser, data: Path) -> float:
    """The greedy word error rate."""
    recogniser.model.eval()
    spoken, _ = read_references(data, None, TextConfig(), recogniser.vocabulary)
    heard = (recogniser.log_probs([load_wave(one.source)])[0] for one in spoken)
    errors = [
        word_errors(one.text, recogniser.hypotheses(log_probs)[0].text)
        for one, log_probs in zip(spoken, heard, strict=True)
    ]
    recogniser.model.train()
    return total(errors).rate


# ---- Scores


def score(folder: Path, out: Path, special: Recogniser | None) -> None:
    """Decode the test split with both searches; what is there stays."""
    for search in SEARCHES:
        place = out / search
        if (place / "decode.json").exists():
            continue
        lm = SearchRequest(str(folder / "3-gram.arpa"), beam=BEAM)
        asked = SearchRequest() if search == "greedy" else lm
        tuning: dict[str, Any] = (
            {} if search == "greedy" else {"tune": str(folder / "dev.csv"), **GRID}
        )
        request = DecodeRequest(
            str(out / "best.pt"), str(folder / "test.csv"), asked, device="cpu", **tuning
        )
        recogniser = special and _listening(special.model, Path(special.source), asked)
        decode_files.write(decode(request, recogniser), place)


def measure(args: argparse.Namespace) -> Path:
    """Do what is not done yet, and write what there is after each piece."""
    path = pages.record_path("ctc_real", args.machine)
    corpora = args.only.split(",")
    checkpoint = args.checkpoint.resolve()
    check_work(args)
    for seed in range(1, args.seeds + 1):
        for corpus in corpora:
            folder = prepare(args.data, args.work, corpus)
            for start in STARTS:
                out = folder / f"{start}_{seed}"
                if not all((out / search / "decode.json").exists() for search in SEARCHES):
                    updates = args.updates or UPDATES[corpus]
                    score(folder, out, train(folder, start, seed, checkpoint, updates))
                write_json(path, record(args, checkpoint))
    return path


def check_work(args: argparse.Namespace) -> None:
    """Raise ValueError where --work holds what was trained for another number of updates."""
    for path in sorted(args.work.glob("*/*/config.yaml")):
        corpus = path.parent.parent.name
        found = yaml.safe_load(path.read_text(encoding="utf-8"))["optim"]["max_updates"]
        if corpus in UPDATES and found != (args.updates or UPDATES[corpus]):
            raise ValueError(
                f"{path}: of {found} updates, but {args.updates or UPDATES[corpus]} are asked for; "
                "give another --work, or the same --updates"
            )


def record(args: argparse.Namespace, checkpoint: Path) -> dict[str, Any]:
    """All pieces that are done, and their means."""
    pieces = []
    for place in sorted(args.work.glob("*/*/*/decode.json")):
        found = read_json(place)
        start, _, seed = place.parent.parent.name.rpartition("_")
        pieces.append({
            "corpus": place.parent.parent.parent.name, "start": start, "seed": int(seed),
            "search": place.parent.name, "wer": found["wer"]["rate"], "cer": found["cer"]["rate"],
            "tuned": found["tuned"] and found["tuned"] | {"on": Path(found["tuned"]["on"]).name},
            "empty": found["empty"], "utterances": found["utterances"],
        })  # fmt: skip
    return {
        "machine": args.machine,
        "versions": {name: version(name) for name in ("torch", "jiwer", "flashlight-text")},
        "setting": {
            "checkpoint": checkpoint_fingerprint(checkpoint), "config": "tiny_ctc",
            "updates": {name: args.updates or UPDATES[name] for name in CORPORA},
            "batch_seconds": BATCH_SECONDS, "lr": RATE, "beam": BEAM.beam,
        },
        "pieces": pieces,
        "rows": rows(args.work, pieces),
    }  # fmt: skip


def rows(work: Path, pieces: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Means over seeds, with 95 % intervals over the speakers of all seeds together."""
    out = []
    for corpus in CORPORA:
        for start in STARTS:
            for search in SEARCHES:
                same = [
                    piece for piece in pieces
                    if (piece["corpus"], piece["start"], piece["search"]) == (corpus, start, search)
                ]  # fmt: skip
                if not same:
                    continue
                wers = [piece["wer"] for piece in same]
                errors, speakers = [], []
                for piece in same:
                    table = work / corpus / f"{start}_{piece['seed']}" / search / "utterances.csv"
                    for row in csv.DictReader(table.open(newline="", encoding="utf-8")):
                        kinds = ("substitutions", "deletions", "insertions", "words")
                        errors.append(Errors(*(int(row[kind]) for kind in kinds)))
                        speakers.append(row["speaker"])
                out.append({
                    "corpus": corpus, "start": start, "search": search, "seeds": len(same),
                    "wer": float(np.mean(wers)),
                    "sd": float(np.std(wers, ddof=1)) if len(same) > 1 else None,
                    "cer": float(np.mean([piece["cer"] for piece in same])),
                    "interval": interval(errors, speakers), "speakers": len(set(speakers)),
                })  # fmt: skip
    return out


def table() -> str:
    """The table of docs/results.md, from the committed JSON."""
    kept = pages.records("ctc_real")
    if not kept:
        return pages.NOT_RUN
    found = kept[0]
    heads = ["test set", "start", "seeds", "WER % greedy", "WER % 3-gram", "CER % greedy"]
    lines = [f"| {' | '.join(heads)} |", "| --- | --- |" + " ---: |" * (len(heads) - 2)]
    by_cell = {(r["corpus"], r["start"], r["search"]): r for r in found["rows"]}
    for corpus, name in CORPORA.items():
        for start in STARTS:
            cells = [by_cell.get((corpus, start, search)) for search in SEARCHES]
            if cells[0] is None:
                lines.append(f"| {name} | {start} | 0 | not run | not run | not run |")
                continue
            shown = ["not run" if cell is None else _shown(cell) for cell in cells]
            seeds, cer = cells[0]["seeds"], f"{100 * cells[0]['cer']:.1f}"
            lines.append(f"| {name} | {start} | {seeds} | {' | '.join(shown)} | {cer} |")
    setting = found["setting"]
    updates = ", ".join(f"{CORPORA[name]} {count:,}" for name, count in setting["updates"].items())
    return "\n".join(lines) + (
        "\n\nMean over seeds ± sample standard deviation; in brackets the 95 % interval (bootstrap "
        f"over speakers, all seeds together). `{setting['config']}`, batches of "
        f"{setting['batch_seconds']:g} s, updates: {updates}; on {found['machine']}."
    )


def _shown(cell: Mapping[str, Any]) -> str:
    spread = f" ± {100 * cell['sd']:.1f}" if cell["sd"] is not None else ""
    bounds = cell["interval"]
    inside = f" ({100 * bounds[0]:.1f} to {100 * bounds[1]:.1f})" if bounds else ""
    return f"{100 * cell['wer']:.1f}{spread}{inside}"


def main() -> None:
    """Measure where there is data, then put the table into docs/results.md."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--work", type=Path, default=Path("runs/ctc_real"))
    parser.add_argument("--only", default=",".join(CORPORA), help="corpora, with commas")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=int, help="of fine-tuning, instead of the usual")
    parser.add_argument("--machine", default=platform.machine())
    args = parser.parse_args()
    if args.data and args.checkpoint:
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
        print(measure(args))
    pages.show("real-ctc", table())


if __name__ == "__main__":
    main()
