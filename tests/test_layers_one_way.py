"""Imports point one way, and each foreign thing is spoken in one room."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {  # room: what it may import of ours
    "mt4ssl_core": set(),
    "downstream_configs": set(),
    "mini_superb": set(),
    "upstream": {"mt4ssl_core", "downstream_configs"},
    "analysis": {"mt4ssl_core", "upstream", "mini_superb"},  # the demo
    "run_downstream": {"mt4ssl_core", "upstream"},
    "mt4ssl": {"mt4ssl_core", "upstream", "analysis"},
    "mt4ssl_cli": {"mt4ssl_core", "upstream", "analysis", "mini_superb", "run_downstream"},
}
EARLIER = ("mini_superb/__main__.py", "mt4ssl_cli")  # goes with `python -m mini_superb`
FLOORS = {  # package: its rooms and files from the ground up; each imports only what is below it
    "mt4ssl_core": [
        {"files"},
        {
            "bars",
            "command_line",
            "config",
            "configs",
            "distributed",
            "lines",
            "locks",
            "memory",
            "settings",
            "shipped",
            "slurm",
            "threads",
        },
        {"data", "store"},
        {"model", "search"},
        {"checkpoints"},
        {"labelling", "training"},
        {"recognition"},
        {"finetuning"},
        {"submitting"},
    ],
    "upstream": [
        {"door", "fairseq_shim"},
        {"compat"},
        {"corpora"},
        {"scores"},
        {"store"},
        {"own_task"},
        {"heads"},
        {"suite", "trained"},
    ],
    "analysis": [
        {"records"},
        {"tables", "labelled_speech"},
        {"plots", "abx"},
        {"probes"},
        {"choosing", "comparing", "convergence", "layer_weights"},
        {"report", "superb_card"},
        {"demo", "exporting"},
    ],
}
FOREIGN = {  # package: the only rooms that may import it
    "s3prl": {"upstream"},
    "fairseq": set(),
    "transformers": {"mt4ssl_core"},  # checkpoints/foreign
    "huggingface_hub": {"mt4ssl_core", "upstream"},  # checkpoints/foreign; for s3prl's own
    "espeakng_loader": {"mini_superb"},
    "torchaudio": {"upstream"},
    "matplotlib": {"analysis"},
}


def files(room):
    return [ROOT / f"{room}.py"] if (ROOT / f"{room}.py").exists() else (ROOT / room).rglob("*.py")


def imported(path):
    """Top-level names of every import in a file, lazy ones included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").split(".")[0]


def modules(path):
    """Dotted names of every import in a file, of what is imported from a package too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("package", FLOORS)
def test_the_rooms_of_a_package_stand_above_each_other(package):
    floor = {room: number for number, rooms in enumerate(FLOORS[package]) for room in rooms}
    for path in files(package):
        inner = path.relative_to(ROOT / package).parts
        if inner == ("__init__.py",):
            continue
        mine = inner[0].removesuffix(".py")
        for name in modules(path):
            top, _, rest = name.partition(".")
            theirs = rest.split(".")[0]
            if top != package or theirs not in floor or theirs == mine:
                continue
            settings = package == "mt4ssl_core" and floor[mine] == floor[theirs] == 1
            assert floor[theirs] < floor[mine] or settings, f"{path.relative_to(ROOT)}: {name}"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_is_below_it(room):
    allowed = ROOMS[room] | {room}
    for path in files(room):
        for name in imported(path):
            if (path.relative_to(ROOT).as_posix(), name) == EARLIER:
                continue
            assert name not in ROOMS or name in allowed, f"{path.relative_to(ROOT)}: {name}"
            if name in FOREIGN:
                assert room in FOREIGN[name], f"{path.relative_to(ROOT)}: {name}"


def test_only_one_folder_knows_foreign_names():
    words = ("final_proj", "post_extract_proj", "masked_spec_embed", "feature_projection")
    for path in (ROOT / "mt4ssl_core").rglob("*.py"):
        if "foreign" not in path.parts:
            text = path.read_text()
            assert not [word for word in words if word in text], path.name
            assert not {"transformers", "huggingface_hub"} & set(imported(path)), path.name


def test_every_package_is_found():
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    rooms = {f"{room}*" for room in ROOMS if (ROOT / room).is_dir()}
    assert rooms == set(settings["packages"]["find"]["include"])
    installed = {p.stem for p in ROOT.glob("*.py")} - {"hubconf"}  # torch.hub reads a checkout
    assert installed == set(settings["py-modules"])


def test_one_file_draws_on_the_terminal():
    """And the one that gives s3prl its bars; speech synthesis stands alone."""
    allowed = {"mt4ssl_core/lines.py", "upstream/compat/progress_bar.py"}
    paths = [path for room in ROOMS if room != "mini_superb" for path in files(room)]
    drawing = {p.relative_to(ROOT).as_posix() for p in paths if "tqdm" in set(imported(p))}
    assert drawing == allowed
