"""Photographs in: a file of a person's own becomes the pixels a network is given."""

import math
import operator
import os
import stat
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import ExifTags, Image, ImageColor, UnidentifiedImageError

from allconv.core import checks
from allconv.core.arguments import checked

# What cameras, phones and pages write. Others that Pillow opens are left out: EPS
# starts a program, and the rest hold no photographs.
FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
FITS = ("crop", "pad", "stretch")
MAX_PIXELS = 1 << 26  # 67 megapixels: some 0.3 GB decoded, 4 bytes a pixel

# EXIF's orientation: what turns the stored rows upright.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# PNG's seven interlaced passes: first column and row, steps between them.
_WHOLE = ((0, 0, 1, 1),)
_ADAM7 = (
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
)


@checked
def read(
    path: str | os.PathLike[str],
    size: int | tuple[int, int] | None = None,
    *,
    channels: int = 3,
    fit: str = "crop",
    background: str = "white",
) -> np.ndarray:
    """Read one image file, upright and at a network's size.

    Shrinking first takes means of whole blocks of pixels, as large as fit; at a
    whole-number scale (a photograph of 640 pixels to 32) that is all: the mean of each
    area, as a camera with fewer pixels would record it. What is left of the scale, less
    than 2, and enlarging are Lanczos': of Pillow's filters it keeps most of what the
    small picture can show and lets least of what it cannot through. Colours are taken
    as stored: a colour profile is not applied. More than 8 bits a channel are scaled
    to 8, so that white stays white. Of an animation the first frame is read.

    Args:
        path: A file in one of `FORMATS`.
        size: Side of a square, or `(height, width)`, in pixels; None: as it is stored.
        channels: 3 for red, green and blue, 1 for grey (ITU-R 601 luma).
        fit: What to do with a picture of another shape than `size`. `"crop"`: cut the
            sides evenly; `"pad"`: keep all, with margins of `background`; `"stretch"`:
            keep all, squashed.
        background: What lies under transparent pixels and in margins: a colour that
            `PIL.ImageColor` knows.

    Returns:
        uint8 array `(height, width, channels)`.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If `path` is no regular file, is empty, of another format, damaged
            or cut short (as far as its format shows it, and unless Pillow was told to
            load such files), larger than `MAX_PIXELS`, or does not say which value is
            white; or if another argument is none of the above.

    Warns:
        UserWarning: If the file holds more frames than the one read, or its orientation
            cannot be read.
    """
    checks.check_choice("fit", fit, FITS)
    shape = _checked_size(size)
    if isinstance(channels, bool) or channels not in (1, 3):
        raise ValueError(f"`channels` should be 1 or 3. Received: channels={channels}")
    try:
        colour = ImageColor.getcolor(background, "RGB")
    except (AttributeError, TypeError, ValueError):
        raise ValueError(
            "`background` should be a colour: a name, '#rrggbb'. "
            f"Received: background={background!r}"
        ) from None
    path = Path(path)
    _check_file(path)
    try:
        with path.open("rb") as file:
            image, notes = _decode(file)
        image = _compose(image, colour)
    except Exception as error:  # Pillow's decoders raise any kind for damaged bytes
        reason = " ".join(f"{error}".split()).rstrip(".") or type(error).__name__
        raise ValueError(
            f"`path` should be an image file that can be read whole: {reason}. "
            f"Received: path={str(path)!r}"
        ) from error
    for note in notes:
        warnings.warn(f"{path}: {note}", stacklevel=2)
    if shape is not None:
        image = _fit(image, shape, fit, colour)
    if channels == 1:
        image = image.convert("L")
    return np.array(image, np.uint8).reshape(image.height, image.width, channels)


def from_file(file: BinaryIO) -> np.ndarray:
    """Read an open image file, upright, as `read` does one by its path.

    Returns:
        uint8 array `(height, width, 3)`; transparent pixels lie over white.

    Raises:
        Exception: Of any kind, as Pillow's decoders do for damaged bytes.
    """
    image, _ = _decode(file)
    return np.array(_compose(image, (255, 255, 255)), np.uint8)


@checked
def in_folder(path: str | os.PathLike[str]) -> list[tuple[Path, str | None]]:
    """List the image files of a folder, known by their suffixes.

    Args:
        path: A folder of images, or of one folder of images for each class. Hidden
            files and files with other suffixes are left out.

    Returns:
        `(file, class)` pairs, sorted; the class is the inner folder's name, or None in
        a folder without classes.

    Raises:
        ValueError: If it is no folder, holds no image, or images both beside and in
            inner folders.
    """
    path = Path(path)
    if not path.is_dir():
        raise ValueError(f"`path` should be a folder. Received: path={str(path)!r}")
    suffixes = {s for s, f in Image.registered_extensions().items() if f in FORMATS}

    def images(folder: Path) -> list[Path]:
        return sorted(
            file
            for file in folder.iterdir()
            if file.suffix.lower() in suffixes
            and not file.name.startswith(".")
            and file.is_file()
        )

    flat: list[tuple[Path, str | None]] = [(file, None) for file in images(path)]
    inner = sorted(
        f for f in path.iterdir() if f.is_dir() and not f.name.startswith(".")
    )
    classed = [(file, folder.name) for folder in inner for file in images(folder)]
    if bool(flat) == bool(classed):
        raise ValueError(
            "`path` should be a folder of images, or of one folder of images for each "
            f"class: it holds {'both' if flat else 'neither'}. "
            f"Received: path={str(path)!r}"
        )
    return flat or [*classed]


