#!/usr/bin/env bash
# Put torch into an environment that has none: `bash requirements/torch.sh PYTHON [SPEC]`.
# With an NVIDIA GPU, or on macOS, that is pip's default build. Elsewhere a CPU build is preferred, since the default one
# brings several GB of CUDA libraries: first from the indexes that pip is set up with, then from PyTorch's own index of
# CPU builds, whose address uv knows. SPEC (`make install TORCH=...`) takes the place of all this.
set -euo pipefail
python=$1
spec=${2:-}
pinned=$(grep '^torch==' "$(dirname "$0")/torch.in")

if "$python" -c 'import importlib.metadata as m; m.version("torch")' 2>/dev/null; then
    exit 0
elif [ -n "$spec" ]; then
    # shellcheck disable=SC2086 # the specification may hold options of pip
    "$python" -m pip install --quiet $spec
elif [ "$(uname -s)" = Darwin ] || nvidia-smi >/dev/null 2>&1; then
    "$python" -m pip install --quiet "$pinned"
elif "$python" -m pip install --quiet "$pinned+cpu" 2>/dev/null; then
    exit 0
elif "$python" -m uv pip install --quiet --python "$python" --torch-backend cpu "$pinned"; then
    exit 0
else
    echo "make install: no CPU build of $pinned can be reached; taking the default build (several GB)" >&2
    "$python" -m pip install --quiet "$pinned"
fi
