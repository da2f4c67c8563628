"""The README is short, its commands run as written, its numbers are those of the results."""

import os
import re
import subprocess
import sys
from pathlib import Path

import docs_pages
import numpy as np
import pandas as pd
import pytest
import soundfile
import toy

from benchmarks import store_plot

README = (toy.ROOT / "README.md").read_text()
IMAGE = README.split("![")[1].split("]")[0]


PROSE = re.sub(r"```.*?```|^\|.*?$|!\[.*?\]\(.*?\)|<!--.*?-->", "", README, flags=re.S | re.M)


def block(name, language="bash"):
    found = re.search(rf"<!-- test: {name} -->\n```{language}\n(.*?)```", README, re.DOTALL)
    assert found, name
    return found.group(1)


def test_the_front_door_is_short_and_the_commands_come_early():
    lines = README.splitlines()
    assert len(lines) <= 150
    assert next(i for i, line in enumerate(lines) if line.startswith("![")) < 15
    assert next(i for i, line in enumerate(lines) if "has not been shown" in line) < 25
    assert next(i for i, line in enumerate(lines) if line.startswith("python run_down")) < 65
    parts = re.split(r"\n\n|\n> - |\n\d\. |(?<=[.:!?*])\s+(?=[A-Z*\[`])", PROSE)
    sentences = [len(part.split()) for part in parts if len(part.split()) > 2]
    assert sum(sentences) / len(sentences) <= 14


def test_paths_and_links_in_the_readme_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)]+)\)", README):
        path, _, anchor = target.partition("#")
        assert (toy.ROOT / path).exists(), target
        assert not anchor or anchor in docs_pages.anchors(Path(path).stem), target
    rooms = "mt4ssl_core|upstream|downstream_configs|mini_superb|analysis|benchmarks|docs|tests"
    for path in re.findall(rf"`((?:{rooms})/[\w/.]*)`", README):
        assert (toy.ROOT / path).exists(), path
    for target in re.findall(r"`make ([\w-]+)`", README):
        assert f"\n{target}:" in (toy.ROOT / "Makefile").read_text(), target


def test_numbers_of_the_readme_stand_in_the_results():
    """Of the section with results, and of the picture's description."""
    results = docs_pages.read("results")
    section = README.split("## Five results")[1].split("\n## ")[0]
    numbers = re.findall(r"\b\d+\.\d+\b|\b\d+x", section)
    assert len(numbers) > 12
    for number in numbers:
        assert re.search(rf"(?<![\d.]){re.escape(number)}", results), number
    said = {float(n.replace(",", "")) for n in re.findall(r"\w (\d[\d,.]*\d)", IMAGE)}
    shown = {round(times, 0 if times >= 10 else 1) for times in store_plot.rows()["times"]}
    assert said == shown


def test_the_picture_shows_what_the_json_says():
    drawn = pd.read_csv(store_plot.PICTURE.with_suffix(".csv"))
    pd.testing.assert_frame_equal(drawn, store_plot.rows())


def test_the_first_lines_give_features(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    soundfile.write("speech.wav", np.sin(np.arange(16_000) / 9), 16_000)
    said: dict = {}
    exec(README.split("```python\n")[1].split("```")[0], said)
    assert said["features"].shape == (7, 49, 128)  # (layers, frames, dim)


@pytest.mark.slow
def test_the_commands_run_word_for_word(tmp_path):
    """In an empty folder, with the demo's corpora made there as `make demo` does."""
    bin_folder = Path(sys.executable).parent
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").write_text(f'PATH="{bin_folder}:$PATH"\n')
    (tmp_path / "run_downstream.py").symlink_to(toy.ROOT / "run_downstream.py")
    environment = {**os.environ, "PYTHONPATH": str(toy.ROOT)}
    corpora = [sys.executable, "-m", "mt4ssl_cli", "mini", "demo_out/mini_superb", "--tasks", "ks"]
    subprocess.run(corpora, cwd=tmp_path, env=environment, check=True, timeout=300)
    python = f"python - <<'PYTHON'\n{block('python', 'python')}PYTHON\n"
    done = subprocess.run(
        ["bash", "-c", "set -e\n" + block("three commands") + python],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert "ks test acc = " in done.stdout
    assert (tmp_path / "runs/first/ks/results.json").exists()
    (frames,) = re.search(r"^5 96 50.0 torch.Size\(\[5, (\d+), 96\]\)$", done.stdout, re.M).groups()
    assert int(frames) > 20
    assert (tmp_path / "runs/x/results.jsonl").exists()
