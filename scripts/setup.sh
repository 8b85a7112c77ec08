#!/usr/bin/env bash
# Makes the Python environment with Hilum in it, and sees to Java. Run through `make setup`.
set -euo pipefail
venv=$1

java_major() { "${JAVA_HOME:+$JAVA_HOME/bin/}java" -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -n 1; }

if [ "$(java_major || true)" -ge 17 ] 2>/dev/null; then
  :
elif command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
  echo "setup: installing Java 17 (Spark needs it)"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq openjdk-17-jre-headless >/dev/null
else
  echo "setup: Spark needs Java 17 or newer. Install it (Debian: sudo apt-get install openjdk-17-jre-headless) and run make again." >&2
  exit 1
fi

python=""
for candidate in python3.13 python3.12 python3.11 python3; do
  if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then python=$candidate; break; fi
done
if [ -z "$python" ]; then
  echo "setup: Hilum needs Python 3.11 or newer; found $(python3 --version 2>&1)." >&2
  exit 1
fi

echo "setup: installing into $venv (about a minute; PyTorch and Spark are large)"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv" 2>/dev/null || {
  echo "setup: $python cannot make a virtual environment (Debian: apt-get install python3-venv)." >&2; exit 1; }
"$venv/bin/python" -m pip install -q --disable-pip-version-check uv
"$venv/bin/uv" pip install -q --compile-bytecode --python "$venv/bin/python" -r requirements.txt
"$venv/bin/uv" pip install -q --python "$venv/bin/python" --no-deps -e .
