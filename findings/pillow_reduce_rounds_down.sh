#!/usr/bin/env bash
# Guess: `Image.reduce` gives the mean of each block, rounded to the nearest integer.
# Seen (Pillow 13.0.0): for 3 x 3 a mean of 102.56 becomes 102; about one random block in
# ten is one too low. `resize` with BOX gives 103. Blocks of 2 x 2 and 4 x 4 are right.
# Why it matters: a test of one's own shrinking against `reduce` fails by one where one's own
# is right; see tests/data/test_photo.py.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python -m venv "$folder/env"
python="$folder/env/bin/python"
"$python" -m pip install -qq --disable-pip-version-check pillow==13.0.0 numpy==2.4.6
"$python" - <<'PYTHON'
import numpy as np
import PIL
from PIL import Image

print("Pillow", PIL.__version__)
block = np.array([[103, 103, 103], [103, 103, 102], [102, 102, 102]], np.uint8)
image = Image.fromarray(block)
reduced = int(np.asarray(image.reduce(3))[0, 0])
resized = int(np.asarray(image.resize((1, 1), Image.Resampling.BOX))[0, 0])
print(f"mean {block.mean():.2f}: reduce {reduced}, resize with BOX {resized}")
assert (reduced, resized) == (102, 103)

random = np.random.default_rng(0)
shares = {}
for factor in (2, 3, 4):
    blocks = random.integers(0, 256, (2000, factor, factor), dtype=np.uint8)
    reduced = [np.asarray(Image.fromarray(b).reduce(factor))[0, 0] for b in blocks]
    wrong = np.abs(reduced - blocks.mean((1, 2))) > 0.5001
    shares[factor] = wrong.mean()
    print(f"{factor} x {factor}: {shares[factor]:.1%} of random blocks are not the nearest")
assert shares[2] == shares[4] == 0 and 0.05 < shares[3] < 0.2
PYTHON
