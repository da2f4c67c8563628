"""From the shell: all fifteen tasks of a checkpoint on synthesised corpora, then its report."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import superb_data
import toy

from upstream.door import tasks

COMMANDS = """
set -e
mt4ssl mini mini
mt4ssl superb doctor -k runs/first/last.pt --roots mini/roots.yaml
mt4ssl superb run -k runs/first/last.pt --tasks all --roots mini/roots.yaml \\
    --out runs/first/superb --smoke
mt4ssl store fill -k runs/first/last.pt --tasks sid --roots mini/roots.yaml && mt4ssl store ls
mt4ssl leaderboard runs/first
mt4ssl layer-weights runs/first/superb --audio mini/sid
mt4ssl probe -k runs/first/last.pt --data mini --out runs/first/probe --minutes 2 --clusters 50
mt4ssl report runs/first
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_task_gives_a_number(tmp_path):
    superb_data.save_checkpoint(tmp_path / "runs" / "first" / "last.pt")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", COMMANDS],
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
