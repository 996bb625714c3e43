"""What is measured, and how often."""

import sys
import types
from typing import Any

import psutil
import pytest
import torch

from backend.vitals import Vitals

CPU = torch.device("cpu")


def test_it_is_measured_once_a_second() -> None:
    clock = iter([5.0, 5.5, 5.99, 6.0, 6.1, 9.0])
    vitals = Vitals(CPU, lambda: next(clock))
    assert [bool(vitals.due()) for _ in range(6)] == [True, False, False, True, False, True]


def test_memory_is_that_of_the_process() -> None:
    found = Vitals(CPU).due()
    assert set(found) == {"memory_mib"}
    assert found["memory_mib"] == pytest.approx(psutil.Process().memory_info().rss / 2**20, rel=0.2)


class NVMLError(Exception):
    pass


def fake_nvml(**changed: Any) -> types.ModuleType:
    module = types.ModuleType("pynvml")
    parts: dict[str, Any] = {
        "NVMLError": NVMLError,
        "NVML_TEMPERATURE_GPU": 0,
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByUUID": lambda name: name,
        "nvmlDeviceGetMemoryInfo": lambda handle: types.SimpleNamespace(used=3 * 2**30),
        "nvmlDeviceGetUtilizationRates": lambda handle: types.SimpleNamespace(gpu=87),
        "nvmlDeviceGetTemperature": lambda handle, sensor: 61,
    }
    for name, part in (parts | changed).items():
        setattr(module, name, part)
    return module


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Any:
    """cuda(**changed): vitals of a CUDA device whose NVML is a stand-in, changed where it is said."""
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: types.SimpleNamespace(uuid="1234"))

    def make(**changed: Any) -> Vitals:
        monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(**changed))
        return Vitals(torch.device("cuda"))

    return make


def test_a_gpu_is_asked_by_its_name_for_life(cuda: Any) -> None:
    asked: list[bytes] = []
    found = cuda(nvmlDeviceGetHandleByUUID=asked.append).due()
    assert asked == [b"GPU-1234"]
    assert {k: v for k, v in found.items() if k.startswith("gpu")} == {
        "gpu_memory_mib": 3072.0,
        "gpu_utilisation": 87.0,
        "gpu_temperature": 61.0,
    }


def fail(*_: object) -> None:
    raise NVMLError


def test_a_figure_that_the_gpu_does_not_give_is_left_out(cuda: Any) -> None:
    found = cuda(nvmlDeviceGetTemperature=fail).due()
    assert set(found) == {"memory_mib", "gpu_memory_mib", "gpu_utilisation"}


@pytest.mark.parametrize("part", ["nvmlInit", "nvmlDeviceGetHandleByUUID"])
def test_without_a_driver_only_memory_is_measured(cuda: Any, part: str) -> None:
    assert set(cuda(**{part: fail}).due()) == {"memory_mib"}


def test_without_the_library_only_memory_is_measured(cuda: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cuda()
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert set(Vitals(torch.device("cuda")).due()) == {"memory_mib"}
