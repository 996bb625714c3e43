"""How much memory a process has needed, and what it does with memory that it no longer needs."""

import ctypes
import sys
from pathlib import Path

import psutil

_STATUS = Path("/proc/self/status")

# Of <malloc.h>: by default what is as large as a feature map goes back to the system when it is freed.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def keep_freed() -> None:
    """Have glibc keep what this process frees for its next tensors; elsewhere nothing.

    Taking memory anew from the system, page by page, is a seventh of a training step and a quarter of an evaluation.
    """
    if sys.platform != "linux":
        return
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)  # not every Linux has glibc
    if set_option is not None:
        set_option(_MMAP_THRESHOLD, 2**30)
        set_option(_TRIM_THRESHOLD, 2**31 - 1)


def peak_bytes() -> int:
    """The most resident memory this process has had so far."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    if _STATUS.is_file():  # rather than ru_maxrss, which a process on Linux has from whoever started it
        (peak,) = (line.split()[1] for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return 1024 * int(peak)
    import resource  # noqa: PLC0415  (there is none on Windows)

    peak_kept = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak_kept if sys.platform == "darwin" else 1024 * peak_kept
