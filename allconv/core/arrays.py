"""Arrays that come from people: of the right shape and finite, or refused."""

import numpy as np

from allconv.core.arguments import checked


def check_finite(array: np.ndarray, what: str) -> None:
    """Raise a ValueError if there is a NaN or an infinity in an array."""
    if not np.isfinite(array).all():
        raise ValueError(f"{what} are not finite. Are all weights and images finite?")


@checked
def batch_of(images: np.ndarray) -> np.ndarray:
    """Check images `(n, height, width, channels)` and make them float32.

    A NaN is refused here, since a rectifier may turn it into 0 before anybody sees it.
    """
    images = np.asarray(images)
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(
            "Images should have shape (n, height, width, channels). "
            f"Received: shape={images.shape}"
        )
    images = images.astype(np.float32)
    check_finite(images, "The images")
    return images
