#!/usr/bin/env bash
# Guess: mypy's `python_version`, set to the oldest Python that a package supports, finds
# what that Python lacks, and changes nothing else.
# Seen (numpy 2.5.5, mypy 2.4.1, Python 3.13): read as of 3.10, which numpy 2.5 does not
# support, numpy's types say that `min` and `max` need an argument, in ordinary code: 2
# errors in 4 lines. Read as of the Python that runs, there are none.
# Why it matters: the same lines are right with numpy 2.4, so a check breaks by an update.
# `pyproject.toml` leaves `python_version` out.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python=${PYTHON:-python3.13}
"$python" -m venv "$folder/env"
"$folder/env/bin/python" -m pip install -qq --disable-pip-version-check \
  numpy==2.5.5 mypy==2.4.1
cat > "$folder/lines.py" <<'PYTHON'
import numpy as np

classes, counts = np.unique([3, 3, 5], return_counts=True)
print(counts.min(), np.zeros(3, np.float32).max())
PYTHON
cd "$folder"
env/bin/python lines.py
as_of() { env/bin/mypy --python-version "$1" --no-error-summary lines.py || true; }
printf 'as of 3.10: '
as_of 3.10 | grep -c 'require at least one argument' | tee count
printf 'as of 3.13: '
as_of 3.13 | grep -c 'error' | tee none || true
[ "$(cat count)" = 2 ] && [ "$(cat none)" = 0 ]
