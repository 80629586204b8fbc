"""A photograph read is the photograph given: each kind beside its closed form."""

import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image

from allconv.data import photo

RANDOM = np.random.default_rng(0).integers(0, 256, (24, 36, 3), dtype=np.uint8)
ORIENTATION = 0x0112
sides = st.integers(1, 70)
sizes = st.tuples(sides, sides)


def kept(folder, array, name="a.png", **options):
    """The array as a file."""
    path = folder / name
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    image.save(path, **options)
    return path


def chunk(kind, content):
    sum_ = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + sum_


def png(width, height, depth, colour, rows, *between, interlaced=0):
    """A PNG file's bytes, from the rows as they stand in its stream."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    stream = chunk(b"IDAT", zlib.compress(rows))
    ends = (chunk(b"IHDR", header), *between, stream, chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(ends)


def tiff(width, bits, photometric, content):
    """A TIFF file's bytes: one row of greys."""
    tags = {256: width, 257: 1, 258: bits, 259: 1, 262: photometric}
    tags |= {273: 8, 277: 1, 278: 1, 279: len(content)}
    content += b"\0" * (len(content) % 2)
    entries = b"".join(struct.pack("<HHII", k, 4, 1, v) for k, v in tags.items())
    start = struct.pack("<I", 8 + len(content))
    return (
        b"II*\0" + start + content + struct.pack("<H", len(tags)) + entries + b"\0" * 4
    )


def refusal(path, *arguments, **options):
    """The one line that `read` refuses with, which names the file."""
    with pytest.raises(ValueError) as caught:
        photo.read(path, *arguments, **options)
    line = str(caught.value)
    assert "\n" not in line
    assert f"Received: path={str(path)!r}" in line
    return line


# Upright.


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_is_the_upright_one(tmp_path, orientation, suffix):
    # EXIF's table: where the stored row 0 and column 0 belong.
    to_stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation]
    upright = RANDOM.repeat(16, 0).repeat(16, 1)  # JPEG's blocks stay apart
    upright[:] = upright[..., :1]
    stored = Image.fromarray(np.ascontiguousarray(to_stored(upright)))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"webp": {"lossless": True}, "jpg": {"quality": 100}}.get(suffix, {})
    path = kept(tmp_path, stored, f"a.{suffix}", exif=exif, **options)
    assert np.abs(photo.read(path).astype(int) - upright).max() <= 2


def test_exif_that_cannot_be_read_is_told_and_the_pixels_are_kept(tmp_path):
    path = kept(tmp_path, RANDOM, exif=b"Exif\0\0nothing")
    with pytest.warns(UserWarning, match=r"a\.png: its EXIF cannot be read"):
        np.testing.assert_array_equal(photo.read(path), RANDOM)


# Eight bits, three channels.


def test_a_16_bit_ramp_keeps_256_greys(tmp_path):
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    slow = np.floor(ramp / 257 + 0.5).astype(np.uint8)
    for suffix in ("png", "tiff", "pgm", "jp2"):
        pixels = photo.read(kept(tmp_path, ramp, f"a.{suffix}"), channels=1)
        np.testing.assert_array_equal(pixels[..., 0], slow, suffix)
    assert len(np.unique(slow)) == 256


def test_16_bit_colours_keep_their_high_byte(tmp_path):
    ramp = np.arange(65536).reshape(256, 256)
    colours = np.stack([ramp, ramp.T, ramp[::-1]], -1).astype(">u2")
    rows = b"".join(b"\0" + row.tobytes() for row in colours)
    (tmp_path / "a.png").write_bytes(png(256, 256, 16, 2, rows))
    pixels = photo.read(tmp_path / "a.png")
    np.testing.assert_array_equal(pixels, colours >> 8)


@pytest.mark.parametrize(
    "bits, photometric, content, greys",
    [
        (16, 1, b"\0\0\xff\xff", [0, 255]),
        (16, 0, b"\0\0\xff\xff", [255, 0]),  # 0 is white
        (12, 1, b"\x00\x0f\xff", [0, 255]),
        (8, 0, b"\x00\xff", [255, 0]),
        (4, 1, b"\x0f", [0, 255]),
    ],
)
def test_black_and_white_of_a_tiff(tmp_path, bits, photometric, content, greys):
    (tmp_path / "a.tiff").write_bytes(tiff(2, bits, photometric, content))
    assert photo.read(tmp_path / "a.tiff", channels=1).ravel().tolist() == greys


