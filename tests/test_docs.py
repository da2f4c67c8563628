"""The pages of docs/: their commands parse, links lead somewhere, messages and tables are true.

A block that cannot run here has a line ``<!-- not run: REASON -->`` before it. All others run in
test_docs_commands.py.
"""

import contextlib
import importlib
import io
import json
import re
import shlex
import tomllib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import toy
import typer
import yaml
from docs_pages import DOCS, MAKEFILE, PAGES, anchors, blocks, commands, read

import mt4ssl_cli
from benchmarks import clones, pages
from mt4ssl_cli import commands as cli_commands
from mt4ssl_cli import framework
from mt4ssl_core import config, configs
from mt4ssl_core.files import write_json
from upstream.heads import arguments
from upstream.suite import run_folder

OTHER_OPTIONS = {  # of every command; of torchrun, SLURM and TensorBoard
    "--help", "--nproc-per-node", "--nnodes", "--max-restarts", "--rdzv-backend",
    "--rdzv-endpoint", "--signal", "--logdir",
}  # fmt: skip
OTHER_PROGRAMS = {"cat", "cp", "echo", "git", "hf", "cd", "source", "tensorboard"}


@pytest.mark.parametrize("page", [*PAGES, "../README"])
def test_every_command_parses(page):
    for block in blocks(page):
        if block.language == "bash":
            for words in commands(block.text):
                _parse(words)
        if block.language == "python" and not block.remark:
            compile(block.text, page, "exec")


def _parse(words):
    if words[0] == "torchrun":
        ours = "mt4ssl_cli" in words
        words = words[words.index("mt4ssl_cli") + 1 :] if ours else words[3:]
        words = ["mt4ssl" if ours else "python", *words]
    program, rest = words[0], words[1:]
    if program == "python" and rest[0] == "run_downstream.py":
        arguments.parse(rest[1:])
    elif program == "mt4ssl":
        _parse_ours(rest)
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
    """Only spellings of this version: there is no note."""
    said = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(said):
        patch.setattr(framework.Command, "invoke", lambda self, ctx: ctx.params)
        asked = framework.run(cli_commands.app, words)
    assert not said.getvalue(), words
    if words[0] == "pretrain" and not asked["config"].endswith(".yaml") and "mel={}" not in words:
        config.load(configs.path(asked["config"]), asked["overrides"])


def options(command):
    """The options of a command and of those below it."""
    found = {name for parameter in command.params for name in parameter.opts}
    return found.union(*map(options, getattr(command, "commands", {}).values()))


@pytest.mark.parametrize("page", [*PAGES, "../README"])
def test_every_option_that_is_named_is_there(page):
    rooms = ("benchmarks", "upstream")
    code = [path.read_text() for room in rooms for path in (toy.ROOT / room).rglob("*.py")]
    there = options(typer.main.get_command(cli_commands.app)) | OTHER_OPTIONS
    there |= set(re.findall(r'"(--[a-z-]+)"', "".join(code)))
    there |= {f"--{name}" for name in clones.WHERE}
    assert set(re.findall(r"(?<![\w-])--[a-z][\w-]+", read(page))) <= there


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


def test_the_first_page_has_every_extra():
    project = tomllib.loads((toy.ROOT / "pyproject.toml").read_text())["project"]
    rows = read("index").partition("| extra |")[2].partition("\n\n")[0].splitlines()
    told = {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}
    assert told == set(project["optional-dependencies"])


def test_the_first_page_shows_parts_of_the_readme(monkeypatch):
    monkeypatch.syspath_prepend(DOCS)
    shown = importlib.import_module("hooks").on_page_markdown(read("index"))
    assert '!!! warning "What has not been shown"\n\n    - Nothing has run on' in shown
    assert "\n```bash\nsource .venv/bin/activate\n" in shown and shown.count("```") % 2 == 0


