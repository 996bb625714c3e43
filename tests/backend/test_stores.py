"""Pair stores: made once, found again, mended where damaged, and never trained on whole."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from backend import cache, stores
from backend.contract.recipe import Pairs
from backend.disk import DiskError
from backend.networks import Condition, Guided
from backend.noise import FlowMatching
from backend.stores import PairStore, Source, kept, make
from backend.teachers import Teacher
from backend.teachers.mixture_2d import ClosedFormDenoiser, Mixture

CPU = torch.device("cpu")
MEANS = torch.tensor([[1.0, 0.0], [-1.0, 0.5], [0.0, -1.0]], dtype=torch.float64)
THREE = Mixture(MEANS, torch.full((3,), 1 / 3, dtype=torch.float64), 0.25)
ASKED = Pairs(count=20, steps=3)


@pytest.fixture
def source() -> Source:
    net = ClosedFormDenoiser(THREE, FlowMatching(), "flow", conditional=True)
    teacher = Teacher("three", "Three", net.frozen(), net.copy, THREE.digest, labels=("a", "b", "c"), draws=THREE)
    return Source(net, teacher, teacher.digest, 1.0)


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "PART", 8)


@pytest.fixture
def made_parts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Fills with the numbers of the parts that are made from now on."""
    numbers: list[int] = []
    make_part = stores.make_part

    def counted(source: Source, asked: Pairs, part: int, device: torch.device) -> dict[str, Tensor]:
        numbers.append(part)
        return make_part(source, asked, part, device)

    monkeypatch.setattr(stores, "make_part", counted)
    return numbers


def silent(made: int, of: int) -> None:
    pass


def same(one: PairStore, other: PairStore) -> bool:
    tensors = [(one.noise, other.noise), (one.samples, other.samples), (one.cond.labels, other.cond.labels)]
    return one.digest == other.digest and all(a is not None and b is not None and torch.equal(a, b) for a, b in tensors)


def files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.safetensors"))


def test_each_sample_is_where_the_flow_leads_from_its_noise_under_its_condition(source: Source) -> None:
    store = make(source, Pairs(count=30, steps=200), CPU)
    labels = store.cond.labels
    assert labels is not None
    # The flow of one Gaussian only moves and shrinks: noise z, of a class of mean m, ends at m + std z.
    assert torch.allclose(store.samples.double(), MEANS[labels] + 0.25 * store.noise.double(), atol=2e-3)
    assert set(labels.tolist()) == {0, 1, 2}


def test_the_kept_pairs_are_the_ones_made_in_memory_and_are_found_again(
    source: Source, tmp_path: Path, made_parts: list[int]
) -> None:
    whole = make(source, ASKED, CPU)
    made_parts.clear()
    reports: list[tuple[int, int]] = []
    first = kept(source, ASKED, tmp_path, CPU, lambda made, of: reports.append((made, of)))
    again = kept(source, ASKED, tmp_path, CPU, silent)
    assert same(whole, first)
    assert same(whole, again)
    assert made_parts == [0, 1, 2]
    assert reports == [(8, 20), (16, 20), (20, 20)]
    assert len(whole.noise) == 20


def test_a_killed_run_goes_on_where_it_was(source: Source, tmp_path: Path, made_parts: list[int]) -> None:
    def killed(made: int, of: int) -> None:
        if made == 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept(source, ASKED, tmp_path, CPU, killed)
    assert made_parts == [0, 1]
    store = kept(source, ASKED, tmp_path, CPU, silent)
    assert made_parts == [0, 1, 2]
    assert same(store, make(source, ASKED, CPU))


def test_what_a_kill_left_half_written_is_made_anew(
    source: Source, tmp_path: Path, made_parts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(tensors: dict[str, Tensor], file: Path, metadata: dict[str, str]) -> None:
        save_file(tensors, file, metadata)
        file.write_bytes(file.read_bytes()[:100])
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(cache, "save_file", killed)
        with pytest.raises(KeyboardInterrupt):
            kept(source, ASKED, tmp_path, CPU, silent)
    assert files(tmp_path) == []  # under its name a part is complete, or it is not there
    store = kept(source, ASKED, tmp_path, CPU, silent)
    assert made_parts == [0, 0, 1, 2]
    assert [file.name for file in sorted(tmp_path.rglob("*")) if file.is_file()] == [
        f"0000{part}.safetensors" for part in range(3)
    ]
    assert same(store, make(source, ASKED, CPU))


def test_what_a_process_that_is_gone_left_of_a_part_is_deleted_and_what_another_writes_stays(
    source: Source, tmp_path: Path
) -> None:
    place = tmp_path / f"pairs-{source.key(ASKED)[:16]}"
    place.mkdir()
    gone, living = (place / f".00001.safetensors.{pid}-0123abcd" for pid in (2**31 - 1, os.getpid()))
    for file in (gone, living):
        file.write_bytes(b"half")
    kept(source, ASKED, tmp_path, CPU, silent)
    assert (gone.exists(), living.exists()) == (False, True)


def test_a_disk_that_fills_up_is_named_with_the_room_that_is_needed(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def full(tensors: dict[str, Tensor], file: Path, metadata: dict[str, str]) -> None:
        calls.append(file)
        if len(calls) == 2:
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        save_file(tensors, file, metadata)

    monkeypatch.setattr(stores, "PART", 2**16)
    monkeypatch.setattr(cache, "save_file", full)
    many = Pairs(count=5 * 2**16, steps=2)  # two numbers of noise, two of the sample, one label: 24 bytes each
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=3 * 2**20))
        with pytest.raises(DiskError) as refused:
            kept(source, many, tmp_path, CPU, silent)
    assert str(refused.value) == (
        f"The disk that holds {tmp_path / f'pairs-{source.key(many)[:16]}'} is full: what is missing of the "
        "noise/sample pairs needs 6 MiB and 3 MiB are free; free some space and resume the run."
    )
    assert len(files(tmp_path)) == 1  # and goes on from there


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def empty(content: bytes) -> bytes:
    return b""


