#!/usr/bin/env bash
# Guess: a 12-bit grey TIFF opens with white at the top of its mode, as a 4-bit one does.
# Seen (Pillow 13.0.0): 4 bits are scaled to the 255 of mode L; 12 bits become mode I;16
# with white = 4095 of 65535, almost black to whoever divides by 65535.
# Why it matters: microscopes and scanners write 12 bits. White is 2**BitsPerSample - 1,
# by tag 258; `allconv/data/photo.py` reads it there.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python -m venv "$folder/env"
python="$folder/env/bin/python"
"$python" -m pip install -qq --disable-pip-version-check pillow==13.0.0 numpy==2.4.6
"$python" - <<'PYTHON'
import io
import struct

import numpy as np
import PIL
from PIL import Image


def tiff(bits, data, photometric=1):
    """A grey TIFF of two pixels: width, height, bits, no compression, ..."""
    tags = [(256, 2), (257, 1), (258, bits), (259, 1), (262, photometric)]
    tags += [(273, 8), (277, 1), (278, 1), (279, len(data))]
    directory = struct.pack("<H", len(tags))
    directory += b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    data += bytes(len(data) % 2)
    head = struct.pack("<2sHI", b"II", 42, 8 + len(data))
    file = io.BytesIO(head + data + directory + bytes(4))
    image = Image.open(file)
    return image.mode, np.asarray(image).ravel().tolist()


print("Pillow", PIL.__version__)

four = tiff(4, b"\x0f")
twelve = tiff(12, b"\x00\x0f\xff")
sixteen = tiff(16, b"\x00\x00\xff\xff")
print("black and white in 4 bits: ", *four)
print("black and white in 12 bits:", *twelve)
print("black and white in 16 bits:", *sixteen)
assert four == ("L", [0, 255])
assert twelve == ("I;16", [0, 4095])
assert sixteen == ("I;16", [0, 65535])
PYTHON
