#!/usr/bin/env bash
# Everything that waits for a CUDA device, in one go: GPU tests, throughput, and the agreement of CPU and GPU scores.
#
#     bash benchmarks/on_gpu.sh OUT [DATA]
#
# With DATA (../shared/data of a development checkout) it also trains the bundled models of both stains from ImageNet's convolutions, with the
# recipes of benchmarks/train_bundled.py made longer, sets their thresholds on validation slides and measures them. Give it again to go on.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$1
mkdir -p "$out"
python3 -m pytest -m gpu -p no:cacheprovider 2>&1 | tee "$out/gpu-tests.txt"
for stain in giemsa fluorescence; do
  python3 benchmarks/gpu_engine.py --stain $stain 2>&1 | tee "$out/gpu-engine-$stain.txt"
done
python3 benchmarks/throughput.py --device cuda --cells 20000 2>&1 | tee "$out/throughput-gpu.txt"
python3 benchmarks/throughput.py --device cuda --cells 20000 --precision fp32 2>&1 | tee "$out/throughput-gpu-fp32.txt"
python3 benchmarks/throughput.py --device cuda --cells 20000 --format jpg 2>&1 | tee "$out/throughput-gpu-jpg.txt"
python3 benchmarks/cpu_engines.py 2>&1 | tee "$out/cpu-engines.txt"
if [ $# -ge 2 ]; then
  for stain in giemsa fluorescence; do
    python3 benchmarks/validation_slides.py draw "$out/slides" --stain $stain
    python3 benchmarks/train_bundled.py $stain --data "$2" --slides "$out/slides" --init "$2/alexnet-imagenet-features" --out "$out/$stain" \
      --epochs 60 --cells 12000 --threads 8 --workers 12 2>&1 | tee -a "$out/training-$stain.txt"
    python3 benchmarks/validation_slides.py calibrate "$out/slides" "$out/$stain" --stain $stain --look-again 0.2 | tee "$out/figures-$stain.txt"
  done
fi
