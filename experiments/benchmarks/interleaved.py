"""Functions timed in turn, so that other load on the machine falls on all alike."""

import statistics
import time
from collections.abc import Callable, Mapping


def time_interleaved(
    passes: Mapping[str, Callable], repeats: int
) -> dict[str, dict[str, float]]:
    """Median `"wall"` and `"cpu"` seconds of each pass.

    Args:
        passes: What to time, by name.
        repeats: Timed turns; one more is run first, which warms up.
    """
    spent: dict[str, dict[str, list[float]]] = {
        name: {"wall": [], "cpu": []} for name in passes
    }
    for turn in range(repeats + 1):
        for name, run in passes.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            if turn:
                spent[name]["wall"].append(time.perf_counter() - wall)
                spent[name]["cpu"].append(time.process_time() - cpu)
    return {
        name: {clock: statistics.median(runs) for clock, runs in clocks.items()}
        for name, clocks in spent.items()
    }
