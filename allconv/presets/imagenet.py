"""Recipes for ImageNet, as the papers have them, and rehearsals of them in minutes.

No row was run at its full size: there was neither ImageNet nor a GPU. Hours are
estimates: six operations a multiplication, weight and image, at 25 TFLOP/s, which a
recent GPU sustains in half precision; and reading, at 4 milliseconds of one core an
image. A rehearsal is the same recipe on drawn JPEG files, 64 pixels and 10 classes.
"""

from dataclasses import replace
from typing import Any

from allconv.presets.preset import Preset, shorten

# Table 6 of Springenberg et al.: 450,000 steps of 64; the rate tenfold lower each
# 200,000. Their inputs and start are not told.
ALL_CNN = Preset(
    "all_cnn_b_imagenet",
    "all_cnn_b_imagenet",
    dataset="imagenet",
    preprocessing="mean_std",
    augmentation="random_crops",
    epochs=45,
    batch_size=64,
    learning_rate=0.01,
    milestones=(20, 40),
    weight_decay=5e-4,
    initializer="he_normal",
    score_bias=1.0,
    shuffle_rounds=8,
    image_size=224,
    steps_per_epoch=10_000,
    description="Paper: 41.2 % top-1, centre crop. 2 GPU hours, 32 core hours to read.",
)

# Section 3 of Zeiler & Fergus. They lowered the rate by hand when the error stood
# still: here tenfold after 25, 45 and 60 epochs. Weight decay is Krizhevsky's.
ZFNET = replace(
    ALL_CNN,
    name="zfnet",
    architecture="zfnet",
    preprocessing="mean_pixel",
    augmentation="ten_crops",
    epochs=70,
    batch_size=128,
    milestones=(25, 45, 60),
    initializer=None,
    score_bias=0.0,
    steps_per_epoch=None,
)
# Table 3, and model (b) of Table 2: networks by their names in `paper.ABLATION`.
TABLE_3 = {
    "zfnet": "zfnet",
    "zfnet_half_dense": "zfnet, dense 2048",
    "zfnet_double_dense": "zfnet, dense 8192",
    "zfnet_wide": "zfnet, wide 3-5",
    "zfnet_wide_double_dense": "zfnet, wide 3-5, dense 8192",
    "alexnet": "alexnet",
    "alexnet_no_3_4": "alexnet without layers 3, 4",
    "alexnet_no_7": "alexnet without layer 7",
    "alexnet_no_6_7": "alexnet without layers 6, 7",
    "alexnet_no_3_4_6_7": "alexnet without layers 3, 4, 6, 7",
    "alexnet_half_dense": "alexnet, dense 2048",
    "alexnet_double_dense": "alexnet, dense 8192",
}
_TOLD = {
    "zfnet": "Paper: 38.4 / 16.5 % top-1 / top-5, ten crops. 7 GPU hours, 100 core "
    "hours to read.",
    "zfnet_wide": "Paper: 37.5 / 16.0 % top-1 / top-5, ten crops. 10 GPU hours.",
    "alexnet": "Paper: 40.5 / 18.1 % top-1 / top-5, ten crops. 4 GPU hours.",
}

# Ye et al.'s code for ImageNet. VGG-11, which has no normalisation of its own, takes a
# tenth of the others' rate; He's start keeps its signals, as torchvision's does.
NETDECONV = replace(
    ALL_CNN,
    name="resnet18_batch",
    architecture="resnet18",
    augmentation="scaled_crops",
    epochs=90,
    batch_size=256,
    learning_rate=0.1,
    schedule="cosine",
    milestones=(),
    weight_decay=1e-4,
    initializer=None,
    score_bias=0.0,
    norm="batch",
    steps_per_epoch=None,
)
# Network and norm: top-1 / top-5 of Table 2 as errors, and GPU hours. Whitening took
# 3.4 to 4.6 times as long in a re-run on CIFAR.
TABLE_2 = {
    ("vgg11", "none"): ("30.98 / 11.37", 60),
    ("vgg11", "batch"): ("29.62 / 10.19", 60),
    ("vgg11", "deconv"): ("28.05 / 9.51", 240),
    ("resnet18", "batch"): ("30.24 / 10.92", 15),
    ("resnet18", "deconv"): ("28.76 / 9.86", 60),
    ("densenet121", "batch"): ("25.35 / 7.83", 40),
    ("densenet121", "deconv"): ("24.27 / 7.25", 160),
}


def rehearse(preset: Preset, **changes: Any) -> Preset:
    """The recipe on drawn JPEG files of 64 pixels: all of its way, in minutes."""
    shorter = shorten(preset, 6)
    return replace(
        shorter,
        name=f"{preset.name}_rehearsal",
        dataset="shapes",
        image_size=64,
        batch_size=32,
        steps_per_epoch=None,
        description=f"As {preset.name}, on 2,000 drawn JPEG files of ten classes.",
        **changes,
    )


_ZFNETS = tuple(
    replace(ZFNET, name=name, architecture=name, description=_TOLD.get(name, ""))
    for name in TABLE_3
)
_NETDECONVS = tuple(
    replace(
        NETDECONV,
        name=f"{network}_{norm}",
        architecture=network,
        norm=norm,
        learning_rate=0.01 if network == "vgg11" else 0.1,
        initializer="he_normal" if norm == "none" else None,
        description=f"Paper: {errors} % top-1 / top-5, centre crop. {hours} GPU hours, "
        "130 core hours to read.",
    )
    for (network, norm), (errors, hours) in TABLE_2.items()
)
ROWS = (
    *(ALL_CNN, *_ZFNETS, *_NETDECONVS),
    rehearse(ALL_CNN, learning_rate=0.03),
    # At 64 pixels the first dense layer reads 256 values, not 9216: from the paper's
    # start, signals would fade.
    *(
        rehearse(preset, initializer="he_normal", preprocessing="mean_std")
        for preset in _ZFNETS
        if preset.name in ("zfnet", "alexnet")
    ),
    # Batches of an eighth, at an eighth of the rate.
    *(rehearse(p, learning_rate=p.learning_rate / 8) for p in _NETDECONVS),
)
