"""The README's commands run as written; its tables are those that the results give."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import superb_data
import toy

from upstream.door import tasks

README = (toy.ROOT / "README.md").read_text()


def block(name):
    found = re.search(rf"<!-- test: {re.escape(name)} -->\n```bash\n(.*?)```", README, re.DOTALL)
    assert found, name
    return found.group(1)


def test_one_plot_and_the_three_commands_come_early():
    lines = README.splitlines()
    assert next(i for i, line in enumerate(lines) if line.startswith("![")) < 12
    assert next(i for i, line in enumerate(lines) if line.startswith("python run_down")) < 45


def test_paths_in_the_readme_exist():
    for path in re.findall(r"\]\((?!http|#)([^)]+)\)", README):
        assert (toy.ROOT / path).exists(), path
    for path in re.findall(r"`((?:mt4ssl_core|tests|benchmarks|upstream)/[\w/.]+)`", README):
        assert (toy.ROOT / path).exists(), path
    for target in re.findall(r"`make ([\w-]+)`", README):
        assert f"\n{target}:" in (toy.ROOT / "Makefile").read_text(), target


@pytest.mark.slow
def test_the_commands_run_word_for_word(tmp_path):
    """In an empty folder, with the demo's corpora made there as `make demo` does."""
    bin_folder = Path(sys.executable).parent
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "activate").write_text(f'PATH="{bin_folder}:$PATH"\n')
    (tmp_path / "run_downstream.py").symlink_to(toy.ROOT / "run_downstream.py")
    environment = {**os.environ, "PYTHONPATH": str(toy.ROOT)}
    corpora = [sys.executable, "-m", "mini_superb", "demo_out/mini_superb", "--tasks", "ks"]
    subprocess.run(corpora, cwd=tmp_path, env=environment, check=True, timeout=300)
    script = "set -e\n" + block("three commands") + block("pretrain")
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert "ks test acc = " in done.stdout
    assert (tmp_path / "runs/first/ks/results.json").exists()
    assert (tmp_path / "runs/one_command/last.pt").exists()
    assert (tmp_path / "hf_model/model.safetensors").exists()
    assert len(list((tmp_path / "features").rglob("*.npy"))) > 100


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_task_gives_a_number_word_for_word(tmp_path):
    """A checkpoint to all fifteen tasks on synthesised corpora, with a few steps each."""
    superb_data.save_checkpoint(tmp_path / "runs" / "first" / "last.pt")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", "set -e\n" + block("score") + block("understand")],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(toy.ROOT), "PATH": path},
        capture_output=True,
        text=True,
        timeout=1700,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    assert "| HuBERT Base |" in done.stdout and "cca_phone ↑" in done.stdout
    assert (tmp_path / "runs/first/report.html").stat().st_size > 50_000
    lines = (tmp_path / "runs/first/superb/results.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert {record["task"] for record in records} == set(tasks.names())
    for name in tasks.names():
        wanted = {m["name"] for m in tasks.header(name)["metrics"] if tasks.stage_of(m) == "test"}
        found = {record["metric"] for record in records if record["task"] == name}
        assert wanted <= found
    assert all(record["smoke"] and record["corpus"]["kind"] == "mini" for record in records)
