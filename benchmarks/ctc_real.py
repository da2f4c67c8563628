#!/usr/bin/env python
"""Speech recognition on real speech: what does pre-training give when there are minutes of labels?

    python benchmarks/ctc_real.py --data DIR --checkpoint CKPT [--work DIR] [--only an4] [--seeds 3]
        [--set pre-trained:optim.head_lr=1e-2 ...]

DIR holds folders an4 and speechocean762, each with an index.csv (columns path, speaker, split,
transcript). Three starts are fine-tuned with CTC on letters: the checkpoint, an untrained copy of
it, and log-mel frames with a head of the same size. `--checkpoint NAME=CKPT`, given again, adds
the starts NAME-pre-trained and NAME-untrained. The corpora's own test splits are scored, greedily
and with a 3-gram of the training transcripts, whose weights are tuned on a tenth of the training
speakers: choose each start's settings (`--set`) on these, too. Every piece (corpus, seed, start) is
kept in --work, in a folder that is named by its settings, checkpoint and speech: the same command
goes on, and another setting never takes an old piece. What was recorded of corpora that are not
in --only stays, with its settings.
"""

import argparse
import csv
import io
import itertools
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from analysis.probes.splits import drawn  # noqa: E402
from benchmarks import pages  # noqa: E402
from benchmarks.ctc_log_mel import listening, log_mel  # noqa: E402
from benchmarks.ctc_starts import (  # noqa: E402
    BATCH_SECONDS,
    CONFIG,
    LOG_MEL,
    PRE_TRAINED,
    Start,
    said,
    starts,
)
from mini_superb.ngram import BackOff  # noqa: E402
from mt4ssl_core.checkpoints.convert import load_encoder  # noqa: E402
from mt4ssl_core.checkpoints.fingerprints import checkpoint_fingerprint  # noqa: E402
from mt4ssl_core.command_line import guarded  # noqa: E402
from mt4ssl_core.files import read_json, write_json, write_text  # noqa: E402
from mt4ssl_core.finetuning.finetune import finetune  # noqa: E402
from mt4ssl_core.recognition import decode_files  # noqa: E402
from mt4ssl_core.recognition.decode import DecodeRequest, decode  # noqa: E402
from mt4ssl_core.recognition.recogniser import Recogniser  # noqa: E402
from mt4ssl_core.recognition.search_request import SearchRequest  # noqa: E402
from mt4ssl_core.recognition.word_scores import Errors, interval  # noqa: E402
from mt4ssl_core.settings import bounds  # noqa: E402
from mt4ssl_core.settings.finetuning import FinetuneConfig  # noqa: E402
from mt4ssl_core.settings.recognition_defaults import BeamSettings  # noqa: E402

CORPORA = {"an4": "AN4", "speechocean762": "speechocean762"}
SEARCHES = ("greedy", "3-gram")
UPDATES = {"an4": 1500, "speechocean762": 3000}
DEV_SHARE = 0.1
BEAM = BeamSettings(beam=100)
GRID = {"lm_weights": (0.5, 1.0, 2.0), "word_scores": (0.0, 1.0)}


