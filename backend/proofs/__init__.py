"""Proofs: for each method, a figure that is known without it, and what becomes of it without the method's key term.

One file per method, of the method's name; its PROOF is what `distill bench methods` prints and `pytest -m long` checks.
A proof trains on a bench whose every answer is known in closed form. Importing has no effect.
"""

import ast
import hashlib
import importlib
import inspect
import json
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from backend import methods
from backend.contract.recipe import Training
from backend.methods import Batch, Update, load_method, method_names
from backend.proofs.benches import BENCHES, Bench
from backend.train import NotFiniteError, Run, start, train

Step = Callable[[Any, Batch, Any], Iterator[Update]]


@dataclass(frozen=True)
class Proof:
    """claim: what the key term does, in one sentence. without: the method's step with that term removed.

    bench: a name of `benches.BENCHES`, or of one that no other proof has and that `own` makes. figure: one of its
    figures, of which less is better, or where `more` is set more. good: what the method must reach. bad: what its stub
    must miss, and by default the same as `good`.
    settings, training: what differs from the method's own. expected: the specification's figure, for the table.
    change: where the key term is not in the step, what makes the run a stub.
    missed: of a method that does not reach its figure yet, what it does reach; the table and its card say so.
    """

    claim: str
    bench: str
    figure: str
    good: float
    without: Step | None = None
    bad: float | None = None
    more: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    expected: str = ""
    change: Callable[[Run], None] | None = None
    own: Callable[[], Bench] | None = None
    missed: str = ""

    def holds(self, value: float) -> bool:
        """Whether the method's figure is good enough."""
        return value >= self.good if self.more else value <= self.good

    def fails(self, value: float) -> bool:
        """Whether the stub's figure is bad enough; a loss that is not finite counts as that."""
        edge = self.good if self.bad is None else self.bad
        return not (value >= edge if self.more else value <= edge)


def stop_fake_score(run: Run) -> None:
    """A stub of several methods: the fake score network's updates are computed and change nothing."""
    still = torch.optim.SGD(run.nets.fake_score.parameters(), lr=0.0)
    run.optimizers = {**run.optimizers, "fake_score": still}


def proof_names() -> list[str]:
    """The methods that have a proof."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "benches")


def load_proof(name: str) -> Proof:
    """The proof of that method."""
    proof = importlib.import_module(f"{__name__}.{name}").PROOF
    if not isinstance(proof, Proof):
        raise TypeError(f"PROOF of {name} is no Proof.")
    return proof


def begin(name: str, proof: Proof, key_term: bool, seed: int = 0, **training: Any) -> tuple[Bench, Run]:
    """The bench, and the proof's run on it before its first step, with or without the key term."""
    bench, method = (proof.own or BENCHES[proof.bench])(), load_method(name)
    if not key_term and proof.without is not None:
        method = replace(method, step=proof.without)
    settings = method.settings.model_validate(dict(proof.settings))
    asked = Training.model_validate({"ema_decay": 0.99, **proof.training, "seed": seed, **training})
    pairs = bench.pairs(method, settings) if "pairs" in method.needs(settings) else None
    run = start(method, settings, asked, bench.teacher, bench.teacher.draws, torch.device("cpu"), pairs)
    if not key_term and proof.change is not None:
        proof.change(run)
    return bench, run


def figures(name: str, key_term: bool, seed: int = 0, **training: Any) -> dict[str, float]:
    """Every figure of the bench after the proof's training; all are not-a-number where a loss was not finite."""
    proof = load_proof(name)
    bench, run = begin(name, proof, key_term, seed, **training)
    try:
        for _ in train(run):
            pass
    except NotFiniteError:
        return {proof.figure: float("nan")}
    told = run.sampler.guidance
    scale: float = getattr(run.settings, "guidance_scale", 1.0) if told is None else told
    return bench.figures(run.exported, run.sampler, scale)


def prove(name: str, kept: Path, seed: int = 0) -> dict[str, Any]:
    """The row of the table: both figures. Cells that are in the folder `kept` and of this code are not made again."""
    proof = load_proof(name)
    cells = {key_term: _cell(name, key_term, seed, kept) for key_term in (True, False)}
    whole, stub = (cells[key_term].get(proof.figure, float("nan")) for key_term in (True, False))
    return {
        "method": name,
        "claim": proof.claim,
        "bench": proof.bench,
        "figure": proof.figure,
        "with": whole,
        "without": stub,
        "required": proof.good,
        "specification": proof.expected,
        "ok": proof.holds(whole) and proof.fails(stub),
        "all": {"with": cells[True], "without": cells[False]},
    }


def _cell(name: str, key_term: bool, seed: int, folder: Path) -> dict[str, float]:
    place = folder / f"{name}-{'with' if key_term else 'without'}-{seed}"
    return kept(place, code_of(name), lambda: figures(name, key_term, seed))


def kept(place: Path, code: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `make` gives, which JSON can hold; from the file PLACE-CODE.json where it was made by this code before."""
    place = place.with_name(f"{place.name}-{code[:16]}.json")
    if place.is_file():
        found: dict[str, Any] = json.loads(place.read_text(encoding="utf-8"))
        return found
    found = make()
    place.parent.mkdir(parents=True, exist_ok=True)
    unfinished = place.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(found), encoding="utf-8")
    unfinished.replace(place)
    return found


def sources_of(name: str) -> list[Path]:
    """The files that say what a method does: its own, and those of the methods that it imports, and they in turn."""
    found, left = set[Path](), [name]
    while left:
        file = Path(inspect.getsourcefile(importlib.import_module(f"{methods.__name__}.{left.pop()}")) or "")
        if file not in found:
            found.add(file)
            left += _methods_in(file)
    return sorted(found)


def _methods_in(file: Path) -> list[str]:
    """The methods that a file imports, whole or in part, at its top or within a function."""
    found, package = list[str](), methods.__name__
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for name in method_names() if f"{package}.{name}" in found]


def code_of(name: str, *more: Path) -> str:
    """SHA-256 of what a proof's figures depend on: the method, its proof, how it is run and judged, what methods share,
    and `more`."""
    backend = Path(__file__).parent.parent
    files = [backend / "proofs" / f"{own}.py" for own in (name, "__init__", "benches")]
    files += [backend / "evaluate.py", backend / "teachers" / "mixture_2d.py", backend / "methods" / "__init__.py"]
    shared = "losses noise samplers train trained pieces stores optimizers boundary derivatives flow trigflow"
    files += [backend / f"{module}.py" for module in shared.split()]
    files += [*sorted((backend / "networks").glob("*.py")), *sources_of(name), *more]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files if file.is_file())).hexdigest()
