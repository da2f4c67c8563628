#!/usr/bin/env python
"""Put a checkpoint into the package as the model that it comes with.

python benchmarks/ship_model.py CKPT [--name mt4ssl-small] [--license ID]

Writes mt4ssl_core/shipped/NAME: the encoder in half precision and its card, with the command that
trained it, its hours, whose speech it heard (benchmarks/real_speech.md), and the table of
benchmarks/real_small.py.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from analysis import exporting  # noqa: E402
from benchmarks import real_small  # noqa: E402
from mt4ssl_core import shipped  # noqa: E402

SPEECH = ROOT / "benchmarks" / "real_speech.md"


def ship(checkpoint: Path, name: str, license: str) -> Path:
    """Write the model's folder, and return it.

    Raises:
        ValueError: it is larger than a model of the package may be; or as `exporting.export`.
    """
    out = shipped.FOLDER / name
    with tempfile.TemporaryDirectory() as folder:
        about = Path(folder) / "about.md"
        speech = SPEECH.read_text(encoding="utf-8")
        about.write_text(f"{speech}\n## Scores\n\n{real_small.table()}\n", encoding="utf-8")
        made = Path(folder) / name
        exporting.export(str(checkpoint), str(made), "compact", license=license, about=str(about))
        size = sum(file.stat().st_size for file in made.iterdir())
        if size > shipped.MOST_BYTES:
            raise ValueError(
                f"{checkpoint}: {size:,} bytes in half precision, and the package takes models of "
                f"at most {shipped.MOST_BYTES:,}; give a smaller one"
            )
        if out.exists():
            shutil.rmtree(out)
        shutil.copytree(made, out)
    print(f"{out}: {size / 1e6:.1f} MB")
    return out


def main() -> None:
    """Ship a checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--name", default=shipped.DEFAULT)
    parser.add_argument("--license", default="mit")
    args = parser.parse_args()
    ship(args.checkpoint, args.name, args.license)


if __name__ == "__main__":
    main()
