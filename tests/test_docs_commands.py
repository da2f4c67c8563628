"""What the pages of docs/ say to type works: blocks run in order, per page, in one folder.

Small settings are put in by the programs of `small`.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import toy
from docs_pages import PAGES, blocks

from mt4ssl_core import configs

CHECKPOINT = (
    "python -c 'import sys; sys.path.insert(0, sys.argv[1]); import superb_data, pathlib; "
    'superb_data.save_checkpoint(pathlib.Path("runs/first/last.pt"))\' ' + str(toy.ROOT / "tests")
)
BEFORE = {  # what a page takes for granted
    "finetune": f"mt4ssl mini demo_out/mini_superb\n{CHECKPOINT}",
    "pretrain": "mt4ssl mini demo_out/mini_superb",
    "python": "mt4ssl mini demo_out/mini_superb",
    "score": f"""{CHECKPOINT}
        python -c "import numpy, soundfile, os; [
            soundfile.write(os.path.join(folder, str(i) + '.wav'), numpy.sin(range(32_000)), 16_000)
            for folder in ('my_speakers/ann', 'my_speakers/bob', 'my_speakers/cem')
            for i in range(10) if os.makedirs(folder, exist_ok=True) is None]" """,
    "share": CHECKPOINT,
    "own_task": f"""{CHECKPOINT}
        python -c "import numpy, soundfile
rows = []
for number in range(40):
    pitch = 1 + number % 2
    samples = 0.1 * numpy.sin(0.05 * pitch * numpy.arange(16_000))
    soundfile.write(str(number) + '.wav', samples, 16_000)
    name = str(number) + '.wav'
    rows.append((name, ('low', 'high')[pitch - 1], 'lo hi'[:number % 4 + 2], str(number % 10)))
for path, place in (('commands.csv', 1), ('notes.csv', 2), ('voices.csv', 3)):
    column = (None, 'label', 'text', 'speaker')[place]
    lines = ['path,' + column] + [row[0] + ',' + row[place] for row in rows]
    open(path, 'w').write(chr(10).join(lines))" """,
    "store": f"mt4ssl mini mini\n{CHECKPOINT}",
    "understand": f"""
        mt4ssl mini mini
        mt4ssl kmeans fit mini/pretrain km.safetensors --clusters 100
        mt4ssl kmeans label km.safetensors mini/pretrain labels
        cp {configs.path("tiny")} {configs.path("base")} .
        printf 'extends: tiny.yaml\\nonline: null\\n' > offline.yaml
        mt4ssl pretrain tiny data.train=labels/train.tsv data.labels=labels/train.km \\
            run.out=runs/first run.keep_every=1
        mt4ssl superb run -k runs/first/last.pt --tasks ks,pr --roots mini/roots.yaml \\
            --out runs/first/superb --smoke""",
}
SIZE = {"understand": "default"}  # of the corpora; probes need some hundred utterances
MADE = {  # files that the page says are there afterwards
    "finetune": ["runs/letters/last.pt", "said.txt", "captions", "hf_letters/vocab.json",
                 "runs/letters/decode/test-clean/decode.json"],
    "pretrain": ["runs/one/last.pt", "runs/mine/config.yaml", "runs/two/last.pt",
                 "hf_model/model.safetensors", "features/features.json"],
    "score": ["runs/first/superb/results.jsonl", "runs/first/superb/predict.zip",
              "runs/fbank/results.jsonl", "runs/first/ks/said.csv", "runs/first/ks/results.json",
              "runs/first/mine/results.jsonl", "runs/first/minisuperb/results.jsonl"],
    "own_task": ["runs/commands/results.jsonl", "runs/commands/report.html",
                 "runs/notes/results.jsonl", "runs/voices/results.jsonl"],
    "python": ["runs/first/superb/results.jsonl", "runs/python/last.pt"],
    "share": ["hf_model/README.md", "fairseq_model/checkpoint.pt"],
    "store": ["runs/first/frames/results.jsonl"],
    "understand": ["runs/first/report.html", "row.tex", "runs/first/superb/layer_weights.svg",
                   "runs/first/probe/probe.json", "runs/study"],
}  # fmt: skip


def small(folder, size):
    """Programs that put small settings into what the pages start."""
    python, torchrun = sys.executable, Path(sys.executable).with_name("torchrun")
    corpora = "" if size == "default" else f"--size {size}"
    ours = f"""
case "$1 $2" in
  "mini "*) set -- "$@" --tasks ks,pr,sid {corpora};;
  "pretrain "*|"finetune "*) set -- "$@" optim.max_updates=2 run.device=cpu;;
  "superb run") set -- "$@" --executor inline --device cpu;;
  "task train") set -- "$@" --smoke --steps 4 --executor inline --device cpu;;
  "convergence study")
    set -- convergence study optim.max_updates=2 "${{@:3}}"
    set -- "${{@/#run.keep_every=*/run.keep_every=1}}";;
esac
exec {python} -m mt4ssl_cli "$@"
"""
    programs = {
        "mt4ssl": ours,
        "pip": f'exec {python} -m pip "$@" -q --no-build-isolation --target "$PWD/installed"',
        "torchrun": f'exec {torchrun} "$@" optim.max_updates=2',
        "python": f"""
exec {python} "$@"
""",
    }
    folder.mkdir()
    for name, text in programs.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\n{text}")
        (folder / name).chmod(0o755)
    return folder


def script(page):
    """The blocks of a page that run, as one shell script."""
    parts = ["set -e", BEFORE.get(page, "")]
    for block in blocks(page):
        if block.remark or block.language not in ("bash", "python"):
            continue
        text = (
            block.text if block.language == "bash" else f"python - <<'PYTHON'\n{block.text}PYTHON"
        )
        parts.append(text)
    return "\n".join(parts)


def run(folder, text, size="tiny"):
    """Run a script with small settings and its own cache; return what it printed."""
    path = os.pathsep.join([str(small(folder / "small", size)), os.environ["PATH"]])
    own = {
        "PATH": path,
        "PYTHONPATH": f"{toy.ROOT}:{folder / 'installed'}",
        "MT4SSL_CACHE": str(folder / "cache"),
    }
    (folder / "run_downstream.py").symlink_to(toy.ROOT / "run_downstream.py")
    done = subprocess.run(
        ["bash", "-c", text], cwd=folder, env={**os.environ, **own}, capture_output=True, text=True,
        timeout=1700,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", [page for page in PAGES if page != "extend"])
def test_a_page_runs_word_for_word(page, tmp_path):
    if not [b for b in blocks(page) if b.language in ("bash", "python") and not b.remark]:
        return
    run(tmp_path, script(page), SIZE.get(page, "tiny"))
    for name in MADE[page]:
        assert (tmp_path / name).exists(), name


@pytest.mark.slow
def test_the_extensions_work_as_told(tmp_path):
    """A new target trains, a new upstream is scored; no file of the project is touched."""
    shell = ["set -e", "mt4ssl mini mini", "ln -s mini/pretrain speech"]
    for block in blocks("extend"):
        if block.title.endswith((".py", ".toml")):
            file = tmp_path / block.title
            file.parent.mkdir(exist_ok=True)
            file.write_text(block.text)
        elif block.language == "bash" and not block.remark:
            shell.append(block.text)
    run(tmp_path, "\n".join(shell))
    assert '"mel/loss"' in (tmp_path / "runs/mel/log.jsonl").read_text()
    assert (tmp_path / "runs/spectrogram/results.jsonl").exists()
