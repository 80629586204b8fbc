"""Every published number this project sets beside its own, with table and paper.

Numbers marked `confirmed=False` could not be checked against a copy of the paper;
tables print them with a question mark.
"""

from dataclasses import dataclass, replace

from allconv.presets import imagenet

ALL_CNN = "Springenberg et al. 2015"
ZFNET = "Zeiler & Fergus 2014"
NETDECONV = "Ye et al. 2020"


@dataclass(frozen=True)
class Number:
    """A published value.

    Attributes:
        value: As printed.
        source: Paper and table.
        confirmed: Whether it was checked against a copy of the paper.
        spread: The printed plus-or-minus, where there is one.
    """

    value: float
    source: str
    confirmed: bool = True
    spread: float | None = None


def _numbers(source: str, values: dict, confirmed: bool = True) -> dict:
    out = {}
    for key, value in values.items():
        mean, spread = value if isinstance(value, tuple) else (value, None)
        out[key] = Number(mean, source, confirmed, spread)
    return out


# Error in %, CIFAR-10 without augmentation, final of 350 epochs.
TABLE_3 = _numbers(
    f"{ALL_CNN}, Table 3",
    {
        **{"model_a": 12.47, "strided_cnn_a": 13.46},
        **{"conv_pool_cnn_a": 10.21, "all_cnn_a": 10.30},
        **{"model_b": 10.20, "strided_cnn_b": 10.98},
        **{"conv_pool_cnn_b": 9.33, "all_cnn_b": 9.10},
        **{"model_c": 9.74, "strided_cnn_c": 10.19},
        **{"conv_pool_cnn_c": 9.31, "all_cnn_c": 9.08},
    },
)

# Parameters as Table 3 prints them. The layer list of Model C and Strided-CNN-C gives
# 0.95 million, not 1.3.
TABLE_3_PARAMETERS = {
    **{"model_a": "0.9M", "strided_cnn_a": "0.9M"},
    **{"conv_pool_cnn_a": "1.28M", "all_cnn_a": "1.28M"},
    **{"model_b": "1M", "strided_cnn_b": "1M"},
    **{"conv_pool_cnn_b": "1.35M", "all_cnn_b": "1.35M"},
    **{"model_c": "1.3M", "strided_cnn_c": "1.3M"},
    **{"conv_pool_cnn_c": "1.4M", "all_cnn_c": "1.4M"},
}

# Error in %: All-CNN-C and the methods it is compared with.
CIFAR10_AUGMENTED = _numbers(f"{ALL_CNN}, Table 4", {"all_cnn_c": 7.25}) | _numbers(
    f"{ALL_CNN}, Table 4",
    {
        "Maxout": 9.38,
        "Network in Network": 8.81,
        "Deeply Supervised": 7.97,
        "DropConnect": 9.32,
        "dasNet": 9.22,
        "large_all_cnn": 4.41,
    },
    confirmed=False,
)
CIFAR100 = _numbers(
    f"{ALL_CNN}, Table 4",
    {
        "CNN + tree prior": 36.85,
        "Network in Network": 35.68,
        "Deeply Supervised": 34.57,
        "Maxout": 38.57,
        "dasNet": 33.78,
        "all_cnn_c": 33.71,
    },
    confirmed=False,
)

# Mean feature sign change at layers 5 and 7 when the same part is masked; lower means
# that the net relates the part across images.
CORRESPONDENCE = {
    part: _numbers(f"{ZFNET}, Table 1", {5: five, 7: seven})
    for part, five, seven in (
        ("right eye", (0.067, 0.007), (0.069, 0.015)),
        ("left eye", (0.069, 0.007), (0.068, 0.013)),
        ("nose", (0.079, 0.017), (0.069, 0.011)),
        ("random", (0.107, 0.017), (0.073, 0.014)),
    )
}