def test_float_greys_from_0_to_1_are_scaled_and_others_refused(tmp_path):
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None]
    pixels = photo.read(kept(tmp_path, ramp, "a.tiff"), channels=1)
    assert pixels.ravel().tolist() == list(range(256))
    for other in (ramp * 255, ramp - 0.5, ramp * np.float32("nan")):
        path = kept(tmp_path, other, "a.tiff")
        assert "nothing says which is white" in refusal(path)
    for white in (1, 70000):
        integers = np.array([[0, white]], np.int32)
        assert f"from 0 to {white}" in refusal(kept(tmp_path, integers, "b.tiff"))


def test_ink_palette_grey_and_one_bit_become_their_colours(tmp_path):
    blocks = RANDOM[:4, :4] // 128 * 255  # 8 colours
    image = Image.fromarray(blocks)
    path = kept(tmp_path, image.convert("CMYK"), "a.tiff")
    np.testing.assert_array_equal(photo.read(path), blocks)
    big = image.resize((64, 64), Image.Resampling.NEAREST)
    path = kept(tmp_path, big.convert("CMYK"), "a.jpg", quality=100)
    assert np.abs(photo.read(path).astype(int) - np.asarray(big)).max() <= 3
    for suffix in ("png", "gif", "bmp"):
        path = kept(tmp_path, image.quantize(8), f"p.{suffix}")
        np.testing.assert_array_equal(photo.read(path), blocks, suffix)
    path = kept(tmp_path, RANDOM[..., 0])
    assert (photo.read(path) == RANDOM[..., :1]).all()
    np.testing.assert_array_equal(photo.read(path, channels=1), RANDOM[..., :1])
    path = kept(tmp_path, blocks[..., 0] > 0)
    np.testing.assert_array_equal(photo.read(path, channels=1), blocks[..., :1])


def test_grey_of_colours_is_their_luma(tmp_path):
    grey = photo.read(kept(tmp_path, RANDOM), channels=1)[..., 0]
    slow = RANDOM @ np.array([0.299, 0.587, 0.114])
    assert np.abs(grey - slow).max() < 0.51


@pytest.mark.parametrize("background, under", [("white", 255), ("#400000", (64, 0, 0))])
def test_transparent_pixels_show_the_background(tmp_path, background, under):
    alpha = np.tile(np.arange(0, 252, 7, dtype=np.uint8), (24, 1))
    path = kept(tmp_path, np.dstack([RANDOM, alpha]))
    share = alpha[..., None] / 255
    slow = share * RANDOM + (1 - share) * np.array(under)
    assert np.abs(photo.read(path, background=background) - slow).max() <= 1


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "I;16"])
def test_one_colour_named_transparent_shows_the_background(tmp_path, mode):
    dark = np.zeros((2, 2), np.uint16 if mode == "I;16" else np.uint8)
    dark[0, 0] = 65535 if mode == "I;16" else 1 if mode == "P" else 255
    image = Image.fromarray(dark)
    if mode == "P":
        image.putpalette([0, 0, 0, 255, 255, 255])
    elif mode != "I;16":
        image = image.convert(mode)
    key = {"RGB": (0, 0, 0), "P": b"\x00\xff"}.get(mode, 0)
    pixels = photo.read(kept(tmp_path, image, transparency=key), background="red")
    assert pixels[0, 0].tolist() == [255, 255, 255]
    assert (pixels.reshape(-1, 3)[1:] == (255, 0, 0)).all()


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tiff"])
def test_of_an_animation_the_first_frame_is_read_and_said(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), c) for c in ("red", "lime", "blue")]
    options = {"save_all": True, "append_images": frames[1:]}
    options |= {"lossless": True} if suffix == "webp" else {}
    path = kept(tmp_path, frames[0], f"a.{suffix}", **options)
    with pytest.warns(UserWarning, match=rf"a\.{suffix}: the first of its 3 frames"):
        pixels = photo.read(path)
    assert (pixels == (255, 0, 0)).all()


def test_a_phone_s_second_picture_is_no_animation(tmp_path):
    red, blue = (Image.new("RGB", (8, 8), c) for c in ("red", "blue"))
    options = {"format": "MPO", "save_all": True, "append_images": [blue]}
    pixels = photo.read(kept(tmp_path, red, "a.jpg", **options))
    assert np.abs(pixels.astype(int) - (255, 0, 0)).max() <= 2


