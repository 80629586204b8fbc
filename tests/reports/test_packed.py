"""Bytes packed as text come back, in Python and in a page, and end no element."""

import html
import json

import numpy as np
from hypothesis import given, strategies as st

from allconv.reports import packed

LENGTHS = [*range(30), 4096]


def unpacked(text):
    """The bytes again, by one large number: two characters are 13 bits of it."""
    known = {chr(code): value for value, code in enumerate(packed.ALPHABET)}
    values, bits = [known[c] for c in text], ""
    for first, second in zip(values[::2], values[1::2], strict=False):
        bits += format(91 * first + second, "013b")
    bits += format(values[-1], "06b") if len(values) % 2 else ""
    count = len(bits) // 8
    return int("0" + bits[: 8 * count], 2).to_bytes(count, "big")


@given(st.binary(max_size=40))
def test_bytes_come_back_from_harmless_text(content):
    text = packed.text(content)
    assert unpacked(text) == content
    assert json.dumps(text) == f'"{text}"'
    assert html.escape(text).replace("&gt;", ">").replace("&#x27;", "'") == text
    assert len(text) == -(-16 * len(content) // 13)


def test_a_page_reads_what_python_wrote(browser):
    rng = np.random.default_rng(0)
    contents = [rng.integers(0, 256, n, np.uint8) for n in LENGTHS]
    texts = [packed.text(content.tobytes()) for content in contents]
    found = browser.run("return given[0].map((text) => [...bytesOf(text)])", texts)
    assert found == [content.tolist() for content in contents]
