"""On a GPU nothing mixes devices, and nothing in the loop waits for it: shown without a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import toy
from torch.utils import backend_registration

PROGRAM = Path(__file__).with_name("pretended_gpu.py")
NAMES = [
    "updates", "updates with group norm", "updates with log-mel frames",
    "updates with relative positions", "updates with four masks, checkpointed", "fine-tuning",
    "hidden states", "k-means", "s3prl's expert", "stored frames",
    "control: a value", "control: a mask", "control: another device", "control: how many",
]  # fmt: skip
pytestmark = pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch has no devices that are written in Python",
)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    out = tmp_path_factory.mktemp("gpu") / "found.json"
    environment = {**os.environ, "PYTHONPATH": str(toy.ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(out)],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(out.read_text())


@pytest.mark.parametrize("name", NAMES)
def test_a_gpu_is_never_waited_for_and_devices_are_never_mixed(found, name):
    assert found[name] is None, found[name]


def test_every_check_is_looked_at(found):
    assert set(found) == set(NAMES)