# ImageNet 2012 error in %: training top-1, validation top-1, validation top-5.
ABLATION = {
    net: _numbers(
        f"{ZFNET}, Table 3", dict(zip(("train", "top1", "top5"), row, strict=True))
    )
    for net, row in {
        "alexnet": (35.1, 40.5, 18.1),
        "alexnet without layers 3, 4": (41.8, 45.4, 22.1),
        "alexnet without layer 7": (27.4, 40.0, 18.4),
        "alexnet without layers 6, 7": (27.4, 44.8, 22.4),
        "alexnet without layers 3, 4, 6, 7": (71.1, 71.3, 50.1),
        "alexnet, dense 2048": (40.3, 41.7, 18.8),
        "alexnet, dense 8192": (26.8, 40.0, 18.1),
        "zfnet": (33.1, 38.4, 16.5),
        "zfnet, dense 2048": (38.2, 40.2, 17.6),
        "zfnet, dense 8192": (22.0, 38.8, 17.0),
        "zfnet, wide 3-5": (18.8, 37.5, 16.0),
        "zfnet, wide 3-5, dense 8192": (10.0, 38.3, 16.9),
    }.items()
}

# ImageNet 2012, error in %: All-CNN-B and the network that it is compared with, one
# centre crop; validation images, top-1.
IMAGENET = _numbers(
    f"{ALL_CNN}, section 3.4", {"all_cnn_b_imagenet": 41.2, "Krizhevsky et al.": 40.7}
)

# ImageNet 2012, error in %: validation top-1 and top-5, test top-5.
ZFNET_TABLE_2 = {
    net: _numbers(
        f"{ZFNET}, Table 2",
        dict(zip(("top1", "top5", "test5"), row, strict=False)),
    )
    for net, row in {
        "Krizhevsky et al., 1 net": (40.7, 18.2),
        "Krizhevsky et al., 5 nets": (38.1, 16.4, 16.4),
        "alexnet": (40.5, 18.1),
        "zfnet": (38.4, 16.5),
        "zfnet, 5 nets": (36.7, 15.3, 15.3),
        "zfnet_wide": (37.5, 16.0, 16.1),
        "zfnet and zfnet_wide, 6 nets": (36.0, 14.7, 14.8),
    }.items()
}

# Accuracy in %, ImageNet 2012 after 90 epochs: validation top-1 and top-5, by network
# and norm.
NETDECONV_TABLE_2 = {
    key: _numbers(f"{NETDECONV}, Table 2", {"top1": top1, "top5": top5})
    for key, (top1, top5) in {
        ("vgg11", "none"): (69.02, 88.63),
        ("vgg11", "batch"): (70.38, 89.81),
        ("vgg11", "deconv"): (71.95, 90.49),
        ("resnet18", "batch"): (69.76, 89.08),
        ("resnet18", "deconv"): (71.24, 90.14),
        ("densenet121", "batch"): (74.65, 92.17),
        ("densenet121", "deconv"): (75.73, 92.75),
    }.items()
}

# ImageNet, top-1 error in % by recipe, measured as the paper does: on ten crops of each
# image for Zeiler & Fergus, on its middle for the others.
IMAGENET_RECIPES = (
    {"all_cnn_b_imagenet": IMAGENET["all_cnn_b_imagenet"]}
    | {name: ABLATION[row]["top1"] for name, row in imagenet.TABLE_3.items()}
    | {
        f"{network}_{norm}": replace(row["top1"], value=100 - row["top1"].value)
        for (network, norm), row in NETDECONV_TABLE_2.items()
    }
)

