"""Random changes of training images: what they may be, by name."""

from dataclasses import dataclass
from typing import Literal

from allconv.core.arguments import Checked, Count


@dataclass(frozen=True)
class Augmentation(Checked):
    """Random changes of one training image.

    Attributes:
        shift: Largest translation per axis, in pixels, either way.
        flip: Whether half of the images are mirrored left to right.
        mode: What enters at the border: `"CONSTANT"` (0) or `"REFLECT"`.
        alternate: With `flip`: half of the images are mirrored in the even epochs, the
            other half in the odd ones, so that two epochs show each image both ways
            (Jordan, '94% on CIFAR-10 in 3.29 seconds on a single GPU', 2024).
    """

    shift: Count = 0
    flip: bool = False
    mode: Literal["CONSTANT", "REFLECT"] = "CONSTANT"
    alternate: bool = False


AUGMENTATIONS = {
    "none": Augmentation(),
    # Table 4, 'with augmentation': flips and translations of up to 5 pixels, made on
    # the whitened images, where 0 is the mean.
    "paper": Augmentation(shift=5, flip=True),
    # The custom of later work: 4 pixels, mirrored at the border.
    "reflect": Augmentation(shift=4, flip=True, mode="REFLECT"),
    "flip": Augmentation(flip=True),
    # Ye et al. (2020) for CIFAR: 4 pixels, with zeros.
    "crop": Augmentation(shift=4, flip=True),
    "alternate": Augmentation(shift=4, flip=True, mode="REFLECT", alternate=True),
}
