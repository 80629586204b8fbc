#!/usr/bin/env bash
# Guess: a figure made inside `rc_context` looks the same whenever it is drawn.
# Seen (matplotlib 3.11.2): ticks keep their colour and font size from when they were made,
# but how many there are and which minus sign they have is decided when the figure is drawn,
# by the settings then: labels of 30 points are placed as if they had 10.
# Why it matters: functions that return a figure return it before it is drawn.
# `allconv/figures/style.py` therefore calls `draw_without_rendering()` inside the context.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python -m venv "$folder/env"
python="$folder/env/bin/python"
"$python" -m pip install -qq --disable-pip-version-check matplotlib==3.11.2 numpy==2.4.6
"$python" - <<'PYTHON'
import matplotlib

matplotlib.use("agg")
from matplotlib import pyplot  # noqa: E402

print("matplotlib", matplotlib.__version__)
settings = {"font.size": 30, "axes.unicode_minus": False}


def plot():
    figure, axes = pyplot.subplots()
    axes.plot([-5, 10], [0, 1])
    return figure, axes


def labels(figure, axes):
    figure.draw_without_rendering()
    ticks = axes.xaxis.get_major_ticks()
    return [t.label1.get_text() for t in ticks], {t.label1.get_fontsize() for t in ticks}


with matplotlib.rc_context(settings):
    inside = labels(*plot())
    later = plot()
outside = labels(*later)
for name, (texts, sizes) in {"inside": inside, "outside": outside}.items():
    print(f"drawn {name}: {len(texts)} ticks, font {sizes},", *map(ascii, texts))
assert inside[1] == outside[1] == {30.0}
assert len(inside[0]) < len(outside[0])
assert inside[0][0].startswith("-") and outside[0][0].startswith("\N{MINUS SIGN}")
PYTHON
