from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from backend.datasets import DataError, ImageSet, latents, load_data
from backend.datasets.latents import few_latents, kept_latents, source_of
from backend.networks.codec import Autoencoder, Identity

SHAPE = (3, 8, 8)
CPU = torch.device("cpu")


class Halves(nn.Module):
    """An autoencoder whose latent is the mean of four pixels, through a weight. calls: batches that it encoded."""

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight), requires_grad=False)
        self.calls: list[int] = []
        self.most = 10**9

    def encode(self, pixels: Tensor) -> object:
        self.calls.append(len(pixels))
        if len(self.calls) > self.most:
            raise KeyboardInterrupt
        return type("Made", (), {"latent": functional.avg_pool2d(pixels, 2) * self.weight})


def codec(weight: float = 1.0) -> Autoencoder:
    return Autoencoder(Halves(weight), 0.5, 0.25, 2)


def calls(made: Autoencoder) -> list[int]:
    assert isinstance(made.module, Halves)
    return made.module.calls


@pytest.fixture(autouse=True)
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DISTILL_STUDIO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(latents, "PART", 5)
    monkeypatch.setattr(latents, "PIXELS", 2 * 8 * 8)
    return tmp_path / "cache"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Eleven pictures of two classes, with a broken one among them and one twice, in different parts."""
    for value in range(11):
        file = tmp_path / "pictures" / ("cat" if value < 6 else "dog") / f"{value:02d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (value, 2 * value, 255 - value)).save(file)
    (tmp_path / "pictures" / "cat" / "00b.png").write_bytes(b"broken")
    Image.new("RGB", (16, 16), (1, 2, 254)).save(tmp_path / "pictures" / "dog" / "11.png")
    return tmp_path / "pictures"


def encoded(where: Path, made: Autoencoder, done: list[tuple[int, int]] | None = None) -> ImageSet:
    with source_of(str(where), SHAPE, captioned=False) as source:
        return kept_latents(source, made, CPU, lambda at, of: (done if done is not None else []).append((at, of)))


def test_latents_are_what_the_codec_makes_of_the_pictures(pictures: Path) -> None:
    whole = load_data(pictures, SHAPE)
    done: list[tuple[int, int]] = []
    found = encoded(pictures, codec(), done)
    expected = (functional.avg_pool2d(whole.images, 2) - 0.25) * 0.5
    assert torch.equal(found.stored, expected)
    assert found.encoded
    assert torch.equal(found.labels, whole.labels)
    assert (found.names, found.digest) == (whole.names, whole.digest)
    assert found.skipped == whole.skipped == {"broken": ("cat/00b.png",), "duplicates": ("dog/11.png",)}
    assert done == [(5, 13), (10, 13), (13, 13)]
    samples, labels = found.draw(4, torch.Generator().manual_seed(0))
    assert samples.shape == (4, 3, 4, 4)
    assert labels.shape == (4,)


def test_a_second_run_finds_them(pictures: Path, cached: Path) -> None:
    first, second = codec(), codec()
    before, after = encoded(pictures, first), encoded(pictures, second)
    assert calls(first)
    assert not calls(second)
    assert torch.equal(before.stored, after.stored)
    assert (before.digest, before.skipped) == (after.digest, after.skipped)
    assert [file.suffix for file in (cached / "latents").iterdir()] == [".safetensors"]


def test_other_weights_or_other_pictures_are_encoded_anew(pictures: Path) -> None:
    plain = encoded(pictures, codec())
    other = codec(weight=2.0)
    assert not torch.equal(encoded(pictures, other).stored, plain.stored)
    assert calls(other)
    (pictures / "cat" / "00.png").unlink()
    again = codec()
    assert len(encoded(pictures, again)) == len(plain) - 1
    assert calls(again)


@pytest.mark.parametrize("most", range(6))
def test_a_killed_process_goes_on_where_it_was(pictures: Path, most: int, cached: Path) -> None:
    whole = encoded(pictures, codec())
    for file in (cached / "latents").iterdir():
        file.unlink()
    killed = codec()
    assert isinstance(killed.module, Halves)
    killed.module.most = most
    with pytest.raises(KeyboardInterrupt):
        encoded(pictures, killed)
    assert not list((cached / "latents").glob("*.safetensors"))
    rest = codec()
    resumed = encoded(pictures, rest)
    assert torch.equal(resumed.stored, whole.stored)
    assert (resumed.digest, resumed.skipped) == (whole.digest, whole.skipped)
    # Of parts of 4, 5 and 2 pictures, in batches of two, those that were finished are not done again.
    finished = sum(most >= batches for batches in (2, 5))
    assert sum(calls(rest)) == 11 - sum((4, 5)[:finished])
    assert [file.suffix for file in (cached / "latents").iterdir()] == [".safetensors"]


def test_what_the_disk_damaged_is_made_again(pictures: Path, cached: Path) -> None:
    whole = encoded(pictures, codec())
    (file,) = (cached / "latents").iterdir()
    content = bytearray(file.read_bytes())
    for damaged in (bytes(content[: len(content) // 2]), bytes([*content[:-1], content[-1] ^ 1]), b""):
        file.write_bytes(damaged)
        assert torch.equal(encoded(pictures, codec()).stored, whole.stored)


def test_a_cache_that_cannot_be_written_is_named(pictures: Path, cached: Path) -> None:
    cached.write_text("a file where the folder should be")
    with pytest.raises(DataError, match=r"cannot be kept in .*cache.* another folder in DISTILL_STUDIO_CACHE"):
        encoded(pictures, codec())


def test_no_usable_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"No picture in .* can be used \(1 broken\)"):
        encoded(tmp_path / "bad", codec())
    with (
        source_of(str(tmp_path / "bad"), SHAPE, captioned=False) as source,
        pytest.raises(DataError, match=r"No picture in .* can be used"),
    ):
        few_latents(source, codec(), CPU, 2)


def test_a_few_are_made_without_the_rest(pictures: Path) -> None:
    made = codec()
    with source_of(str(pictures), SHAPE, captioned=False) as source:
        few = few_latents(source, made, CPU, 3)
    assert calls(made) == [2, 1]
    assert torch.equal(few.stored, encoded(pictures, codec()).stored[:3])
    assert few.names == ("cat", "dog")
    assert few.encoded


def test_what_a_few_leave_out_is_counted_of_all_files_or_of_the_first_many(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pictures / "notes.gif").write_bytes(b"no picture either")

    def words() -> str:
        with source_of(str(pictures), SHAPE, captioned=False) as source:
            return few_latents(source, codec(), CPU, 3).skipped_in_words()

    assert words() == encoded(pictures, codec()).skipped_in_words()
    monkeypatch.setattr(latents, "LOOKED_AT", 6)
    # The first six hold the broken one, and not yet what is there twice; what a name alone tells is known of all.
    assert "1 broken" in words()
    assert "duplicates" not in words()
    assert words().endswith("(and the run looks at 7 more)")


def test_bundled_pictures_are_encoded_too() -> None:
    digits = load_data("digits-held-out", (1, 16, 16))
    with source_of("digits-held-out", (1, 16, 16), captioned=False) as source:
        found = kept_latents(source, codec(), CPU)
    assert torch.equal(found.labels, digits.labels)
    assert torch.equal(found.stored, (functional.avg_pool2d(digits.images, 2) - 0.25) * 0.5)
    with (
        pytest.raises(DataError, match="The digits are 1x16x16, but the teacher makes 3x8x8"),
        source_of("digits", SHAPE, captioned=False),
    ):
        pass


def test_a_codec_with_weights_leaves_every_device_but_the_processor() -> None:
    moved = []

    class Counted(torch.nn.Module):
        def to(self, where: str) -> "Counted":  # type: ignore[override]
            moved.append(where)
            return self

    codec = Autoencoder(Counted(), 1.0, 0.0, 8)
    latents.leave(codec, torch.device("cpu"))
    latents.leave(Identity(), torch.device("cuda"))
    assert moved == []
    latents.leave(codec, torch.device("cuda"))
    assert moved == ["cpu"]