def prepare(data: Path, work: Path, corpus: str) -> None:
    """Write the language model, train.csv, dev.csv and, last, test.csv."""
    folder = work / corpus
    with open(data / corpus / "index.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    parts: dict[str, list[dict[str, str]]] = {"train": [], "dev": [], "test": []}
    for row in rows:
        held_out = drawn(f"ctc {corpus}/{row['speaker']}", DEV_SHARE)
        parts["test" if row["split"] == "test" else "dev" if held_out else "train"].append(row)
    write_text(folder / "3-gram.arpa", BackOff([r["transcript"] for r in parts["train"]], 3).arpa())
    for name, part in parts.items():
        text = io.StringIO()
        table = csv.writer(text)
        table.writerow(["path", "text", "speaker"])
        table.writerows(
            [(data / corpus / row["path"]).resolve(), row["transcript"], row["speaker"]]
            for row in part
        )
        write_text(folder / f"{name}.csv", text.getvalue())


def train(start: Start, cfg: FinetuneConfig) -> Recogniser | None:
    """Fine-tune one start, or go on; returns what listens where it is no checkpoint of ours."""
    if start.kind == LOG_MEL:
        return log_mel(cfg, load_encoder(start.checkpoint).dim)
    finetune(cfg)
    return None


# ---- Scores


def score(
    folder: Path, out: Path, special: Recogniser | None, searches: Sequence[str] = SEARCHES
) -> None:
    """Decode the test split with some searches; what is there stays."""
    for search in searches:
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
        recogniser = special and listening(special.model, Path(special.source), asked)
        decode_files.write(decode(request, recogniser), place)


@dataclass(frozen=True)
class Piece:
    """One training of a corpus, which may not be done yet; ``out`` is its folder."""

    corpus: str
    seed: int
    start: Start
    out: Path

    def is_done(self, searches: Sequence[str] = SEARCHES) -> bool:
        """Whether the test was decoded with all these."""
        return all((self.out / search / "decode.json").exists() for search in searches)


def planned(args: argparse.Namespace, corpora: Sequence[str]) -> list[Piece]:
    """The pieces that the arguments ask for, seed after seed; ValueError: a bad setting."""
    found = starts(args.checkpoint, args.set)
    prepared = [name for name in corpora if (args.work / name / "test.csv").exists()]
    return [
        Piece(corpus, seed, start, start.piece(args.work / corpus, seed, args.updates[corpus]))
        for seed in range(1, args.seeds + 1)
        for corpus in prepared
        for start in found
    ]


def lengths(text: str) -> dict[str, int]:
    """Be argparse's ``type`` of ``1000``, of all corpora, or ``an4=1000,speechocean762=2000``."""
    parts = [part.rpartition("=") for part in text.split(",")]
    if unknown := [name for name, _, _ in parts if name and name not in CORPORA]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r}; expected {' or '.join(CORPORA)}")
    whole = bounds.whole(at_least=1)
    return UPDATES | {
        corpus: whole(count) for name, _, count in parts for corpus in ([name] if name else CORPORA)
    }


def measure(args: argparse.Namespace) -> Path:
    """Do what is not done yet, and write what there is after each piece."""
    path = pages.record_path("ctc_real", args.machine)
    corpora = args.only.split(",")
    starts(args.checkpoint, args.set)  # mistakes are said before anything is done
    for corpus in corpora:
        prepare(args.data, args.work, corpus)
    for piece in planned(args, corpora):
        if not piece.is_done():
            folder = args.work / piece.corpus
            updates = args.updates[piece.corpus]
            cfg = piece.start.settings(folder, piece.seed, updates, piece.out)
            score(folder, piece.out, train(piece.start, cfg))
        kept = read_json(path)["corpora"] if path.exists() else {}
        kept |= {piece.corpus: record(args, piece.corpus)}
        write_json(path, {"machine": args.machine, "corpora": kept})
    return path


def record(args: argparse.Namespace, corpus: str) -> dict[str, Any]:
    """All pieces of these settings and one corpus that are done, and their means."""
    done = [
        (piece, search)
        for piece in planned(args, [corpus])
        for search in SEARCHES
        if piece.is_done([search])
    ]
    found = starts(args.checkpoint, args.set)
    return {
        "versions": {name: version(name) for name in ("torch", "jiwer", "flashlight-text")},
        "setting": {
            "checkpoints": {
                start.name: checkpoint_fingerprint(start.checkpoint)
                for start in found
                if start.kind == PRE_TRAINED
            },
            "config": CONFIG,
            "updates": args.updates[corpus],
            "batch_seconds": BATCH_SECONDS,
            "chosen": {start.name: start.chosen for start in found},
            "beam": BEAM.beam,
        },
        "pieces": [_of_piece(piece, search) for piece, search in done],
        "rows": rows(done, [start.name for start in found]),
    }


