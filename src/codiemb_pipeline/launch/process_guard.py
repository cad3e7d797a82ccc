"""A process that does not outlive its parent, by Linux's parent-death signal.

SIGTERM or SIGKILL of dvc, kedro or torchrun alone would leave the processes below running, and the next run would
start a second set on the same files (feasibility, 6).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Have the kernel send this process signal ``number`` when its parent ends; elsewhere than on Linux do nothing."""
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:  # it ended in between
        os.kill(os.getpid(), number)
