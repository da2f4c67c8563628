"""The pages of docs/: their commands run or at least parse, their links lead somewhere, they build.

A block that cannot run here has a line ``<!-- not run: REASON -->`` before it. All others run in
order, per page, in one folder (slow), with small settings put in by the programs of `small`.
"""

import contextlib
import importlib.util
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import toy
import yaml

import mt4ssl_cli
from mt4ssl_core import config, configs
from mt4ssl_core.files import write_json
from upstream import arguments
from upstream.suite import run_folder

DOCS = toy.ROOT / "docs"
PAGES = sorted(path.stem for path in DOCS.glob("*.md"))
MAKEFILE = (toy.ROOT / "Makefile").read_text()
FENCE = re.compile(r"(?:<!-- (.*?) -->\n)?```(\w+)(?: title=\"(.*?)\")?\n(.*?)^```$", re.M | re.S)
OTHER_PROGRAMS = {"cat", "cp", "git", "cd", "source", "tensorboard"}


@dataclass
class Block:
    """A fenced block; ``remark``: the comment before it."""

    remark: str
    language: str
    title: str
    text: str

    @property
    def reason(self):
        """Why it does not run; empty when it does."""
        return self.remark.removeprefix("not run: ") if self.remark.startswith("not run") else ""


def read(page):
    return (DOCS / f"{page}.md").read_text()


def blocks(page):
    found = [
        Block(*(part or "" for part in match.groups())) for match in FENCE.finditer(read(page))
    ]
    assert len(found) == read(page).count("\n```") / 2, page
    return found


def commands(text):
    """The simple commands of a shell script, as words."""
    text = re.sub(r"<<'?EOF'?\n.*?^EOF$", "", text, flags=re.M | re.S).replace("\\\n", " ")
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        while words:
            end = words.index("&&") if "&&" in words else len(words)
            yield words[:end]
            words = words[end + 1 :]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_parses(page):
    for block in blocks(page):
        if block.language == "bash":
            for words in commands(block.text):
                _parse(words)
        if block.language == "python" and not block.remark:
            compile(block.text, page, "exec")


def _parse(words):
    if words[0] == "torchrun":
        words = words[3:]
        words = ["mt4ssl", *words[2:]] if words[:2] == ["-m", "mt4ssl_cli"] else ["python", *words]
    program, rest = words[0], words[1:]
    if program == "python" and rest[0] == "run_downstream.py":
        arguments.parse(rest[1:])
    elif program == "mt4ssl" or (program == "python" and rest[0] == "spectrogram.py"):
        _parse_ours(rest if program == "mt4ssl" else rest[1:])
    elif program == "python" and rest[:2] == ["-m", "mini_superb"]:
        assert len(rest) == 3
    elif program == "python":
        assert (toy.ROOT / rest[0]).exists(), words
    elif program == "make":
        assert re.search(rf"^{rest[0]}:", MAKEFILE, re.M), words
    elif program == "pip":
        extras = tomllib.loads((toy.ROOT / "pyproject.toml").read_text())["project"]
        wanted = re.findall(r"[\w-]+", "".join(re.findall(r"\[(.*)\]", rest[1])))
        assert set(wanted) <= extras["optional-dependencies"].keys(), words
    else:
        assert program in OTHER_PROGRAMS or "=" in program, words


def _parse_ours(words):
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            args = mt4ssl_cli._parser().parse_args(words)
    except SystemExit:
        pytest.fail(f"mt4ssl {shlex.join(words)}: {said.getvalue()}")
    if words[0] == "pretrain" and not args.config.endswith(".yaml") and "mel={}" not in words:
        config.load(configs.path(args.config), args.overrides)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_begins_with_what_you_get_and_a_command(page):
    title, first, *_ = re.split(r"\n\n", read(page), maxsplit=2)
    assert title.startswith("# ") and first.startswith("You get "), page
    head = read(page).splitlines()[:20]
    assert "```bash" in head or page == "errors", page


@pytest.mark.parametrize("page", PAGES)
def test_a_block_that_does_not_run_says_why(page):
    for block in blocks(page):
        if block.remark.startswith("not run"):
            assert len(block.reason) > 10, block.text


def test_the_navigation_has_every_page():
    text = re.sub(r"!!\S+", "", (toy.ROOT / "mkdocs.yml").read_text())
    named = [path for entry in yaml.safe_load(text)["nav"] for path in entry.values()]
    assert sorted(named) == [f"{page}.md" for page in PAGES]


