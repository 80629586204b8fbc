"""How strongly units answer over a whole data set, beyond their nine best images.

What counts is an image's peak: a unit's largest activation in it. Peaks arrive batch by
batch and are counted; memory does not grow with the images.

    activity = Activity(channels=192, classes=10)
    activity.add(peaks, labels)              # (images, channels), (images,)
    activity.counts, activity.selectivity()
"""

import numpy as np

BINS = 32


class Activity:
    """Histograms and class means of peaks, unit by unit.

    Args:
        channels: How many units.
        classes: How many classes the labels tell apart; 0: there are no labels.

    Attributes:
        silent: int64 `(channels,)`: images whose peak is 0 or less.
        counts: int64 `(channels, 32)`: the others, in equal steps from 0 to `end`.
        end: float64 `(channels,)`: a power of 2, at least the largest peak; 0 before
            any peak is above 0.
    """

    def __init__(self, channels: int, classes: int):
        self.silent = np.zeros(channels, np.int64)
        self.counts = np.zeros((channels, BINS), np.int64)
        self.end = np.zeros(channels)
        self._sums = np.zeros((classes, channels))
        self._seen = np.zeros(classes, np.int64)

    def add(self, peaks: np.ndarray, labels: np.ndarray | None = None) -> None:
        """Count a batch: peaks `(images, channels)`, labels `(images,)` of integers."""
        peaks = peaks.astype(np.float64)
        self._widen(peaks.max(axis=0, initial=0))
        self.silent += (peaks <= 0).sum(axis=0)
        image, channel = np.nonzero(peaks > 0)
        share = peaks[image, channel] / self.end[channel]
        at = np.minimum((share * BINS).astype(int), BINS - 1)
        np.add.at(self.counts, (channel, at), 1)
        if labels is not None and len(self._seen):
            np.add.at(self._sums, labels, np.maximum(peaks, 0))
            self._seen += np.bincount(labels, minlength=len(self._seen))

    def _widen(self, peak: np.ndarray) -> None:
        """Double ranges, two steps becoming one, until they hold new peaks."""
        new = (peak > 0) & (self.end == 0)
        self.end[new] = 2.0 ** np.ceil(np.log2(peak[new]))
        while (small := peak > self.end).any():
            pairs = self.counts[small].reshape(-1, BINS // 2, 2).sum(axis=-1)
            self.counts[small] = np.pad(pairs, ((0, 0), (0, BINS // 2)))
            self.end[small] *= 2

    def selectivity(self) -> np.ndarray:
        """How much stronger each unit answers to its best class than to the others.

        `(best - others) / (best + others)` of the mean peaks of the best class and of
        all other images (Morcos et al. 2018, section 2.3, but for one mean over the
        other images, not over their classes); 0 of a unit that is always silent.

        Returns:
            float64 `(channels,)` from 0 to 1; NaN without two classes.
        """
        there = self._seen > 0
        sums, seen = self._sums[there], self._seen[there]
        if len(seen) < 2:
            return np.full(len(self.end), np.nan)
        best = (sums / seen[:, None]).argmax(axis=0)
        unit = np.arange(len(self.end))
        own = sums[best, unit] / seen[best]
        others = (sums.sum(axis=0) - sums[best, unit]) / (seen.sum() - seen[best])
        both = np.where(own > 0, own + others, 1)
        return np.maximum(own - others, 0) / both
