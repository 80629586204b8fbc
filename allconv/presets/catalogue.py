"""Training recipes as rows: one frozen `Preset` for each cell that can be trained.

The paper's recipe (section 3.1) is one row; every other row is a `replace` of it.
"""

from dataclasses import replace

from allconv.core.arguments import checked
from allconv.core.checks import nearest
from allconv.networks import all_cnn_rows, classics_rows
from allconv.networks.registry import NORMS
from allconv.presets import imagenet
from allconv.presets.limits import check
from allconv.presets.preset import Preset

PAPER = Preset("all_cnn_c", "all_cnn_c")

# Table 3 of Zeiler & Fergus at the size of CIFAR: rate and momentum theirs; no dropout,
# which a run of some minutes has no use for.
ZFNET = replace(
    PAPER,
    name="zfnet_32",
    architecture="zfnet_32",
    preprocessing="mean_std",
    epochs=2,
    batch_size=64,
    learning_rate=0.01,
    schedule="linear",
    warmup=0.1,
    milestones=(),
    weight_decay=5e-4,
    dropout=0.0,
    initializer=None,
)
ZFNET_32 = (
    *("zfnet_32", "zfnet_32_no_3_4", "zfnet_32_no_7", "zfnet_32_no_6_7"),
    *("zfnet_32_no_3_4_6_7", "zfnet_32_half_dense", "zfnet_32_double_dense"),
    *("zfnet_32_wide", "zfnet_32_wide_double_dense"),
    *("zfnet_32_unbounded", "alexnet_32"),
)

# The same networks trained to the end, by what did best on images held back
# (`experiments.trials zfnet`). The batch normalisation is folded away in their weights.
ZFNET_LONG = replace(
    ZFNET,
    name="zfnet_32_long",
    preprocessing="gcn_zca",
    augmentation="alternate",
    epochs=20,
    batch_size=128,
    learning_rate=0.05,
    nesterov=True,
    muon=0.4,
    dropout=0.25,
    norm="batch",
    label_smoothing=0.1,
    shuffle_rounds=8,
)
# Table 3; a bound on the filters does nothing where their scale is taken out.
ZFNET_32_ABLATION = tuple(n for n in ZFNET_32 if n != "zfnet_32_unbounded")

# Two epochs with normalisation, a rate that rises and falls, and flips.
SHORT = replace(
    PAPER,
    preprocessing="mean_std",
    augmentation="alternate",
    epochs=2,
    batch_size=128,
    learning_rate=0.2,
    schedule="linear",
    warmup=0.2,
    milestones=(),
    nesterov=True,
    dropout=0.0,
    initializer="he_normal",
    norm="batch",
)

# As well trained as an hour and a half on two cores allows: hidden kernels take Muon's
# steps, and the images are their middle first, where a step costs half, then more of
# them, and all of them at the end.
FAST = replace(
    SHORT,
    name="fast_augmented",
    preprocessing="gcn_zca",
    epochs=14,
    windows=((0, 24), (10, 28), (13, 32)),
    muon=0.1,
    label_smoothing=0.1,
    validate_every=0,
)

# Table 3 in some hours: the paper's inputs, optimiser and decay, no normalising layers;
# fewer epochs, most of them on the middle of the images. Batch size, rate, dropout and
# start were chosen on images held back (`experiments.trials budget`), once for all.
BUDGET = replace(
    PAPER,
    epochs=6,
    windows=((0, 24), (5, 32)),
    batch_size=32,
    learning_rate=0.02,
    schedule="linear",
    warmup=0.2,
    milestones=(),
    dropout=0.0,
    initializer="he_normal",
    score_bias=1.0,
    validate_every=0,
)

# Network deconvolution against batch normalisation (Ye et al., 2020).
WHITENING = replace(
    PAPER,
    architecture="vgg16_cifar",
    preprocessing="mean_std",
    augmentation="crop",
    epochs=1,
    batch_size=128,
    learning_rate=0.1,
    schedule="cosine",
    milestones=(),
    dropout=0.0,
    initializer=None,
)
# Table 1 of Ye et al.: the presets without their norm, each a network and a data set.
TABLE_1 = {
    f"{network}{'' if dataset == 'cifar10' else f'_{dataset}'}": (network, dataset)
    for dataset in ("cifar10", "cifar100")
    for network in classics_rows.NAMES
}
_FIRST = (  # from before an epoch's order took eight rounds
    *("vgg16_cifar", "resnet18_cifar", "mobilenet_v2_cifar", "vgg16_cifar_cifar100"),
)

