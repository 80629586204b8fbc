"""Bytes as the text of a page: 13 bits are two characters, 8 % fewer than in base64.

The characters are those of ASCII that mean nothing in a script element, in JSON or in a
quoted attribute; `bytesOf` of `common.js` reads them.
"""

import numpy as np

ALPHABET = np.array([c for c in range(32, 127) if c not in b'"&<\\'], np.uint8)  # 91
BITS, LAST = 13, 6  # of two characters; of one, where no more are left at the end


def text(content: bytes) -> str:
    """Pack bytes; their first bit is the highest of the first number."""
    bits = np.unpackbits(np.frombuffer(content, np.uint8))
    missing = -len(bits) % BITS
    groups: np.ndarray = np.pad(bits, (0, missing)).reshape(-1, BITS)
    groups = np.pad(groups, ((0, 0), (16 - BITS, 0)))
    numbers = np.packbits(groups, axis=1).view(">u2").ravel()
    pairs: np.ndarray = np.stack(np.divmod(numbers, len(ALPHABET)), axis=1).ravel()
    if missing >= BITS - LAST:
        pairs = np.append(pairs[:-2], numbers[-1] >> BITS - LAST)
    return ALPHABET[pairs].tobytes().decode("ascii")
