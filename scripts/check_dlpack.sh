#!/usr/bin/env bash
# Runs check_dlpack.py with a Python that has NumPy: this one, or one of a virtual environment made with pip.
# Usage: check_dlpack.sh <library> <folder of the virtual environment>
set -euo pipefail
scripts=$(cd "$(dirname "$0")" && pwd)
source "$scripts/venv.sh"
use_python_package "$2" 'numpy>=2.1' python3 -c 'import numpy'
exec python3 "$scripts/check_dlpack.py" "$1"
