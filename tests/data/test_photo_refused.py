"""Files that are no photograph, damaged or too large: refused in a line."""

import io
import os
import re
import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image, ImageFile

from allconv.data import photo
from tests.data.test_photo import RANDOM, chunk, kept, png, refusal


def test_what_is_no_regular_file_is_refused_unopened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "empty.png").touch()
    assert "a folder" in refusal(tmp_path)
    assert "a pipe or a device" in refusal(tmp_path / "pipe.png")
    assert "a pipe or a device" in refusal("/dev/zero")
    assert "empty" in refusal(tmp_path / "empty.png")
    with pytest.raises(FileNotFoundError, match=r"no\.png"):
        photo.read(tmp_path / "no.png")
    with pytest.raises(FileNotFoundError):
        photo.read(tmp_path / "empty.png" / "inside.png")
    refusal("a\0b")
    refusal("x" * 5000)


def test_another_format_is_refused(tmp_path):
    path = tmp_path / "cat\n.jpg"
    path.write_bytes(b"<html>not found</html>")
    assert re.search("none of (AVIF, )?BMP, GIF, JPEG", refusal(path))
    path = kept(tmp_path, RANDOM, "a.eps")  # would start a program
    assert "none of" in refusal(path)


@pytest.mark.parametrize(
    "suffix", ["jpg", "png", "gif", "webp", "avif", "tiff", "bmp", "ppm", "jp2"]
)
def test_a_file_cut_short_is_refused_wherever_it_is_cut(tmp_path, suffix):
    if f".{suffix}" not in Image.registered_extensions():
        pytest.skip(f"this Pillow does not write {suffix}")
    whole = kept(tmp_path, RANDOM, f"a.{suffix}").read_bytes()
    cut = tmp_path / f"cut.{suffix}"
    for share in (0.01, 0.1, 0.3, 0.5, 0.8, 0.95):
        cut.write_bytes(whole[: max(1, int(share * len(whole)))])
        refusal(cut)


@pytest.mark.parametrize("depth, colour", [(8, 2), (16, 0), (1, 0), (4, 3), (8, 6)])
@pytest.mark.parametrize("interlaced", [0, 1])
def test_a_png_that_lacks_its_last_row_is_refused(tmp_path, depth, colour, interlaced):
    width, height = 13, 11
    bits = depth * {0: 1, 2: 3, 3: 1, 6: 4}[colour]
    # The passes, from the number of each pixel in PNG's 8 x 8 pattern.
    pattern = np.array(
        [
            [1, 6, 4, 6, 2, 6, 4, 6],
            [7] * 8,
            [5, 6] * 4,
            [7] * 8,
            [3, 6, 4, 6, 3, 6, 4, 6],
            [7] * 8,
            [5, 6] * 4,
            [7] * 8,
        ]
    )
    pattern = np.tile(pattern, (2, 2))[:height, :width]
    pattern = pattern if interlaced else np.ones_like(pattern)
    rows = [
        b"\0" + b"\0" * -(-int(count) * bits // 8)
        for number in range(1, 8)
        for count in (pattern == number).sum(1)
        if count
    ]
    palette = chunk(b"PLTE", bytes(48)) if colour == 3 else b""
    path = tmp_path / "a.png"
    options = {"interlaced": interlaced}
    path.write_bytes(
        png(width, height, depth, colour, b"".join(rows), palette, **options)
    )
    assert photo.read(path).shape == (height, width, 3)
    lacking = b"".join(rows[:-1])
    path.write_bytes(png(width, height, depth, colour, lacking, palette, **options))
    assert "rows are missing" in refusal(path)


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    def load(image):
        pytest.fail("memory was taken")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    for width, height in ((20000, 20000), (10000, 10000), (8193, 8192)):
        (tmp_path / "a.png").write_bytes(png(width, height, 1, 0, b""))
        assert "pixels" in refusal(tmp_path / "a.png", 32)


def test_rows_that_unpack_to_far_more_than_the_image_are_not_all_unpacked(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(png(8, 8, 8, 0, b"\0" * 100_000_000))
    tracemalloc.start()
    assert photo.read(path).shape == (8, 8, 3)
    assert tracemalloc.get_traced_memory()[1] < 4e6
    tracemalloc.stop()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(
    suffix=st.sampled_from(["png", "jpg", "gif", "bmp", "ppm"]),
    changes=st.lists(
        st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=4
    ),
)
def test_changed_bytes_are_read_or_refused_in_a_line(tmp_path, suffix, changes):
    stream = io.BytesIO()
    name = {"jpg": "jpeg"}.get(suffix, suffix)
    Image.fromarray(RANDOM).save(stream, name)
    content = bytearray(stream.getvalue())
    for place, value in changes:
        content[place % len(content)] = value
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            assert photo.read(path, 8).shape == (8, 8, 3)
        except ValueError:
            refusal(path, 8)


@pytest.mark.parametrize(
    "options",
    [
        *({"size": s} for s in (0, -1, 3.0, (3,), (3, 4, 5), "8", (0, 3), 10**6)),
        *({"channels": c} for c in (0, 2, 4, "3", True)),
        {"fit": "cover"},
        {"background": "whiteish"},
        {"background": None},
    ],
)
def test_other_arguments_are_refused_by_name(tmp_path, options):
    (name,) = options
    with pytest.raises(ValueError, match=rf"`{name}` should be .* Received: {name}="):
        photo.read(kept(tmp_path, RANDOM), **options)
