"""The cores that this process may use: those of its machine, affinity mask or container, whichever are fewest."""

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def usable_cores(cgroups: Path = CGROUPS) -> int:
    """Return the number of cores; a container's share of processor time counts as so many, rounded up."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # elsewhere than on Linux
        cores = os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _quota(cgroups))))


def _quota(cgroups: Path) -> float:
    """Return the share of processor time, in cores, of version 2 or 1 of control groups; infinity without a limit."""
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = " ".join((cgroups / file).read_text() for file in files).split()
            return int(quota) / int(period) if int(quota) > 0 else math.inf
        except (OSError, ValueError):  # no such file, or "max"
            continue
    return math.inf