def rubbish(content: bytes) -> bytes:
    return bytes(len(content))


def flipped(content: bytes) -> bytes:
    return content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]


@pytest.mark.parametrize("damage", [cut, empty, rubbish, flipped])
def test_a_damaged_part_is_made_anew_and_no_other(
    damage: Callable[[bytes], bytes], source: Source, tmp_path: Path, made_parts: list[int]
) -> None:
    whole = kept(source, ASKED, tmp_path, CPU, silent)
    file = files(tmp_path)[1]
    file.write_bytes(damage(file.read_bytes()))
    made_parts.clear()
    assert same(kept(source, ASKED, tmp_path, CPU, silent), whole)
    assert made_parts == [1]
    assert same(kept(source, ASKED, tmp_path, CPU, silent), whole)
    assert made_parts == [1]


def test_the_key_names_all_that_the_pairs_depend_on(source: Source) -> None:
    asked = [ASKED, *(ASKED.model_copy(update=change) for change in ({"count": 21}, {"steps": 4}, {"seed": 1}))]
    sources = [
        source,
        replace(source, digest="other"),
        replace(source, first_level=0.9),
        replace(source, guidance_scale=2.0),
        replace(source, teacher=replace(source.teacher, labels=("b", "a", "c"))),
        replace(source, teacher=replace(source.teacher, prompts=("a cat", "a dog"))),
    ]
    keys = [one.key(pairs) for one in sources for pairs in asked]
    assert len(set(keys)) == len(keys) == 24
    assert source.key(Pairs(count=20, steps=3)) == source.key(ASKED)


def test_stores_of_different_keys_lie_side_by_side(source: Source, tmp_path: Path) -> None:
    guided = replace(source, net=Guided(source.teacher.denoiser, 3.0), guidance_scale=3.0)
    plain = kept(source, ASKED, tmp_path, CPU, silent)
    other = kept(guided, ASKED, tmp_path, CPU, silent)
    assert torch.equal(plain.noise, other.noise)
    assert not torch.allclose(plain.samples, other.samples, atol=0.05)
    assert same(kept(source, ASKED, tmp_path, CPU, silent), plain)
    assert len(list(tmp_path.iterdir())) == 2


def numbered(n: int) -> PairStore:
    rows = torch.arange(n).float()[:, None]
    return PairStore(rows, -rows, Condition.of_labels(torch.arange(n)), "")


def test_held_out_pairs_are_never_drawn_and_all_others_are() -> None:
    store = numbered(200)  # the last 4 of them are held out
    noise, samples, cond = store.draw(20_000, torch.Generator().manual_seed(0), CPU)
    assert set(noise.flatten().tolist()) == set(range(196))
    assert torch.equal(samples, -noise)
    assert torch.equal(cond.part("labels"), noise.flatten().long())
    held, _, held_cond = store.held_out()
    assert held.flatten().tolist() == held_cond.part("labels").tolist() == [196, 197, 198, 199]


def test_held_out_pairs_come_lot_after_lot_and_all_of_them() -> None:
    store = numbered(200)
    lots = [store.held_out_lot(3, lot, CPU) for lot in range(3)]
    assert [lot[0].flatten().tolist() for lot in lots if lot] == [[196, 197, 198], [199, 196, 197], [198, 199, 196]]
    assert numbered(49).held_out_lot(3, 0, CPU) is None
    assert len(numbered(49).held_out()[0]) == 0


def test_drawing_depends_on_the_generator_alone() -> None:
    store = numbered(200)
    once, again = (store.draw(10, torch.Generator().manual_seed(3), CPU)[0] for _ in range(2))
    assert torch.equal(once, again)
