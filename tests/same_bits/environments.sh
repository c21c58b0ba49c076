#!/usr/bin/env bash
# Makes an environment in .venvs for every Python on the path that Gigawatt runs on, each with the newest numpy that it can have,
# and one with the oldest numpy. test_same_bits.py runs presets in all of them. With pyenv, PYENV_VERSION=3.11:3.12:3.13 puts them on the path.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

make_environment() { # name, interpreter, requirements on top
  local place=.venvs/$1 python=$2
  shift 2
  [ -e "$place/.installed" ] && return
  rm -rf "$place"
  .venv/bin/uv venv --quiet --python "$(command -v "$python")" "$place"
  .venv/bin/uv pip install --quiet --compile-bytecode --python "$place/bin/python" "$wheel"/*.whl "$@"
  touch "$place/.installed"
}

wheel=$(mktemp -d)
trap 'rm -rf "$wheel"' EXIT
.venv/bin/uv build --quiet --wheel --out-dir "$wheel"
oldest=
for python in python3.11 python3.12 python3.13 python3.14; do
  "$python" -c '' 2>/dev/null || { echo "digests: no $python on the path" >&2; continue; }
  echo "digests: $("$python" --version)" >&2
  make_environment "$python" "$python"
  oldest=${oldest:-$python}
done
numpy=$(sed -n 's/^ *"numpy>=\([0-9.]*\)".*/\1/p' pyproject.toml)
make_environment "numpy$numpy" "$oldest" "numpy==$numpy.*"
