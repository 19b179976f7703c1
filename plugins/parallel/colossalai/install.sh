#!/bin/sh
# Puts ColossalAI beside vidgen, in the Python that is given or found: sh install.sh [PYTHON]
# pip cannot: colossalai 0.5.0 requires torch<=2.5.1. It works with today's torch when its requirements are left aside.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
python=${1:-python}
set -- -c "$here/constraints.txt"
shared="$here/../../../constraints.txt"
[ -f "$shared" ] && set -- "$@" -c "$shared"
# What colossalai imports and is content with any version of. ninja builds the kernels of HybridAdam at its first use.
"$python" -m pip install "$@" einops ninja numpy packaging psutil pyyaml safetensors tqdm transformers
"$python" -m pip install --no-deps -r "$here/constraints.txt"
"$python" -c "
from vidgen_colossalai.library import load
load()
print('ColossalAI is ready: parallel.type=colossalai/zero2')"
