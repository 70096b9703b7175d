#!/usr/bin/env bash
# Prints the best suitable Python on this machine (or $BASE_PYTHON, if set); prints nothing and fails where there is none.
# 3.12 is the newest for which every dependency has a ready-made wheel (python-rtmidi is built from source from 3.13 on).
set -euo pipefail
for name in ${BASE_PYTHON:-python3.12 python3.11 python3.13 python3 python}; do
    if "$name" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
        command -v "$name"
        exit 0
    fi
done
exit 1