@pytest.mark.parametrize("page", PAGES)
def test_links_and_paths_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", read(page), flags=re.S)
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        assert (DOCS / (path or f"{page}.md")).exists(), target
        assert not anchor or anchor in anchors(Path(path).stem or page), target
    rooms = "mt4ssl_core|tests|benchmarks|upstream|analysis|downstream_configs|mini_superb"
    for path in re.findall(rf"`((?:{rooms})/[\w/.]*)`", text):
        assert (toy.ROOT / path).exists() or "TASK" in path, path
    for target in re.findall(r"`make ([\w-]+)`", text):
        assert f"\n{target}:" in MAKEFILE, target


@pytest.mark.parametrize(
    ("script", "marker"),
    [
        ("demo_scores", "demo-scores"),
        ("demo_search", "demo-search"),
        ("learnability", "learnability"),
        ("feature_store", "feature-store"),
        ("measure_checks", "measure-checks"),
        ("abx", "abx"),
        ("choose", "choose"),
        ("parity", "parity"),
        ("real_heads", "real-heads"),
        ("ctc_real", "real-ctc"),
        ("front_end", "front-end"),
        ("pretrain_step", "pretrain-step"),
        ("pretrain_options", "pretrain-options"),
        ("saving", "saving"),
        ("ceiling", "ceiling"),
        ("goals", "goals"),
        ("labelling", "labelling"),
        ("manifest", "manifest"),
        ("loader", "loader"),
        ("extract", "extract"),
        ("kmeans", "kmeans"),
        ("real_small", "real-small"),
        ("convergence_page", "convergence"),
        ("online_shortcut", "online-shortcut"),
    ],
)
def test_results_show_what_the_json_says(script, marker):
    module = importlib.import_module(f"benchmarks.{script}")
    shown = read("results").split(f"<!-- {marker} -->")[1].split(f"<!-- /{marker} -->")[0]
    assert shown.strip() == module.table().strip(), "run `make tables`"


def test_every_weight_comes_back_from_every_round_trip():
    parity = importlib.import_module("benchmarks.parity")
    shown = read("results").split("<!-- round-trips -->")[1].split("<!-- /round-trips -->")[0]
    assert shown.strip() == parity.trips_table().strip(), "run `make tables`"
    rows = json.loads(parity.RESULT.read_text())
    assert all(row["identical"] == row["tensors"] for row in rows["round_trips"])
    assert all(max(row["alone"], row["padded"]) <= 1e-5 for row in rows["rows"])


def test_a_machine_is_called_after_its_processor():
    found = {path.stem: json.loads(path.read_text()) for path in pages.JSONS.glob("*.json")}
    machines = {name: record.get("machine") for name, record in found.items()}
    named = {name: machine for name, machine in machines.items() if isinstance(machine, dict)}
    assert len(named) >= 2
    for name, machine in named.items():
        assert name.endswith(machine["name"]), name
        assert machine["name"].split("_")[0] in machine["cpu"].lower(), name


def test_a_table_goes_to_the_results(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "RESULTS", tmp_path / "results.md")
    pages.RESULTS.write_text("<!-- x -->\n<!-- /x -->\n")
    pages.show("x", "| a |")
    assert "| a |" in pages.RESULTS.read_text()
    with pytest.raises(ValueError, match="not found"):
        pages.show("y", "")


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
    "not the settings of their encoder": "extract WEIGHTS.pt EMPTY out",
    "not an mt4ssl checkpoint": "extract OTHER.pt EMPTY out",
    "no such checkpoint": "superb run -k NOWHERE.pt --roots EMPTY --out out",
    "unknown task": "superb run --upstream fbank --tasks kz --roots EMPTY --out out",
    "has no line; add": "superb run --upstream fbank --tasks ks --roots roots.yaml --out out",
    "without a corpus that is ready": "superb prepare --tasks ks --root EMPTY",
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
    torch.save({"weights": torch.zeros(1)}, "WEIGHTS.pt")
    torch.save({"epoch": 3}, "OTHER.pt")
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
    rooms = ("mt4ssl_core", "upstream", "analysis", "mt4ssl_cli")
    paths = [p for room in rooms for p in (toy.ROOT / room).rglob("*.py")]
    texts = (path.read_text() for path in paths if path.suffix == ".py")
    assert part in MISTAKES or any(found.search(text) for text in texts)
