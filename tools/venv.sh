#!/bin/sh
# Makes .venv with a Python of 3.11 or newer, or says what is missing. A .venv that works is left alone.
set -eu

fits='import sys; sys.exit(sys.version_info < (3, 11))'
complete='import ensurepip, venv'

if .venv/bin/python -c "$fits" 2>/dev/null && .venv/bin/python -m pip --version >/dev/null 2>&1; then
    exit 0
fi
rm -rf .venv

without_venv=''
for python in ${PYTHON:-python3.11 python3.12 python3.13 python3 python}; do
    "$python" -c "$fits" 2>/dev/null || continue
    if "$python" -c "$complete" 2>/dev/null; then
        echo "Making .venv with $("$python" --version)"
        exec "$python" -m venv .venv
    fi
    without_venv=$python
done

if [ -n "$without_venv" ]; then
    version=$("$without_venv" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    echo "Purser: $without_venv (Python $version) comes without venv." \
        "On Debian or Ubuntu: apt-get install python$version-venv" >&2
elif [ -n "${PYTHON:-}" ]; then
    echo "Purser: PYTHON=$PYTHON is not a Python of 3.11 or newer." >&2
else
    echo "Purser: needs Python 3.11 or newer, found $(python3 --version 2>/dev/null || echo no python3)." \
        "Install one, or say where it is: make PYTHON=path/to/python3.11 …" >&2
fi
exit 1
