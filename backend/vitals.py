"""How the machine bears a run: memory of the process, and memory, load and temperature of its GPU.

Read about once a second and recorded with the step it was read after, so that no curve's axis notices. A figure that
the machine does not give is left out.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import psutil
import torch

from backend.contract.checked import Suggestion

SECONDS = 1.0
MIB = 2**20


class Vitals:
    """Ask `due` after every step; it costs a clock's reading, and a fraction of a millisecond once a second."""

    def __init__(self, device: torch.device, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._next = clock, -float("inf")
        self._process = psutil.Process()
        self._gpu = _Gpu.of(device)

    def due(self) -> Mapping[str, float]:
        """What is measured now, nothing where it was measured less than a second ago."""
        now = self._clock()
        if now < self._next:
            return {}
        self._next = now + SECONDS
        return {"memory_mib": self._process.memory_info().rss / MIB, **(self._gpu.read() if self._gpu else {})}


class _Gpu:
    """A CUDA device, asked through NVML, which counts what all processes use of it."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle

    @classmethod
    def of(cls, device: torch.device) -> "_Gpu | None":
        """The device's, None where it is no CUDA device or NVML does not know it."""
        if device.type != "cuda":
            return None
        try:
            import pynvml  # noqa: PLC0415  (needed on such a device alone)

            pynvml.nvmlInit()
            # By its name for life: NVML numbers devices by their slots, and CUDA as CUDA_VISIBLE_DEVICES says.
            name = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
            return cls(pynvml, pynvml.nvmlDeviceGetHandleByUUID(name.encode()))
        except Exception:  # no driver's library, another version of it, a slice of a device: the run goes on without
            return None

    def read(self) -> dict[str, float]:
        nvml, found = self._nvml, {}
        with suppress(nvml.NVMLError):
            found["gpu_memory_mib"] = nvml.nvmlDeviceGetMemoryInfo(self._handle).used / MIB
        with suppress(nvml.NVMLError):
            found["gpu_utilisation"] = float(nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu)
        with suppress(nvml.NVMLError):
            found["gpu_temperature"] = float(nvml.nvmlDeviceGetTemperature(self._handle, nvml.NVML_TEMPERATURE_GPU))
        return found


def out_of_memory(device: torch.device, helps: Sequence[Suggestion]) -> str:
    """What a person is told when the device had no memory left: what it has, what this process takes, what helps.

    helps: what can still be changed, the most first (`savings.less_memory`).
    """
    words = "; ".join(one.words[0].lower() + one.words[1:] for one in helps)
    mend = f"what would help, the most first: {words}." if helps else "choose a device that has more."
    return f"The device is out of memory ({_taken(device)}); {mend}"


def _taken(device: torch.device) -> str:
    if device.type == "cuda" and torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info(device)
        own = torch.cuda.memory_reserved(device)
        others = max(0, total - free - own)
        return f"the GPU has {_words(total)}, of which this run holds {_words(own)} and others {_words(others)}"
    machine, own = psutil.virtual_memory(), psutil.Process().memory_info().rss
    swap = psutil.swap_memory().free
    return (
        f"the machine has {_words(machine.total)}, of which this run holds {_words(own)} and "
        f"{_words(machine.available)} are free, besides {_words(swap)} of swap space"
    )


def _words(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
