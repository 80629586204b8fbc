"""Nothing is silent for long: a line on standard error about what takes a while."""

import contextlib
import sys
import threading
from collections.abc import Iterator
from typing import TextIO

PATIENCE = 2.5  # seconds without a word


@contextlib.contextmanager
def say_if_long(
    what: str, seconds: float = PATIENCE, stream: TextIO | None = None
) -> Iterator[None]:
    """Print a line if the work inside takes longer.

    Args:
        what: The line.
        seconds: How long is long.
        stream: Where to; None: standard error as it is then.
    """

    def say() -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody listens
            print(what, file=stream or sys.stderr, flush=True)

    timer = threading.Timer(seconds, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
