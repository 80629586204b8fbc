"""What an experiment leaves: tables and figures, each file whole or as it was."""

import io
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from allconv.core import files


def write_text(path: Path, content: str) -> None:
    """Write a text; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_bytes(path, content.encode())


def write_figure(path: Path, figure: Figure, **options: Any) -> None:
    """Write a picture in the format that its name says; its folder is made.

    Args:
        path: The file.
        figure: A Matplotlib figure.
        options: Of `Figure.savefig`.
    """
    memory = io.BytesIO()
    figure.savefig(memory, format=path.suffix[1:], **options)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_bytes(path, memory.getvalue())
