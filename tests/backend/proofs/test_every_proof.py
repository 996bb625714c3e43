"""What holds for every proof: with the key term the method reaches its figure, and without it the stub does not."""

import ast
from pathlib import Path

import pytest
import torch

from backend import methods
from backend.contract.recipe import Pairs
from backend.methods import method_names
from backend.proofs import Proof, begin, benches, code_of, figures, load_proof, proof_names, prove, sources_of
from backend.proofs.benches import BENCHES
from backend.teachers.mixture_2d import fit
from backend.train import train

every_proof = pytest.mark.parametrize("name", proof_names())


@pytest.fixture(autouse=True)
def _quick_fit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A short proof needs no fitted network; a long one does."""
    if "long" not in request.keywords:
        monkeypatch.setattr("backend.proofs.BENCHES", benches._all())
        monkeypatch.setattr("backend.proofs.benches.fit", lambda exact, **k: fit(exact, seed=0, steps=1, width=32))
        monkeypatch.setattr("backend.proofs.benches.PAIRS", Pairs(count=64, steps=2))


@every_proof
def test_it_is_of_a_method_and_a_bench(name: str) -> None:
    proof = load_proof(name)
    assert name in method_names()
    assert (proof.bench in BENCHES) != (proof.own is not None)
    assert proof.claim.endswith(".")
    assert proof.without is not None or proof.change is not None


@every_proof
@pytest.mark.parametrize("key_term", [True, False])
def test_both_forms_run(name: str, key_term: bool) -> None:
    proof = load_proof(name)
    _, run = begin(name, proof, key_term, steps=2, batch_size=8)
    losses = [progress.metrics for progress in train(run)]
    assert len(losses) == 2


@every_proof
def test_without_its_key_term_the_student_learns_otherwise(name: str) -> None:
    """From the first steps on: a stub in which nothing is missing would prove nothing."""

    def student(key_term: bool) -> torch.Tensor:
        _, run = begin(name, load_proof(name), key_term, steps=3, batch_size=8)
        for _ in train(run):
            pass
        return torch.cat([p.detach().flatten() for p in run.student.parameters()])

    assert not torch.equal(student(True), student(False))


@pytest.mark.long
@every_proof
def test_with_its_key_term_it_holds_and_without_it_does_not(name: str) -> None:
    proof = load_proof(name)
    value = figures(name, key_term=True)[proof.figure]
    assert proof.holds(value) != bool(proof.missed)  # what is said to be missed must be said no longer once it holds
    assert proof.fails(figures(name, key_term=False).get(proof.figure, float("nan")))


def test_a_figure_is_judged_by_its_direction_and_one_that_is_no_number_fails() -> None:
    less, more = Proof("", "ring", "f", good=0.1, bad=0.5), Proof("", "ring", "f", good=0.9, more=True)
    assert less.holds(0.1)
    assert not less.holds(0.2)
    assert not less.fails(0.4)
    assert less.fails(0.6)
    assert less.fails(float("nan"))
    assert not less.holds(float("nan"))
    assert more.holds(0.95)
    assert more.fails(0.85)


def test_a_finished_cell_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counted(name: str, key_term: bool, seed: int) -> dict[str, float]:
        made.append(key_term)
        return {"weights_tv": 0.1 if key_term else 0.9}

    monkeypatch.setattr("backend.proofs.figures", counted)
    first, second = prove("dmd2", tmp_path), prove("dmd2", tmp_path)
    assert first == second
    assert first["ok"]
    assert made == [True, False]


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("gndm", "methods/dmd2.py"),
        ("msd", "methods/dmd2.py"),  # imported whole
        ("snoopi", "methods/swiftbrush.py"),  # a function and a number of it
        ("adapter_guidance", "methods/guidance.py"),
        ("dmd2", "methods/__init__.py"),
        ("dmd2", "proofs/__init__.py"),
        ("dmd2", "evaluate.py"),
        ("meanflow", "flow.py"),
        ("dmd2", "teachers/mixture_2d.py"),
    ],
)
def test_figures_depend_on_all_that_makes_and_judges_them(
    name: str, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, other, read = code_of(name), code_of("boot"), Path.read_bytes

    def changed(file: Path) -> bytes:
        return read(file) + (b"#" if file.as_posix().endswith(f"backend/{part}") else b"")

    monkeypatch.setattr(Path, "read_bytes", changed)
    assert code_of(name) != before
    is_own = part.startswith("methods/") and not part.endswith("__init__.py")
    assert (code_of("boot") == other) == is_own


def test_every_module_that_methods_share_is_among_what_figures_depend_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of those at the package's top; what a recipe and a teacher are is no method's."""
    seen, read = set[Path](), Path.read_bytes

    def read_and_seen(file: Path) -> bytes:
        seen.add(file)
        return read(file)

    monkeypatch.setattr(Path, "read_bytes", read_and_seen)
    for name in method_names():
        code_of(name)
    backend = Path(benches.__file__).parent.parent
    shared = {backend / f"{module}.py" for file in seen for module in _imported(file) if module not in NOT_SHARED}
    assert {file for file in shared if file.is_file()} <= seen


NOT_SHARED = ("cache", "disk", "proofs", "resources")
"""Where files lie, not what is in them."""


def _imported(file: Path) -> list[str]:
    """The modules at the top of the package that a file of it imports."""
    found = list[str]()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "backend":
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("backend."):
            found.append(str(node.module).split(".")[1])
    return found


def test_what_a_method_imports_of_others_is_found_within_functions_and_in_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "first.py").write_text("def step():\n    from backend.methods.second import RATE\n")
    (tmp_path / "second.py").write_text("from backend.methods import dmd2, Batch\nRATE = 1\n")
    monkeypatch.setattr(methods, "__path__", [*methods.__path__, str(tmp_path)])
    assert {file.name for file in sources_of("first")} == {"dmd2.py", "first.py", "second.py"}