def _checked_size(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    sides = size if isinstance(size, (tuple, list)) else (size, size)
    try:
        height, width = (operator.index(side) for side in sides)
    except (TypeError, ValueError):
        height = width = 0
    if min(height, width) < 1 or height * width > MAX_PIXELS:
        raise ValueError(
            "`size` should be one or two whole numbers of pixels, from 1 on, "
            f"{MAX_PIXELS} pixels in all at most. Received: size={size!r}"
        )
    return height, width


def _check_file(path: Path) -> None:
    """Refuse before opening: a pipe would wait for ever, a device may never end."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"There is no file {str(path)!r}.") from None
    except (OSError, ValueError) as error:
        raise ValueError(
            f"`path` should be a file: {error}. Received: path={str(path)!r}"
        ) from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
    elif status.st_size == 0:
        kind = "empty"
    else:
        return
    raise ValueError(
        f"`path` should be an image file: it is {kind}. Received: path={str(path)!r}"
    )


def _decode(file: BinaryIO) -> tuple[Image.Image, list[str]]:
    """The first frame with 8 bits a channel, turned upright, and what to tell."""
    notes = []
    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]  # AVIF from Pillow 11.3
    try:
        with warnings.catch_warnings():
            # Pillow's own limit is above ours, and only warns at first.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image: Any = Image.open(file, formats=formats)
    except UnidentifiedImageError:
        raise ValueError(
            f"it is damaged or none of {', '.join(formats)} (convert HEIC to JPEG)"
        ) from None
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(
            f"it has {image.width} x {image.height} pixels, more than {MAX_PIXELS}; "
            "make it smaller first"
        )
    frames = getattr(image, "n_frames", 1)
    # Phones add depth and brightness to a JPEG as further frames, no animation.
    if frames > 1 and image.format != "MPO":
        notes.append(f"the first of its {frames} frames is read.")
    image.load()
    if image.format == "PNG" and _lacks_rows(file):
        raise ValueError("rows are missing at its end")
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # as for the pixels: any kind
        notes.append("its EXIF cannot be read; it is taken to be upright.")
        orientation = 1
    image = _eight_bits(image)
    if orientation in _TURNS:
        image = image.transpose(_TURNS[orientation])
    return image, notes


def _lacks_rows(file: BinaryIO) -> bool:
    """Whether a PNG's data end early: Pillow leaves those rows black without a word."""
    file.seek(8)
    fields = struct.unpack(">4x4sIIBBxxB", file.read(21))
    kind, width, height, depth, colour, interlaced = fields
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    wanted = 0
    for x, y, dx, dy in _ADAM7 if interlaced else _WHOLE:
        columns, rows = -((x - width) // dx), -((y - height) // dy)
        if columns > 0 and rows > 0:
            wanted += rows * (1 + math.ceil(columns * bits / 8))
    file.seek(4, os.SEEK_CUR)

    stream = zlib.decompressobj()
    while wanted > 0 and len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        if kind != b"IDAT":
            file.seek(length + 4, os.SEEK_CUR)
            continue
        while length and wanted > 0 and (data := file.read(min(length, 1 << 16))):
            length -= len(data)
            while data and wanted > 0:  # a little at a time: 1 byte can become 1000
                wanted -= len(stream.decompress(data, 1 << 20))
                data = stream.unconsumed_tail
        file.seek(length + 4, os.SEEK_CUR)
    return wanted > 0


def _eight_bits(image: Any) -> Any:
    """Scale white to 255 where a grey has more bits; other modes as they are."""
    wide = image.mode.startswith("I;16") or (image.mode, image.format) == ("I", "PPM")
    if not wide and image.mode not in ("I", "F"):
        return image
    grey = np.asarray(image)
    if wide:
        white = 65535
        if image.format == "TIFF":  # whose 12 bits Pillow does not scale,
            bits, photometric = image.tag_v2[258][0], image.tag_v2.get(262)
            white = (1 << bits) - 1
            if photometric == 0:  # nor turn where 0 is white
                grey = white - grey
        scaled = (grey * np.float32(255 / white)).round()
    elif image.mode == "F" and np.all((grey >= 0) & (grey <= 1)):  # false for NaN
        scaled = (grey * np.float32(255)).round()
    else:
        raise ValueError(
            f"its greys run from {grey.min():g} to {grey.max():g} and nothing says "
            "which is white; keep them as 8 or 16 bits, or as floats from 0 to 1"
        )
    result = Image.fromarray(scaled.astype(np.uint8))
    if "transparency" in image.info:  # one grey that is nothing
        alpha = (np.asarray(image) != image.info["transparency"]) * np.uint8(255)
        result.putalpha(Image.fromarray(alpha))
    return result


def _compose(image: Image.Image, colour: tuple[int, ...] | int) -> Image.Image:
    """Lay transparent pixels over a colour; RGB."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    ground = Image.new("RGBA", image.size, colour)
    return Image.alpha_composite(ground, image).convert("RGB")


def _fit(
    image: Image.Image, shape: tuple[int, int], fit: str, colour: Any
) -> Image.Image:
    height, width = shape
    across, down = image.width / width, image.height / height
    inner = (width, height)
    if fit == "crop":
        part = [max(1, round(side * min(across, down))) for side in inner]
        x, y = (image.width - part[0]) // 2, (image.height - part[1]) // 2
        image = image.crop((x, y, x + part[0], y + part[1]))
    elif fit == "pad":
        scale = max(across, down)
        inner = (
            max(1, round(image.width / scale)),
            max(1, round(image.height / scale)),
        )
    # A gap of 1 asks for the largest whole blocks first.
    image = image.resize(inner, Image.Resampling.LANCZOS, reducing_gap=1.0)
    if inner == (width, height):
        return image
    canvas = Image.new("RGB", (width, height), colour)
    canvas.paste(image, ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return canvas
