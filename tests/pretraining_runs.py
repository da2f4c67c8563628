"""What tests of convergence share: folders as `mt4ssl pretrain` leaves them, made by hand."""

import json
from pathlib import Path

from mt4ssl_core.checkpoints import checkpoint

EVERY = 10  # updates between two lines of the log and two checkpoints


def run(folder, losses=(4.0, 3.0, 2.0), hours=8.0, online=None, **settings):
    """A run whose held-out offline loss is ``losses``, every 10 updates; returns its folder.

    An update takes 0.001 hours of time and 0.01 of audio. ``settings``: dotted, as run__seed=2.
    """
    folder = Path(folder)
    folder.mkdir(parents=True)
    lines = [{"update": 0, "train_hours": hours, "held_out_hours": 0.1, "left_out": []}]
    for number, loss in enumerate(losses, 1):
        update = EVERY * number
        spent = {"audio_hours": update / 100, "wall_hours": update / 1000}
        targets = {} if loss is None else {"offline/loss": loss, "offline/accuracy": 1 / loss}
        targets |= {} if online is None else {"online/loss": online}
        lines.append({"update": update, "epoch": 0, **spent, **targets, "loss": 1.0})
        lines.append({"update": update} | {f"valid/{key}": v for key, v in targets.items()})
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    values = {"run__seed": 1, "optim__max_updates": EVERY * len(losses), **settings}
    values = {"data__train": "/data/train.tsv", "data__labels": "/data/train.km", **values}
    config = {}
    for key, value in values.items():
        section, _, name = key.partition("__")
        config.setdefault(section, {})[name] = value
    (folder / "config.yaml").write_text(json.dumps(config))
    return folder


def checkpoints(folder, *updates, last=None):
    """Empty checkpoints of a run: update_N.pt, and last.pt."""
    for name, update in [*((f"update_{u}.pt", u) for u in updates), ("last.pt", last)]:
        if update is not None:
            state = {key: {} for key in checkpoint.REQUIRED} | {"progress": {"update": update}}
            checkpoint.save(Path(folder) / name, state)
    return folder
