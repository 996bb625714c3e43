import subprocess
import sys

import pytest

from backend.contract.catalogue import (
    BrokenMethod,
    Catalogue,
    Device,
    MethodCard,
    TeacherCard,
    default_key,
    load_cached,
    source_key,
    store_cached,
)

CATALOGUE = Catalogue(
    version="1.0",
    methods=(
        MethodCard(
            key="dmd2",
            title="Distribution matching",
            paper="arXiv:2405.14867",
            summary="Matches distributions.",
            settings={"properties": {"gan_weight": {"type": "number"}}},
            defaults={"gan_weight": 1e-3},
            needs=("real data",),
            cost_words="three evaluations of the teacher",
            cost=5.5,
        ),
    ),
    broken_methods=(BrokenMethod(key="mine", error="SyntaxError: line 3"),),
    teachers=(TeacherCard(key="digits", title="Digits", summary="", source="bundled", shape=(1, 16, 16)),),
    devices=(Device(key="cpu", kind="cpu", name="A processor", memory=2**34),),
)


def test_a_catalogue_is_data():
    assert Catalogue.from_json(CATALOGUE.to_json()) == CATALOGUE
    assert CATALOGUE.method("dmd2") == CATALOGUE.methods[0]
    assert CATALOGUE.teacher("nobody") is None


def test_a_cached_catalogue_counts_while_its_key_does(tmp_path):
    assert load_cached("a", tmp_path) is None
    store_cached("a", CATALOGUE, tmp_path)
    assert load_cached("a", tmp_path) == CATALOGUE
    assert load_cached("b", tmp_path) is None
    assert [path.name for path in tmp_path.iterdir()] == ["catalogue.json"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"key": "a", "catalogue": {"form": 9}}', '{"key": "a"}', "\x00"])
def test_a_cache_that_cannot_be_used_is_no_cache(tmp_path, content):
    (tmp_path / "catalogue.json").write_text(content)
    assert load_cached("a", tmp_path) is None
    store_cached("a", CATALOGUE, tmp_path)
    assert load_cached("a", tmp_path) == CATALOGUE


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").touch()
    store_cached("a", CATALOGUE, tmp_path / "file")
    assert load_cached("a", tmp_path / "file") is None


def test_the_key_changes_with_version_and_files(tmp_path):
    (tmp_path / "dmd2.py").write_text("a")
    keys = [source_key("1", [tmp_path]), source_key("2", [tmp_path])]
    (tmp_path / "dmd2.py").write_text("longer")
    keys.append(source_key("1", [tmp_path]))
    (tmp_path / "new.py").touch()
    keys.append(source_key("1", [tmp_path]))
    assert len(set(keys)) == 4
    assert default_key() == default_key()


def test_the_contract_loads_neither_torch_nor_qt():
    code = """
import pathlib, sys, importlib, backend.contract
for file in pathlib.Path(backend.contract.__file__).parent.glob("*.py"):
    importlib.import_module(f"backend.contract.{file.stem}")
print(sorted({"torch", "diffusers", "transformers", "accelerate", "PySide6"} & set(sys.modules)))
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"