# Accuracy in % of a linear classifier on each layer's features, Caltech-101 (30 images
# a class) and Caltech-256 (60 a class).
TRANSFER = {
    layer: _numbers(f"{ZFNET}, Table 7", {"caltech101": c101, "caltech256": c256})
    for layer, c101, c256 in (
        ("SVM 1", (44.8, 0.7), (24.6, 0.4)),
        ("SVM 2", (66.2, 0.5), (39.6, 0.3)),
        ("SVM 3", (72.3, 0.4), (46.0, 0.3)),
        ("SVM 4", (76.6, 0.4), (51.3, 0.1)),
        ("SVM 5", (86.2, 0.8), (65.6, 0.3)),
        ("SVM 7", (85.5, 0.4), (71.7, 0.2)),
        ("Softmax 5", (82.9, 0.4), (65.7, 0.5)),
        ("Softmax 7", (85.4, 0.4), (72.6, 0.1)),
    )
}

# Accuracy in % after 1, 20 and 100 epochs: batch normalisation (bn) or network
# deconvolution (nd).
WHITENING = {
    (net, dataset): _numbers(
        f"{NETDECONV}, Table 1",
        dict(zip(("bn1", "nd1", "bn20", "nd20", "bn100", "nd100"), row, strict=True)),
    )
    for net, dataset, row in (
        ("vgg16", "cifar10", (14.12, 74.18, 90.07, 93.25, 93.58, 94.56)),
        ("resnet18", "cifar10", (56.25, 72.89, 92.64, 94.07, 94.87, 95.40)),
        ("preact18", "cifar10", (55.15, 72.70, 91.93, 94.10, 94.37, 95.44)),
        ("densenet121", "cifar10", (59.56, 76.63, 93.25, 94.89, 94.71, 95.88)),
        ("resnext29", "cifar10", (52.14, 69.22, 93.12, 94.05, 95.15, 95.80)),
        ("mobilenet_v2", "cifar10", (54.29, 65.40, 89.86, 92.52, 90.51, 94.35)),
        ("dpn92", "cifar10", (34.00, 53.02, 92.87, 93.74, 95.14, 95.82)),
        ("pnasnet_a", "cifar10", (21.81, 64.19, 75.85, 81.97, 81.22, 84.45)),
        ("senet18", "cifar10", (57.63, 67.21, 92.37, 94.11, 94.57, 95.38)),
        ("efficientnet", "cifar10", (35.40, 55.67, 84.21, 86.78, 86.07, 88.42)),
        ("vgg16", "cifar100", (2.01, 37.94, 63.22, 71.97, 72.75, 75.32)),
        ("resnet18", "cifar100", (16.10, 35.73, 72.67, 76.55, 77.70, 78.63)),
        ("preact18", "cifar100", (15.17, 36.52, 70.79, 76.04, 76.14, 79.14)),
        ("densenet121", "cifar100", (17.90, 42.91, 74.79, 77.63, 77.99, 80.69)),
        ("resnext29", "cifar100", (17.98, 30.93, 74.26, 77.35, 78.60, 80.34)),
        ("mobilenet_v2", "cifar100", (15.88, 29.01, 66.31, 72.33, 67.52, 74.90)),
        ("dpn92", "cifar100", (8.84, 21.89, 74.87, 76.12, 78.87, 80.38)),
        ("pnasnet_a", "cifar100", (10.49, 36.52, 44.60, 55.65, 54.52, 59.44)),
        ("senet18", "cifar100", (16.60, 32.22, 71.10, 75.79, 76.41, 78.63)),
        ("efficientnet", "cifar100", (19.03, 22.40, 57.23, 57.59, 59.09, 62.37)),
    )
}
# The number of Preact-18 as well, and far above what this network reaches otherwise: it
# may be a slip in print.
_ND1 = WHITENING["pnasnet_a", "cifar100"]
_ND1["nd1"] = replace(_ND1["nd1"], confirmed=False)
# Weights that are trained, in millions: of the whitened networks.
WHITENING_MILLIONS = {
    **{"vgg16": 14.71, "resnet18": 11.17, "preact18": 11.17, "densenet121": 6.88},
    **{"resnext29": 4.76, "mobilenet_v2": 2.28, "dpn92": 34.18, "pnasnet_a": 0.13},
    **{"senet18": 11.26, "efficientnet": 2.91},
}