_ROWS = (
    # Table 3: twelve networks on CIFAR-10, no augmentation.
    *(replace(PAPER, name=n, architecture=n) for n in all_cnn_rows.TABLE_3),
    # Table 4: All-CNN-C on CIFAR-10 with augmentation; and on CIFAR-100.
    replace(PAPER, name="all_cnn_c_augmented", augmentation="paper"),
    replace(PAPER, name="all_cnn_c_cifar100", dataset="cifar100"),
    # The first 12 of the paper's 350 epochs, for comparison with the public Caffe run.
    replace(PAPER, name="caffe_start", epochs=12, milestones=()),
    # Some minutes on two cores: whitened layers, which learn in the fewest steps, no
    # dropout, small batches, a rate that falls to 0.
    replace(
        PAPER,
        name="quick",
        preprocessing="mean_std",
        epochs=1,
        train_size=16_000,
        batch_size=64,
        schedule="linear",
        learning_rate=0.1,
        warmup=0.1,
        milestones=(),
        dropout=0.0,
        norm="deconv",
        validate_every=0,
    ),
    # ZFNet and its ablations, and ones to carry features back from CIFAR-100.
    *(replace(ZFNET, name=name, architecture=name) for name in ZFNET_32),
    *(
        replace(ZFNET_LONG, name=f"{name}_long", architecture=name)
        for name in ZFNET_32_ABLATION
    ),
    replace(ZFNET_LONG, name="zfnet_32_cifar100_long", dataset="cifar100"),
    replace(ZFNET, name="zfnet_32_flips", augmentation="flip", epochs=8, dropout=0.5),
    replace(
        ZFNET,
        name="zfnet_32_cifar100",
        dataset="cifar100",
        augmentation="flip",
        epochs=8,
        dropout=0.5,
    ),
    # A quarter of an hour, for pictures: All-CNN-C, and Model C, whose pooling has
    # switches. Batch normalisation is folded away in their weights.
    *(
        replace(SHORT, name=f"{name}_short", architecture=name)
        for name in ("all_cnn_c", "model_c")
    ),
    FAST,
    # Three epochs fewer: an hour with AVX-512.
    replace(
        FAST,
        name="fast_augmented_cifar100",
        dataset="cifar100",
        epochs=11,
        windows=((0, 24), (8, 28), (10, 32)),
    ),
    # As well trained as three hours allow, or half of that on fast cores; half of the
    # paper's dropout, since that many epochs would learn the images by heart. And on
    # fast cores for three hours, with three quarters. Nothing of them was tuned; the
    # longer one ended no better (`experiments.fast`).
    replace(
        FAST,
        name="long_augmented",
        epochs=36,
        windows=((0, 24), (26, 28), (33, 32)),
        dropout=0.5,
    ),
    replace(
        FAST,
        name="longest_augmented",
        epochs=68,
        windows=((0, 24), (50, 28), (62, 32)),
        dropout=0.75,
    ),
    # Without shifts and flips, where nothing else shows the borders of the images:
    # whole ones for longer, and half of the paper's dropout. Neither was tuned.
    replace(
        FAST,
        name="fast",
        augmentation="none",
        windows=((0, 24), (9, 32)),
        dropout=0.5,
    ),
    # And without any normalising layer, as the paper has it, in as many epochs.
    replace(
        FAST,
        name="fast_augmented_plain",
        norm="none",
        muon=0.0,
        batch_size=BUDGET.batch_size,
        learning_rate=BUDGET.learning_rate,
        score_bias=BUDGET.score_bias,
    ),
    # Table 3 again, at a price that two cores can pay.
    *(
        replace(BUDGET, name=f"{name}_budget", architecture=name)
        for name in all_cnn_rows.TABLE_3
    ),
    # One epoch with the settings of the authors' main.py; and twenty.
    *(
        replace(
            WHITENING,
            name=f"{name}_{norm}",
            architecture=architecture,
            dataset=dataset,
            norm=norm,
            shuffle_rounds=4 if name in _FIRST else 8,
        )
        for name, (architecture, dataset) in TABLE_1.items()
        for norm in ("batch", "deconv")
    ),
    *(
        replace(
            WHITENING,
            name=f"vgg16_cifar_{norm}_20",
            norm=norm,
            epochs=20,
            shuffle_rounds=8,
        )
        for norm in ("batch", "deconv")
    ),
    # Whether whitening helps All-CNN-C: the three norms in ten epochs of one recipe, on
    # the middle of the images, where a step costs half. Without normalisation the rate
    # is half of the others', and no score is off at the start.
    *(
        replace(
            WHITENING,
            name=f"all_cnn_c_{norm}_10",
            architecture="all_cnn_c",
            norm=norm,
            epochs=10,
            windows=((0, 24),),
            learning_rate=0.05 if norm == "none" else 0.1,
            initializer="he_normal",
            score_bias=BUDGET.score_bias if norm == "none" else 0.0,
        )
        for norm in NORMS
    ),
    # Seconds, on synthetic shapes: what the tests and the quick notebooks train.
    replace(
        PAPER,
        name="tiny",
        architecture="strided_cnn_a",
        dataset="shapes",
        preprocessing="mean_std",
        epochs=2,
        train_size=640,
        batch_size=32,
        schedule="linear",
        learning_rate=0.02,
        milestones=(),
        initializer="he_normal",
    ),
    *imagenet.ROWS,
)

PRESETS: dict[str, Preset] = {preset.name: preset for preset in _ROWS}


def register(preset: Preset) -> None:
    """Make a recipe of your own one that commands and tables know, in this process.

    Raises:
        ValueError: If there is a preset of that name, or no run can follow it.
    """
    if preset.name in PRESETS:
        raise ValueError(f"There is a preset {preset.name!r}: choose another name.")
    check(preset)
    PRESETS[preset.name] = preset


@checked
def get(name: str) -> Preset:
    """The preset of that name.

    Raises:
        ValueError: If there is none.
    """
    if name not in PRESETS:
        raise ValueError(
            "A preset should be one that `python -m allconv list` shows. "
            f"Received: {name!r}{nearest(name, PRESETS)}"
        )
    return PRESETS[name]
