"""'Visualizing and Understanding Convolutional Networks' at CIFAR size.

    python -m experiments.queue zfnet zfnet_long   # once: ten hours of training
    python -m experiments.zfnet                    # every figure and table: 10 minutes
    python -m experiments.zfnet --only occlusion   # one of them

    python -m experiments.zfnet --model X.keras --images FOLDER --out DIR

The last line looks into any network at any size: the strongest units and their
projections, invariance, occlusion, correspondence (`--parts`, boxes as in
`dog_faces.json`, by the photographs' names) and transfer (`--transfer`). SqueezeNet
with 1000 photographs takes 2 minutes for the first, 3 for the next two and 1 for the
fourth on two busy cores, and 1.2 GB; see `docs/look-at-photographs.md`.

Figures go to `experiments/figures`, tables to `experiments/tables`. They are made from
the records of finished runs, from weights (of `runs/<preset>-seed0`, or else released
ones) and from CIFAR. What is missing is named and 'not run'; nothing stands in for it.

The paper's numbers beside ours are of ImageNet and Caltech: what can agree is their
order and their sign. In the paper removing two middle layers or both dense layers costs
some points, removing all four costs most (Table 3; here the dense layers hardly count);
features get better up to the last layers (Table 7; here too from CIFAR-100 to CIFAR-10,
the other way layer 3 is best); the class is lost when its object is covered (Figure 7;
seldom here); layer 1 moves at once and the top layer little by little under a shift
(Figure 5; so here).
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from experiments import HERE, RECORDS
from experiments.zfnet import figures as figures, photos as photos, tables as tables
from experiments.zfnet.photos import OnPhotos
from experiments.zfnet.subject import NETWORK, NotRunError, Subject

EXPERIMENTS: dict[str, Callable[[Subject], list[Path]]] = {
    "strongest": figures.strongest,
    "evolution": figures.evolution,
    "invariance": figures.invariance,
    "filters": tables.filters,
    "occlusion": figures.occlude,
    "correspondence": tables.correspondence,
    "ablation": tables.ablation,
    "transfer": tables.transfer,
}
ON_PHOTOS: dict[str, Callable[[OnPhotos], list[Path]]] = {
    "strongest": figures.strongest,
    "invariance": figures.invariance,
    "occlusion": figures.occlude,
    "correspondence": tables.correspondence,
    "transfer": photos.transfer,
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=EXPERIMENTS, help="one of them")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--records", type=Path, default=RECORDS)
    parser.add_argument(
        "--snapshots", type=Path, help="folder; default: of the network"
    )
    parser.add_argument(
        "--weights",
        type=Path,
        metavar="FILE",
        help=f"look into this network (not {NETWORK}), and the snapshots beside it; "
        "ablation and transfer are what they are",
    )
    parser.add_argument("--parts", type=Path, default=HERE / "dog_faces.json")
    parser.add_argument("--data-dir", help="folder of the data; default: ALLCONV_DATA")
    parser.add_argument("--out", type=Path, default=HERE)
    own = parser.add_argument_group("any network, on photographs")
    own.add_argument("--model", metavar="FILE", help=".keras or .h5")
    own.add_argument("--images", type=Path, metavar="FOLDER", help="of photographs")
    own.add_argument("--classes", type=Path, metavar="FILE", help="one a line")
    own.add_argument("--preprocess", help="what it takes; default: as it says")
    own.add_argument("--layers", nargs="+", default=(), metavar="LAYER")
    own.add_argument(
        "--no-strict",
        action="store_true",
        help="plain gradients of operations that the deconvnet says nothing of",
    )
    own.add_argument("--transfer", type=Path, metavar="FOLDER", help="class folders")
    arguments = parser.parse_args(argv)
    if arguments.model or arguments.images:
        if not (arguments.model and arguments.images):
            parser.error("--model and --images go together")
        return _make(_on_photos(arguments), ON_PHOTOS, arguments.only)
    trained = arguments.runs / f"{NETWORK}-seed0"
    subject = Subject(
        runs=arguments.runs,
        records=arguments.records,
        snapshots=arguments.snapshots
        or (arguments.weights.parent if arguments.weights else trained),
        parts=arguments.parts,
        out=arguments.out,
        data_dir=arguments.data_dir,
        file=arguments.weights,
    )
    return _make(subject, EXPERIMENTS, arguments.only)


def _make(subject, experiments, only: str | None) -> int:
    for name in [only] if only else experiments:
        try:
            if name not in experiments:
                raise NotRunError("of the networks at CIFAR size alone")
            for path in experiments[name](subject):
                print(f"{name}: {path}", flush=True)
        except NotRunError as error:
            print(f"{name}: not run: {error}", flush=True)
    return 0


def _on_photos(arguments: argparse.Namespace) -> OnPhotos:
    return OnPhotos(
        file=arguments.model,
        folder=arguments.images,
        parts=arguments.parts,
        out=arguments.out,
        way=arguments.preprocess,
        classes=arguments.classes,
        other=arguments.transfer,
        asked=arguments.layers,
        strict=not arguments.no_strict,
    )


if __name__ == "__main__":
    sys.exit(main())