def _of_piece(piece: Piece, search: str) -> dict[str, Any]:
    found = read_json(piece.out / search / "decode.json")
    return {
        "start": piece.start.name, "seed": piece.seed, "search": search,
        "folder": piece.out.name, "wer": found["wer"]["rate"], "cer": found["cer"]["rate"],
        "tuned": found["tuned"] and found["tuned"] | {"on": Path(found["tuned"]["on"]).name},
        "empty": found["empty"], "utterances": found["utterances"],
    }  # fmt: skip


def rows(done: Sequence[tuple[Piece, str]], names: Sequence[str]) -> list[dict[str, Any]]:
    """Means over a corpus's seeds, with 95 % intervals over the speakers of all seeds together."""
    out = []
    for cell in itertools.product(names, SEARCHES):
        same = [piece for piece, search in done if (piece.start.name, search) == cell]
        if not same:
            continue
        name, search = cell
        rates = [_of_piece(piece, search) for piece in same]
        wers = [rate["wer"] for rate in rates]
        errors, speakers = [], []
        for piece in same:
            table = piece.out / search / "utterances.csv"
            for row in csv.DictReader(table.open(newline="", encoding="utf-8")):
                kinds = ("substitutions", "deletions", "insertions", "words")
                errors.append(Errors(*(int(row[kind]) for kind in kinds)))
                speakers.append(row["speaker"])
        out.append({
            "start": name, "search": search, "seeds": len(same),
            "wer": float(np.mean(wers)),
            "sd": float(np.std(wers, ddof=1)) if len(same) > 1 else None,
            "cer": float(np.mean([rate["cer"] for rate in rates])),
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
    for corpus, of_corpus in found["corpora"].items():
        by_cell = {(row["start"], row["search"]): row for row in of_corpus["rows"]}
        for start in dict.fromkeys(row["start"] for row in of_corpus["rows"]):
            cells = [by_cell.get((start, search)) for search in SEARCHES]
            shown = ["not run" if cell is None else _shown(cell) for cell in cells]
            greedy = by_cell[start, SEARCHES[0]]
            line = [CORPORA[corpus], start, str(greedy["seeds"]), *shown]
            lines.append(f"| {' | '.join(line)} | {100 * greedy['cer']:.1f} |")
    told = [_told(CORPORA[name], part["setting"]) for name, part in found["corpora"].items()]
    return "\n".join(lines) + (
        "\n\nMean over seeds ± sample standard deviation; in brackets the 95 % interval (bootstrap "
        f"over speakers, all seeds together); on {found['machine']}. {' '.join(told)}"
    )


def _told(corpus: str, setting: Mapping[str, Any]) -> str:
    encoders = ", ".join(f"`{digest[:8]}`" for digest in setting["checkpoints"].values())
    return (
        f"{corpus}: encoder {encoders}, {setting['updates']:,} updates of `{setting['config']}` "
        f"with batches of {setting['batch_seconds']:g} s.{said(setting['chosen'])}"
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
    parser.add_argument("--checkpoint", action="append", default=[], help="[NAME=]CKPT; repeatable")
    parser.add_argument("--set", action="append", default=[], help="START:KEY=VALUE; repeatable")
    parser.add_argument("--work", type=Path, default=Path("runs/ctc_real"))
    parser.add_argument("--only", default=",".join(CORPORA), help="corpora, with commas")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--updates", type=lengths, default=UPDATES, help="N, or CORPUS=N,CORPUS=N")
    parser.add_argument("--machine", default=platform.machine())
    args = parser.parse_args()
    if args.data and args.checkpoint:
        print(measure(args))
    pages.show("real-ctc", table())


if __name__ == "__main__":
    sys.exit(guarded("ctc_real", main))
