"""The share of the machine that this process may use."""

import os


def cores() -> int:
    """The number of processor cores that this process may run on.

    Fewer than the machine's in a container or under `taskset`, where the system says
    so (Linux does, macOS and Windows do not).
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
