#!/usr/bin/env bash
# Makes .venv and installs Neiro in it, editable, within constraints.txt. Usage: virtual-environment.sh cpu|gpu (which ONNX Runtime)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

runtime=${1:-cpu}
case $runtime in
    cpu) wanted=onnxruntime other=onnxruntime-gpu ;;
    gpu) wanted=onnxruntime-gpu other=onnxruntime ;;
    *) echo "There is no ONNX Runtime named '$runtime'; write make ORT=cpu or make ORT=gpu." >&2 && exit 1 ;;
esac

if ! { BASE_PYTHON=.venv/bin/python bash .ci/find-python.sh && .venv/bin/python -m pip --version; } >/dev/null 2>&1; then # none, or half made
    base=$(bash .ci/find-python.sh) ||
        { echo "Neiro needs Python 3.11 or newer and this machine has none; install one, or name it: make setup BASE_PYTHON=/path/to/python3" >&2 && exit 1; }
    echo "Making .venv with $base"
    "$base" -m venv --clear .venv
fi
pip=(.venv/bin/python -m pip --disable-pip-version-check)

# Both runtimes install into the same folder: when the other one is there, both have to go first.
if "${pip[@]}" show --quiet "$other" >/dev/null 2>&1; then
    "${pip[@]}" uninstall --yes "$wanted" "$other"
fi

# Without a GPU, torch's own index has a build a tenth of the size. Where it is out of reach, the next step finds another.
if [ "$runtime $(uname -s)" = "cpu Linux" ] && ! "${pip[@]}" show --quiet torch >/dev/null 2>&1; then
    "${pip[@]}" --retries 1 install --no-deps --constraint constraints.txt --extra-index-url https://download.pytorch.org/whl/cpu torch || true
fi
"${pip[@]}" install --constraint constraints.txt --editable ".[$runtime,train,dev]"