@pytest.mark.parametrize("page", PAGES)
def test_links_and_paths_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", read(page), flags=re.S)
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        if path.startswith("plots/"):
            assert (toy.ROOT / "analysis/scores/convergence" / Path(path).name).exists(), target
            continue
        assert (DOCS / (path or f"{page}.md")).exists(), target
        assert not anchor or anchor in _anchors(Path(path).stem or page), target
    rooms = "mt4ssl_core|tests|benchmarks|upstream|analysis|downstream_configs|mini_superb"
    for path in re.findall(rf"`((?:{rooms})/[\w/.]*)`", text):
        assert (toy.ROOT / path).exists() or "TASK" in path, path
    for target in re.findall(r"`make ([\w-]+)`", text):
        assert f"\n{target}:" in MAKEFILE, target


def _anchors(page):
    titles = re.findall(r"^#+ (.*)$", read(page), re.M)
    plain = (re.sub(r"[^\w\s-]", "", title).strip().lower() for title in titles)
    return {re.sub(r"[-\s]+", "-", title) for title in plain}


@pytest.mark.parametrize(
    ("script", "marker"),
    [
        ("demo_scores", "demo-scores"),
        ("learnability", "learnability"),
        ("feature_store", "feature-store"),
        ("measure_checks", "measure-checks"),
        ("real_keywords", "real-ks"),
        ("real_convergence", "convergence"),
    ],
)
def test_results_show_what_the_json_says(script, marker):
    module = importlib.import_module(f"benchmarks.{script}")
    shown = read("results").split(f"<!-- {marker} -->")[1].split(f"<!-- /{marker} -->")[0]
    assert shown.strip() == module.table().strip(), "run `make tables`"


CHECKPOINT = (
    "python -c 'import sys; sys.path.insert(0, sys.argv[1]); import superb_data, pathlib; "
    'superb_data.save_checkpoint(pathlib.Path("runs/first/last.pt"))\' ' + str(toy.ROOT / "tests")
)
BEFORE = {  # what a page takes for granted
    "index": """
        python -m mini_superb demo_out/mini_superb
        mkdir -p .venv/bin && : > .venv/bin/activate""",
    "pretrain": "python -m mini_superb demo_out/mini_superb",
    "score": CHECKPOINT,
    "store": f"python -m mini_superb mini\n{CHECKPOINT}",
    "understand": f"""
        python -m mini_superb mini
        mt4ssl kmeans fit mini/pretrain km.safetensors --clusters 100
        mt4ssl kmeans label km.safetensors mini/pretrain labels
        cp {configs.path("tiny")} {configs.path("base")} .
        printf 'extends: tiny.yaml\\nonline: null\\n' > offline.yaml
        mt4ssl pretrain tiny data.train=labels/train.tsv data.labels=labels/train.km \\
            run.out=runs/first run.keep_every=1
        mt4ssl superb run runs/first/last.pt --tasks ks,pr --roots mini/roots.yaml \\
            --out runs/first/superb --smoke""",
}
SIZE = {"understand": "default"}  # of the corpora; probes need some hundred utterances
MADE = {  # files that the page says are there afterwards
    "index": ["runs/first/ks/results.json"],
    "pretrain": ["runs/one/last.pt", "runs/mine/config.yaml", "runs/two/last.pt",
                 "hf_model/model.safetensors", "features/features.json"],
    "score": ["runs/first/superb/results.jsonl", "runs/first/superb/predict.zip",
              "runs/fbank/results.jsonl", "runs/first/ks/results.json"],
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
  "pretrain "*) set -- "$@" optim.max_updates=2 run.device=cpu;;
  "superb run") set -- "$@" --executor inline --device cpu;;
  "convergence study")
    set -- convergence study optim.max_updates=2 "${{@:3}}"
    set -- "${{@/#run.keep_every=*/run.keep_every=1}}";;
esac
exec {python} -m mt4ssl_cli "$@"
"""
    programs = {
        "mt4ssl": ours,
        "torchrun": f'exec {torchrun} "$@" optim.max_updates=2',
        "python": f"""
case "$1 $2" in
  "-m mini_superb") set -- "$@" --tasks ks,pr,sid {corpora};;
esac
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


def run(folder, text, size="tiny", tree=toy.ROOT):
    """Run a script with small settings and its own cache; return what it printed."""
    path = os.pathsep.join([str(small(folder / "small", size)), os.environ["PATH"]])
    own = {"PATH": path, "PYTHONPATH": str(tree), "MT4SSL_CACHE": str(folder / "cache")}
    (folder / "run_downstream.py").symlink_to(tree / "run_downstream.py")
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
    """In a copy of the project: a new target trains, a new upstream is scored."""
    tree = tmp_path / "tree"
    skip = shutil.ignore_patterns(".*", "demo_out", "runs", "tests", "site")
    shutil.copytree(toy.ROOT, tree, ignore=skip)
    shell = ["set -e", "python -m mini_superb mini", "ln -s mini/pretrain speech"]
    for block in blocks("extend"):
        if block.title.endswith(".py"):
            place = tree if "/" in block.title else tmp_path
            (place / block.title).write_text(block.text)
        elif block.remark.startswith(("above: ", "below: ")):
            _insert(tree, block)
        elif block.language == "bash" and not block.remark:
            shell.append(block.text)
    run(tmp_path, "\n".join(shell), tree=tree)
    assert '"mel/loss"' in (tmp_path / "runs/mel/log.jsonl").read_text()
    assert (tmp_path / "runs/spectrogram/results.jsonl").exists()


