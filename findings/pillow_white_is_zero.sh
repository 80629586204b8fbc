#!/usr/bin/env bash
# Guess: Pillow turns a grey TIFF where 0 is white (PhotometricInterpretation 0), or not.
# Seen (Pillow 13.0.0): it turns 4 and 8 bits, so that 0 is black; 16 bits stay a negative.
# Why it matters: a folder of both is half negatives, without a word. `allconv/data/photo.py`
# looks at tag 262 where the mode is I;16.
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

eight = tiff(8, b"\x00\xff", photometric=0)
sixteen = tiff(16, b"\x00\x00\xff\xff", photometric=0)
print("white and black in 8 bits, 0 is white: ", *eight)
print("white and black in 16 bits, 0 is white:", *sixteen)
assert eight == ("L", [255, 0])
assert sixteen == ("I;16", [0, 65535])
PYTHON
