#!/usr/bin/env bash
# Everything that waits for a CUDA device, in one go: GPU tests, throughput, and the agreement of CPU and GPU scores.
#
#     bash benchmarks/on_gpu.sh OUT [FOLDER_WITH_LABELLED_CROPS INIT_WEIGHTS]
#
# With the two optional arguments it also trains the default recipe there and leaves the model directory in OUT.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$1
mkdir -p "$out"
python3 -m pytest -m gpu -p no:cacheprovider 2>&1 | tee "$out/gpu-tests.txt"
python3 benchmarks/throughput.py --device cuda --cells 20000 2>&1 | tee "$out/throughput-gpu.txt"
if [ $# -ge 3 ]; then
  python3 -m mnbatch train "$2" --init "$3" --out "$out/model" --device cuda --workers 8 2>&1 | tee "$out/training.txt"
fi
