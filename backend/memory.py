"""How much memory a process has needed."""

import sys
from pathlib import Path

import psutil

_STATUS = Path("/proc/self/status")


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
