"""CIFAR as Keras and torchvision keep it: pickles, read without unpickling.

A pickle is a program; `pickle.load` would run whatever a file says. Here the few
instructions that the published files consist of are followed by hand, on plain values;
no object is made but bytes, numbers, lists, dicts and arrays of bytes, and anything
else is refused.
"""

import pickletools
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from allconv.data.cifar import CIFAR10_BATCHES, DataError, Split

# name -> (what Keras and torchvision call archive and folder, training and test files)
PLACES = {
    "cifar10": ("cifar-10-batches-py*", "cifar-10-python.tar.gz"),
    "cifar100": ("cifar-100-python*",),
}
FILES = {
    "cifar10": (CIFAR10_BATCHES[:5], CIFAR10_BATCHES[5:], "labels"),
    "cifar100": (("train",), ("test",), "fine_labels"),
}
LARGEST = 200_000_000  # bytes of one file; the largest published one has 155 million

_RECONSTRUCT = (
    "numpy.core.multiarray _reconstruct",
    "numpy._core.multiarray _reconstruct",
)
_KNOWN = (*_RECONSTRUCT, "numpy ndarray", "numpy dtype")
_VALUES = (
    *("BININT", "BININT1", "BININT2", "INT", "LONG1"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE"),
    *("BINBYTES", "SHORT_BINBYTES", "SHORT_BINUNICODE"),
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_MARK = object()


class _Name(str):
    """The name of something that the file would have called."""


class _Array:
    """An array of bytes that is being put together."""

    value: np.ndarray | None = None


def find(name: str, folder: Path) -> list[Path]:
    """Archives and folders of pickles that lie in a folder, by the names they have."""
    return [path for pattern in PLACES[name] for path in sorted(folder.glob(pattern))]


def read(name: str, path: Path) -> tuple[Split, Split]:
    """Read an archive, or a folder, of pickled batches.

    Args:
        name: `"cifar10"` or `"cifar100"`.
        path: Of `find`.

    Raises:
        DataError: If a file is missing, or holds anything but the published fields.
    """
    train, test, labels = FILES[name]
    content = _from_archive(path) if path.is_file() else _from_folder(path)
    splits = []
    for names in (train, test):
        missing = [n for n in names if n not in content]
        if missing:
            raise DataError(f"{path} lacks {', '.join(missing)}.")
        parts = [_batch(content[n], labels, f"{path}: {n}") for n in names]
        images, numbers = (
            np.concatenate(column) for column in zip(*parts, strict=True)
        )
        splits.append((images, numbers))
    return splits[0], splits[1]


def _from_archive(path: Path) -> dict[str, bytes]:
    try:
        with tarfile.open(path) as tar:  # in memory: nothing is extracted to the disk
            return {
                Path(m.name).name: tar.extractfile(m).read()  # type: ignore[union-attr]
                for m in tar.getmembers()
                if m.isfile() and m.size < LARGEST
            }
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}.") from error


def _from_folder(path: Path) -> dict[str, bytes]:
    wanted = {n for train, test, _ in FILES.values() for n in (*train, *test)}
    return {
        file.name: file.read_bytes()
        for file in path.rglob("*")
        if file.name in wanted and file.is_file() and file.stat().st_size < LARGEST
    }


def _batch(content: bytes, labels: str, where: str) -> Split:
    """The images and labels of one pickled batch."""
    try:
        fields = parse(content)
        fields = {_text(key): value for key, value in fields.items()}
        images, numbers = fields["data"].value, np.array(fields[labels])
        planar = images.reshape(len(numbers), 3, 32, 32)
        if numbers.dtype.kind != "i" or not 0 <= numbers.min() <= numbers.max() < 100:
            raise ValueError("its labels are no small numbers")
    except Exception as error:  # mangled bytes fail in a dozen ways
        raise DataError(
            f"{where} is not as it was published ({type(error).__name__}: {error})."
        ) from error
    return np.ascontiguousarray(planar.transpose(0, 2, 3, 1)), numbers


def parse(content: bytes) -> Any:
    """The value of a pickle of plain values and arrays of bytes.

    Raises:
        ValueError: If it holds an instruction or a name that these do not need.
        Exception: Of the many kinds that mangled bytes fail with.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}

    def since_mark() -> list[Any]:
        place = max(i for i, item in enumerate(stack) if item is _MARK)
        items = stack[place + 1 :]
        del stack[place:]
        return items

    for opcode, argument, _ in pickletools.genops(content):  # decodes, runs nothing
        name = opcode.name
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("EMPTY_DICT", "EMPTY_LIST"):
            stack.append({} if name == "EMPTY_DICT" else [])
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[int(argument or 0)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[int(argument or 0)])
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name == "TUPLE":
            stack.append(tuple(since_mark()))
        elif name == "APPEND":
            item = stack.pop()
            stack[-1].append(item)
        elif name == "APPENDS":
            items = since_mark()
            stack[-1].extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            if name == "SETITEM":
                items = [stack.pop() for _ in range(2)][::-1]
            else:
                items = since_mark()
            stack[-1].update(zip(items[::2], items[1::2], strict=True))
        elif name == "GLOBAL" and argument in _KNOWN:
            stack.append(_Name(argument))
        elif name == "REDUCE":
            arguments = stack.pop()
            stack.append(_called(stack.pop(), arguments))
        elif name == "BUILD":
            state = stack.pop()
            _fill(stack[-1], state)
        elif name == "STOP":
            return stack.pop()
        elif name != "PROTO":
            raise ValueError(f"it holds {name} {argument if argument else ''}".strip())
    raise ValueError("it has no end")


def _called(function: object, arguments: tuple) -> object:
    """What the numpy function of that name would have made."""
    if isinstance(function, _Name) and function in _RECONSTRUCT:
        return _Array()
    if function == _Name("numpy dtype") and _text(arguments[0]) == "u1":
        return np.dtype(np.uint8)
    raise ValueError(f"it calls {function} of {arguments!r:.60}")


def _fill(target: object, state: tuple) -> None:
    """Put an array's bytes in place; a data type is whole already."""
    if isinstance(target, _Array):
        _, shape, dtype, columns_first, raw = state
        if dtype != np.uint8:
            raise ValueError(f"it holds an array of {dtype!r:.60}")
        raw = raw.encode("latin-1") if isinstance(raw, str) else raw
        flat = np.frombuffer(raw, np.uint8)
        target.value = flat.reshape(shape, order="F" if columns_first else "C")
    elif not isinstance(target, np.dtype):
        raise ValueError(f"it sets the state of {target!r:.60}")


def _text(word: str | bytes) -> str:
    return word if isinstance(word, str) else word.decode("latin-1")
