#!/usr/bin/env bash
# Makes a virtual environment with everything that the tests, the checks and the demo need, or with what the demo needs.
# Usage: scripts/setup.sh [directory [dev|try]], .venv and dev by default. PYTHON names the interpreter, python3 by default.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
directory=${1:-.venv}
pins=requirements/${2:-dev}.txt

fail() { printf 'setup: %s\n' "$*" >&2; exit 1; }

# told TEXT STATE COMMAND...: runs the command, and says every two seconds how long it has taken and what STATE prints.
told() {
    local text=$1 state=$2 log begin=$SECONDS line
    shift 2
    log=$(mktemp "${TMPDIR:-/tmp}/celery-event-bridge-setup-XXXXXX.log")
    echo "setup: $text" >&2
    "$@" >"$log" 2>&1 </dev/null &
    while sleep 2 && kill -0 $! 2>/dev/null; do
        line=$($state "$log" 2>/dev/null || true)
        echo "setup: $text: $((SECONDS - begin)) s${line:+, $line}" >&2
    done
    if ! wait $!; then
        grep -iE '^ *(E:|error)' "$log" | head -n 3 >&2 || tail -n 5 "$log" >&2
        fail "$text failed; the whole log is $log"
    fi
    rm -f "$log"
}
nothing() { :; }
apt_size() { grep -oE 'Need to get [0-9.,]+ ?[kMG]?B' "$1" | sed 's/Need to get //; s/$/ to fetch/'; }
pip_state() {
    echo "$(grep -c '^Collecting' "$1") of $packages packages found, $(du -sm "$directory" | cut -f1) MB in $directory"
}

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
    told "looking for Debian's packages" nothing "${as_root[@]}" apt-get update
    told "installing the Debian package $package" apt_size "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive LC_ALL=C \
        apt-get install -y --no-install-recommends "$package"
fi

if ! "$directory/bin/python" -c 'import pip' 2>/dev/null; then
    rm -rf "$directory"
    told "making $directory with $("$python" --version)" nothing "$python" -m venv "$directory"
fi
packages=$(grep -c '==' "$pins")
case $pins in *try.txt) size=15 ;; *) size=52 ;; esac
pip=("$directory/bin/python" -m pip --disable-pip-version-check --no-input)
told "installing $packages packages that $pins pins, $size MB to fetch" pip_state \
    "${pip[@]}" install --progress-bar off --require-hashes -r "$pins"
told "installing the bridge itself" nothing "${pip[@]}" install --no-deps --no-build-isolation -e .
touch "$directory/.ready"