def _insert(tree, block):
    """Put a block above or below the line that its remark names: `above: FILE: LINE`."""
    where, name, line = block.remark.split(": ", 2)
    text = (tree / name).read_text()
    pattern = r"[ \t]*" + r"\s+".join(map(re.escape, line.split())) + r"[^\n]*\n"
    (found,) = re.finditer(pattern, text)
    cut = found.start() if where == "above" else found.end()
    gap = "\n\n" if block.text.startswith("@") else ""
    (tree / name).write_text(text[:cut] + block.text + gap + text[cut:])


@pytest.mark.slow
def test_the_pages_build_strictly_and_fetch_nothing(tmp_path):
    for name in ("mkdocs", "material", "mkdocstrings"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is missing: pip install '.[docs]'")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path],
        cwd=toy.ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    built = list(tmp_path.rglob("*.html"))
    assert len(built) > len(PAGES) + 5
    for path in built:
        text = path.read_text()
        tags = re.findall(r"<(?:script|img|link|iframe|source)\b[^>]*>", text)
        assert not [t for t in tags if re.search(r'(?:src|href)="(?:https?:)?//', t)], path
    style = "".join(path.read_text() for path in tmp_path.rglob("*.css"))
    assert not re.findall(r"url\(['\"]?https?:", style)


MISTAKES = {  # part of the message, which is a heading of the page: a command line
    "unknown key. Did you mean": "pretrain tiny optim.lrr=1",
    "missing value; give data.train=": "pretrain online_only",
    "the offline target needs labels": "pretrain base data.train=SHORT",
    "is null (off); add": "pretrain tiny random_projection.num_classes=5",
    "or one utterance does not fit": "pretrain tiny data.batch_seconds=1",
    "this machine has no usable GPU": "pretrain online_only data.train=SHORT run.device=cuda",
    "no such file or folder": "kmeans fit NOWHERE km.safetensors",
    "no audio in this folder": "kmeans fit EMPTY km.safetensors",
    "no usable audio": "kmeans fit SHORT km.safetensors",
    "not an mt4ssl checkpoint": "extract OTHER.pt EMPTY out",
    "no such checkpoint": "superb run NOWHERE.pt --roots EMPTY --out out",
    "unknown task": "superb run --upstream fbank --tasks kz --roots EMPTY --out out",
    "has no line; add": "superb run --upstream fbank --tasks ks --roots roots.yaml --out out",
    "problem(s) with the corpora": "superb prepare ks --root EMPTY",
    "is not among --tasks": "superb run -u fbank --tasks ks --roots EMPTY --out out --rates pr=1",
    "Results are not mixed": "superb run -u fbank --tasks ks --roots EMPTY --out SUITE",
    "no results of SUPERB": "superb submit SUITE --tasks ks",
    "no feature store": "store rm nothing --store-dir EMPTY",
}


@pytest.mark.parametrize("part", MISTAKES)
def test_the_messages_are_those_that_the_page_explains(part, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "SHORT").mkdir()
    soundfile.write("SHORT/a.wav", np.zeros(100), 16_000)
    torch.save({"weights": torch.zeros(1)}, "OTHER.pt")
    Path("roots.yaml").write_text("pr: EMPTY\n")
    owner = {"upstream": "mt4ssl", "fingerprint": "0", "seed": 1337, "smoke": True, "ckpt": None}
    write_json(Path("SUITE/suite.json"), {"format": run_folder.FORMAT, "version": 1, **owner})
    if part == "this machine has no usable GPU" and torch.cuda.is_available():
        pytest.skip("it has one")
    assert mt4ssl_cli.main(shlex.split(MISTAKES[part])) == 2
    assert part in capsys.readouterr().err
    assert f"### `{part}`\n" in read("errors")


@pytest.mark.parametrize(
    "part", re.findall(r"^### `(.*)`$", (DOCS / "errors.md").read_text(), re.M)
)
def test_every_explained_message_is_in_the_code(part):
    """Whole, or its words beside each other where a line of the source is broken."""
    found = re.compile(r"[\s\"'f(]+".join(map(re.escape, part.split())))
    rooms = ("mt4ssl_core", "upstream", "analysis", "mt4ssl_cli.py")
    paths = [p for room in rooms for p in [toy.ROOT / room, *(toy.ROOT / room).rglob("*.py")]]
    texts = (path.read_text() for path in paths if path.suffix == ".py")
    assert part in MISTAKES or any(found.search(text) for text in texts)
