"""Several processes that meet over gloo, as torchrun starts them, for one import of torch."""

import json
import os
import signal
import subprocess
import sys

import toy

FORKED = """
import json, os, socket, sys
import torch._dynamo  # what processes import late
import mt4ssl_cli
import mt4ssl_core.finetuning.finetune, mt4ssl_core.training.pretrain

def run(size, words):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = {{}}
    for rank in range(size):
        child = os.fork()
        if child == 0:
            meeting = {{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}}
            mine = {{"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, **meeting}}
            os.environ |= {{name: str(value) for name, value in mine.items()}}
            code = mt4ssl_cli.main(words)
            sys.stdout.flush()
            os._exit(code)
        children[child] = rank
    codes = [0] * size
    for _ in range(size):
        child, status = os.wait()
        codes[children[child]] = os.waitstatus_to_exitcode(status)
    print("exit codes:", *codes, flush=True)

{before}
for size, words in json.loads(sys.argv[1]):
    run(size, words)
"""


def together(*commands, before=""):
    """Run ``mt4ssl WORDS`` in so many processes, for each (number, words), one after another.

    before: Python that is run ahead of them. Returns what they said, and for each command the
    exit codes of its processes.
    """
    given = json.dumps([(size, [str(word) for word in words]) for size, words in commands])
    process = subprocess.Popen(
        [sys.executable, "-c", FORKED.format(before=before), given],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(toy.ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        said = process.communicate(timeout=300)[0]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    codes = [line.split()[2:] for line in said.splitlines() if line.startswith("exit codes:")]
    assert len(codes) == len(commands), said
    return said, [[int(code) for code in line] for line in codes]