# The size.


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stored=sizes, size=sizes, channels=st.sampled_from([1, 3]), data=st.data())
def test_any_size_to_any_size(tmp_path, stored, size, channels, data):
    fit = data.draw(st.sampled_from(photo.FITS))
    grey = data.draw(st.integers(0, 255))
    path = kept(tmp_path, np.full(stored, grey, np.uint8), compress_level=0)
    pixels = photo.read(
        path, size, fit=fit, channels=channels, background=f"rgb({grey},{grey},{grey})"
    )
    assert pixels.shape == (*size, channels)
    assert pixels.dtype == np.uint8
    assert (pixels == grey).all()  # weights that sum to 1
    assert pixels.flags.writeable


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.tuples(*[st.integers(1, 12)] * 2), block=st.integers(1, 9))
def test_a_whole_number_scale_takes_the_mean_of_each_block(tmp_path, size, block):
    large = np.random.default_rng(block).integers(
        0, 256, (size[0] * block, size[1] * block, 3), dtype=np.uint8
    )
    path = kept(tmp_path, large, compress_level=0)
    slow = large.reshape(size[0], block, size[1], block, 3).mean((1, 3))
    for fit in photo.FITS:
        # Pillow divides a little short: 1134 / 9 is 125 to it.
        assert np.abs(photo.read(path, size, fit=fit) - slow).max() < 0.56
    small = large[: size[0], : size[1]]
    path = kept(tmp_path, small.repeat(block, 0).repeat(block, 1), compress_level=0)
    np.testing.assert_array_equal(photo.read(path, size), small)


@pytest.mark.parametrize("size", [32, 48, 100, 224, 299, 400])
def test_a_wave_that_fits_is_kept_and_a_finer_one_becomes_grey(tmp_path, size):
    def contrast(period, stored):
        """Of a wave's picture: its strength, 1 where the wave is whole."""
        place = (np.arange(stored) + 0.5) / stored  # a pixel's middle
        wave = 127.5 + 127.5 * np.cos(2 * np.pi * place * size / period)
        wave = np.tile(wave.round().astype(np.uint8), (4, 1))
        pixels = photo.read(kept(tmp_path, wave), (4, size), fit="stretch")
        return pixels[0, :, 0].std() * np.sqrt(2) / 127.5

    for stored in (600, 1000):
        # A block's mean keeps sinc of its share of the period: 0.86 of 3.3 pixels.
        assert contrast(10 / 3, stored) > 0.84
        assert contrast(8, stored) > 0.95
    lines = np.tile(np.array([0, 255], np.uint8), (600, 300))
    assert photo.read(kept(tmp_path, lines), size).std() < 0.1 * 127.5


def test_crop_keeps_the_middle_pad_keeps_all_stretch_squashes(tmp_path):
    wide = np.zeros((20, 40, 3), np.uint8)
    wide[:, 8:32] = 200
    path = kept(tmp_path, wide)
    assert (photo.read(path, 10) == 200).all()
    padded = photo.read(path, 10, fit="pad", background="blue")
    assert (padded[[0, 1, 7, 8, 9]] == (0, 0, 255)).all()
    np.testing.assert_array_equal(padded[2:7], wide[::4, ::4])
    squashed = photo.read(path, 10, fit="stretch")[..., 0]
    assert [v > 0 for v in squashed[0]] == [abs(i - 4.5) < 3 for i in range(10)]
    tall = kept(tmp_path, wide.transpose(1, 0, 2), "tall.png")
    np.testing.assert_array_equal(
        photo.read(tall, 10, fit="pad", background="blue"), padded.transpose(1, 0, 2)
    )
    np.testing.assert_array_equal(photo.read(path), wide)


# What is refused, in a line.


def test_the_file_stays_as_it_was(tmp_path):
    path = kept(tmp_path, RANDOM)
    before = path.read_bytes()
    photo.read(path, 8)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


# Folders.


def test_a_flat_folder_and_one_with_classes(tmp_path):
    for name in ("b.JPG", "a.png", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "inner").mkdir()
    flat = [(tmp_path / "a.png", None), (tmp_path / "b.JPG", None)]
    assert photo.in_folder(tmp_path) == flat
    (tmp_path / "inner" / "c.webp").touch()
    with pytest.raises(ValueError, match="holds both"):
        photo.in_folder(tmp_path)
    for path, _ in flat:
        path.unlink()
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "d.png").touch()
    assert photo.in_folder(str(tmp_path)) == [
        (tmp_path / "cat" / "d.png", "cat"),
        (tmp_path / "inner" / "c.webp", "inner"),
    ]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds neither"):
        photo.in_folder(tmp_path / "empty")
    with pytest.raises(ValueError, match="should be a folder"):
        photo.in_folder(tmp_path / "no")
