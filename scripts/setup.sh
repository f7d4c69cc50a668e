#!/usr/bin/env bash
# Makes a virtual environment with everything that the tests, the checks and the demo need.
# Usage: scripts/setup.sh [directory], .venv by default. PYTHON names the interpreter, python3 by default.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
directory=${1:-.venv}

fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

command -v "$python" >/dev/null || fail "no $python found; install Python 3.11 or newer, or say where: make PYTHON=/path/to/python3"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" --version) is too old; Python 3.11 or newer is needed: make PYTHON=/path/to/python3"

# Debian splits what makes virtual environments off its Python.
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    package=$("$python" -c 'import sys; print("python3.%d-venv" % sys.version_info[1])')
    command -v apt-get >/dev/null || fail "$python cannot make virtual environments: it lacks the module ensurepip"
    as_root=()
    if [ "$(id -u)" != 0 ]; then
        if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then as_root=(sudo -n); else
            fail "the Debian package $package is missing; as root: apt-get install $package"
        fi
    fi
    echo "setup: installing the Debian package $package" >&2
    log=$(mktemp)
    { "${as_root[@]}" apt-get update && "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y --no-install-recommends "$package"; } >"$log" 2>&1 </dev/null ||
        { tail -n 5 "$log" >&2; fail "apt-get could not install $package"; }
    rm -f "$log"
fi

if ! "$directory/bin/python" -c 'import pip' 2>/dev/null; then
    echo "setup: making $directory with $("$python" --version)" >&2
    rm -rf "$directory"
    "$python" -m venv "$directory"
fi
echo "setup: installing what requirements/dev.txt pins" >&2
pip=("$directory/bin/python" -m pip --disable-pip-version-check --no-input --quiet)
"${pip[@]}" install --require-hashes -r requirements/dev.txt
"${pip[@]}" install --no-deps --no-build-isolation -e .
touch "$directory/.ready"
