"""`list`, `data` and `table`: what there is. None of them needs TensorFlow."""

import argparse
import itertools
import textwrap
from pathlib import Path

from allconv.data import datasets
from allconv.networks import all_cnn_rows, classics_rows, places, registry, zfnet_rows
from allconv.presets import catalogue
from allconv.presets.preset import Preset
from allconv.results import tables

TITLES = {
    "all_cnn": "All-CNN (Springenberg et al., 2015)",
    "zfnet": "ZFNet and AlexNet (Zeiler & Fergus, 2014)",
    "classics": "for Network Deconvolution (Ye et al., 2020)",
    "own": "your own",
}


def show_list(arguments: argparse.Namespace) -> None:
    """Show the networks and the training recipes, in groups."""
    released = {entry["preset"] for entry in places.manifest()}
    networks = {entry["architecture"] for entry in places.manifest()}
    print("networks                (* has released weights)")
    for title, names in (
        (TITLES["all_cnn"], all_cnn_rows.NAMES),
        (TITLES["zfnet"], zfnet_rows.NAMES),
        (TITLES["classics"], classics_rows.NAMES + classics_rows.IMAGENET_NAMES),
        (TITLES["own"], [n for f in registry.FAMILIES if f.layers for n in f.names]),
    ):
        if not names:
            continue
        print(f"\n {title}")
        if names is all_cnn_rows.NAMES:
            for name in names:
                count = all_cnn_rows.count_parameters(name)
                source = all_cnn_rows.get(name).source
                star = "*" if name in networks else " "
                print(f"  {name + ' ' + star:22}{count:>12,} parameters  {source}")
            continue
        starred = (name + " *" * (name in networks) for name in names)
        lines = textwrap.fill(", ".join(starred), 84, break_on_hyphens=False)
        print(textwrap.indent(lines, "  "))
    _show_presets(released)


def _show_presets(released: set[str]) -> None:
    folder = places.folder("records")
    records = tables.read(folder) if folder.is_dir() else []
    width = max(map(len, catalogue.PRESETS)) + 2
    head = f"{'epochs':>6}{'test error %':>15}{'minutes':>9}"
    print(f"\n{'recipes (presets)':{width}}{head}")
    for (family, dataset), group in itertools.groupby(
        sorted(catalogue.PRESETS.values(), key=_order), _group
    ):
        print(f"\n {TITLES[family]} on {datasets.title(dataset)}")
        for preset in group:
            summary = tables.summarise(records, preset.name)
            minutes = "" if summary.minutes is None else f"{summary.minutes:.0f}"
            mark = "  released" if preset.name in released else ""
            line = f"  {preset.name:{width - 2}}{preset.epochs:>6}{summary!s:>15}"
            print(f"{line}{minutes:>9}{mark}".rstrip())
            if preset.description:
                print(textwrap.indent(textwrap.fill(preset.description, 80), " " * 6))


def _group(preset: Preset) -> tuple[str, str]:
    return registry.family(preset.architecture).module, preset.dataset


def _order(preset: Preset) -> tuple[int, str]:
    """Families as in `TITLES`; what is inside stays in the order of the catalogue."""
    family, dataset = _group(preset)
    return list(TITLES).index(family), dataset


def data(arguments: argparse.Namespace) -> None:
    """Fetch and verify a data set, and say where it is; or clean up."""
    if arguments.clean:
        _clean(arguments)
    elif arguments.name is None:
        raise ValueError(
            "Name a data set, one of "
            f"{', '.join((*datasets.NAMES, *datasets.ON_DISK))}, or say --clean."
        )
    if arguments.name is None:
        return
    name = arguments.name
    if arguments.on_disk or name in datasets.ON_DISK:
        _on_disk(name, arguments.data_dir)
        return
    (x_train, y_train), (x_test, y_test) = datasets.load(name, arguments.data_dir)
    where = "code" if name == "shapes" else datasets.places(name, arguments.data_dir)[0]
    if name not in datasets.NAMES:
        names, size = datasets.class_names(name), x_train.shape[1:3]
        print(f"{name}: {len(names)} classes, images of {size[0]} x {size[1]}")
    print(f"{name}: {len(x_train)} training and {len(x_test)} test images")
    if name in datasets.NAMES:
        print(f"  in           {where}")
    print(f"  training set {datasets.fingerprint(x_train, y_train)}")
    print(f"  test set     {datasets.fingerprint(x_test, y_test)}")


def _on_disk(name: str, data_dir: str | None) -> None:
    """Look at every file of a data set that is not loaded, and say what there is."""
    from allconv.data import streams

    images = streams.load(name, data_dir)
    counts = f"{len(images.train):,} training and {len(images.test):,} test images"
    print(f"{name}: {len(images.class_names)} classes, {counts}, all of them decoded")
    others = images.train.others() + images.test.others()
    if others:
        rest = ", ..." if len(others) > 3 else ""
        print(f"  {len(others)} by Pillow: {', '.join(others[:3])}{rest}")
    print(f"  training set {images.train.fingerprint()}")
    print(f"  test set     {images.test.fingerprint()}")


def _clean(arguments: argparse.Namespace) -> None:
    from allconv.data import whitenings

    gone = whitenings.clean(arguments.data_dir)
    size = sum(bytes_ for _, bytes_ in gone) / 1e6
    where = datasets.data_folder(arguments.data_dir)
    print(f"deleted {len(gone)} whitenings, {size:.0f} MB, from {where}")


def table(arguments: argparse.Namespace) -> None:
    """Print a table of the paper with our errors beside."""
    from allconv.core.files import write_bytes

    records = tables.read(arguments.records or places.folder("records"))
    title = tables.title(arguments.name, records)
    rows = tables.rows(arguments.name, records)
    brief = arguments.style == "latex"
    if brief or arguments.done:  # a page has room for what is there to see
        rows = [row for row in rows if row["n"] != "0" or row["diverged"] != "0"]
    columns = arguments.columns or (tables.BRIEF if brief else tables.COLUMNS)
    text = tables.render(rows, arguments.style, columns)
    if arguments.style == "text":
        print(f"{title}\n")
    print(text)
    if arguments.output:
        path = Path(arguments.output)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, (text + "\n").encode())
