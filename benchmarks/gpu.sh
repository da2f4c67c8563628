#!/usr/bin/env bash
# What to measure on a lent GPU, in at most eight minutes: benchmarks/gpu.sh FOLDER (its results go there).
# Nothing is fetched. Needs a Python with this project in it ($PYTHON, or .venv/bin/python).
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:?give a folder for the results}
python=${PYTHON:-.venv/bin/python}
mkdir -p "$out"
failed=0
nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv > "$out/gpu.csv"

# Does everything run: the quick tests of the model.
timeout 120 "$python" -m pytest -q tests/mt4ssl_core/model -m "not slow" > "$out/tests.txt" 2>&1 || failed=1

# An update of BASE beside peers, 240 s of audio in bf16, then in small batches.
for count in 12 2; do
    timeout 120 "$python" benchmarks/pretrain_step.py --device cuda --count "$count" --seconds 20 \
        --rounds 5 --peers ours "ours, offline" torchaudio transformers --out "$out/step_$count.json" \
        > "$out/step_$count.txt" 2>&1 || failed=1
done

# What was predicted for it.
"$python" benchmarks/roofline.py > "$out/roofline.md"
tail -n 3 "$out"/*.txt "$out/roofline.md"
exit $failed
