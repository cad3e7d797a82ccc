"""No process outlives what it works for: those below a process that is killed end with it.

SIGTERM or SIGKILL of dvc, kedro or torchrun alone would leave the processes below running, and the next run would start
a second set on the same files (feasibility, 6).
"""

import ctypes
import os
import signal
import sys

STARTED_BY = "CODIEMB_STARTED_BY"
"""Variable with the process id of dvc, which dvc.yaml sets. A run that a person starts may outlive the shell."""
PR_SET_PDEATHSIG = 1

started_by_dvc = STARTED_BY in os.environ


def die_with_parent(number: int = signal.SIGKILL, parent: int | None = None) -> None:
    """Have the kernel send this process signal ``number`` when its parent ends; elsewhere than on Linux do nothing.

    The kernel does so when the *thread* ends that started this process. ``parent`` is who started it, where that is
    known: it may have ended before this call.
    """
    if not sys.platform.startswith("linux"):
        return
    parent = parent or os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), number)


def die_with_dvc() -> None:
    """End with dvc, if that is who started this process; called before anything that takes long is imported."""
    if (parent := os.environ.pop(STARTED_BY, "")).isdigit():
        die_with_parent(parent=int(parent))
