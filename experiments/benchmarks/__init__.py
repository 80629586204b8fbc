"""What things cost in seconds and in memory."""

import sys


def peak_memory() -> float:
    """The most memory that this process has had, in MiB; Windows does not say."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
