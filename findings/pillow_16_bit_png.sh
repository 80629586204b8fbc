#!/usr/bin/env bash
# Guess: convert("L") brings a 16-bit grey to 8 bits by dividing, so middle grey is 128.
# Seen (Pillow 13.0.0): it cuts off at 255: all but the darkest 0.4 % is white. The same
# shade in a 16-bit colour PNG is divided on opening (mode RGB, 8 bits) and right.
# Why it matters: a loader tested with colour files returns white squares for grey ones.
# `allconv/data/photo.py` scales such greys itself.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python -m venv "$folder/env"
python="$folder/env/bin/python"
"$python" -m pip install -qq --disable-pip-version-check pillow==13.0.0 numpy==2.4.6
"$python" - <<'PYTHON'
import io
import struct
import zlib

import numpy as np
import PIL
from PIL import Image


def png(colour, *values):
    """A PNG of one pixel with 16 bits a channel."""

    def chunk(kind, data):
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    head = struct.pack(">IIBBBBB", 1, 1, 16, colour, 0, 0, 0)
    row = b"\x00" + struct.pack(f">{len(values)}H", *values)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
    return Image.open(io.BytesIO(b"\x89PNG\r\n\x1a\n" + data))


print("Pillow", PIL.__version__)
grey, colour = png(0, 32768), png(2, 32768, 32768, 32768)
results = {}
for name, image in (("grey", grey), ("colour", colour)):
    results[name] = image.mode, int(np.asarray(image.convert("L"))[0, 0])
    print(f"32768 of 65535 as {name}: mode {image.mode}, convert('L') gives", results[name][1])
assert results == {"grey": ("I;16", 255), "colour": ("RGB", 128)}
PYTHON
