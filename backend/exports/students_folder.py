"""Several students as a folder of diffusers folders, with an index that says which of them is for what.

```
student-1/, student-2/, ...           each a complete export of `diffusers_folder`, which also works alone
students.json                         the classes or prompts of each
sample.py                             the few lines that ask each for its own
expected.safetensors, samples.png     the pictures they must make together
README.md                             the model card
distill.json                          as of one student, for `verify`
```
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path as FilePath
from typing import Any

import torch
from pydantic import TypeAdapter
from safetensors.torch import load_file

from backend.exports import Export, ExportError, Facts, Format, diffusers_folder
from backend.exports.diffusers_folder import VERSION, sheet_image
from backend.exports.sample_script import Sheet, script
from backend.exports.students_card import students_card
from backend.exports.usage import Usage
from backend.exports.writing import file_hash, save_weights, written
from backend.networks import Condition
from backend.networks.routed import RoutedDenoiser
from backend.samplers import Sampler
from backend.teachers import Teacher


@dataclass(frozen=True)
class _Part:
    """What one student is for. numbers: of its classes or prompts; known: these themselves, as students.json has
    them. cond: of its sheet. teacher: with its prompts alone, where there are any."""

    index: int
    known: dict[str, Any]
    cond: Condition
    teacher: Teacher | None

    @property
    def folder(self) -> str:
        return f"student-{self.index + 1}"


def write(
    form: Format,
    student: RoutedDenoiser,
    sampler: Sampler,
    cond: Condition,
    facts: Facts,
    out: FilePath,
    seed: int = 0,
    teacher: Teacher | None = None,
) -> Export:
    """Writes the folder `out`, complete or not at all. The sheet has about as many pictures as `cond`, of all students.

    Raises `ExportError` for any form but diffusers, and where one student could not be exported.
    """
    several = len(student.network.students)
    if form != "diffusers":
        raise ExportError(
            f"This student is {several} networks, each for a part of the classes or prompts, and a {form} file holds "
            "one; export it as diffusers, which makes a folder of each."
        )
    parts = _parts(student, cond, facts, teacher)
    with written(out) as draft:
        draft.mkdir()
        made = [_write_one(draft, part, student, sampler, facts, seed) for part in parts]
        abouts = [json.loads((draft / part.folder / "distill.json").read_bytes()) for part in parts]
        usage, sheet = _usage(abouts), _joined([TypeAdapter(Sheet).validate_python(a["sheet"]) for a in abouts])
        index = {part.folder: part.known for part in parts}
        _write_json(draft / "students.json", index)
        (draft / "sample.py").write_text(script(usage, sheet, several=True), encoding="utf-8")
        pictures = torch.cat([load_file(draft / p.folder / "expected.safetensors")["samples"] for p in parts])
        save_weights({"samples": pictures}, draft / "expected.safetensors", {"seed": str(seed)})
        sheet_image(pictures).save(draft / "samples.png")
        card = students_card(facts, usage, sampler, sheet, index)
        (draft / "README.md").write_text(card, encoding="utf-8")
        hashes = {file.relative_to(draft).as_posix(): file_hash(file) for file in _files(draft)}
        about = {**abouts[0], "version": VERSION, "title": facts.title, "sheet": asdict(sheet), "hashes": hashes}
        _write_json(draft / "distill.json", {**about, "students": list(index)})
    digest = hashlib.sha256("".join(one.digest for one in made).encode()).hexdigest()
    return Export(out, form, {**hashes, "distill.json": file_hash(out / "distill.json")}, digest)


def _parts(student: RoutedDenoiser, cond: Condition, facts: Facts, teacher: Teacher | None) -> list[_Part]:
    """The students that some class or prompt leads to, each with its share of the sheet."""
    partition = student.network.partition
    each = -(-len(cond) // partition.count)
    found = []
    for k in range(partition.count):
        if partition.table is not None:
            labels = (partition.table.cpu() == k).nonzero().squeeze(1)
            known = {
                "labels": labels.tolist(),
                "names": [facts.labels[i] for i in labels if int(i) < len(facts.labels)],
            }
            sheet = Condition.of_labels(labels[torch.arange(each) % max(len(labels), 1)]) if len(labels) else None
            own = teacher
        else:
            own, known = _of_prompts(student, k, teacher)
            sheet = own.each_exact_condition(each) if own is not None else None
        if sheet is not None:
            found.append(_Part(k, known, sheet, own))
    return found


def _of_prompts(student: RoutedDenoiser, k: int, teacher: Teacher | None) -> tuple[Teacher | None, dict[str, Any]]:
    """The teacher with the prompts of student k alone, None where there are none; and these prompts."""
    if teacher is None or teacher.embedded is None:
        raise ExportError("These students take prompts, and no teacher is there to name them; export from the project.")
    own = student.network.partition.cpu()(teacher.embedded) == k
    prompts = tuple(prompt for prompt, is_own in zip(teacher.prompts, own.tolist(), strict=True) if is_own)
    if not prompts:
        return None, {}
    return replace(teacher, prompts=prompts, embedded=teacher.embedded[own.nonzero().squeeze(1)]), {"prompts": prompts}


def _write_one(
    draft: FilePath, part: _Part, student: RoutedDenoiser, sampler: Sampler, facts: Facts, seed: int
) -> Export:
    # The figures are of all students together.
    own = replace(facts, title=f"{facts.title}, student {part.index + 1}", measured=())
    place = draft / part.folder
    return diffusers_folder.write(student.one(part.index), sampler, part.cond, own, place, seed, part.teacher)


def _usage(abouts: Sequence[dict[str, Any]]) -> Usage:
    """How every student is used, which is the same way for all."""
    found: list[Usage] = [TypeAdapter(Usage).validate_python(about["usage"]) for about in abouts]
    if any(usage != found[0] for usage in found):
        raise RuntimeError("Students of one run are used in different ways.")
    return found[0]


def _joined(sheets: Sequence[Sheet]) -> Sheet:
    """One student's pictures after the other's."""
    labels = [sheet.labels for sheet in sheets if sheet.labels is not None]
    prompts = [sheet.prompts for sheet in sheets if sheet.prompts is not None]
    return replace(
        sheets[0],
        count=sum(sheet.count for sheet in sheets),
        labels=tuple(label for own in labels for label in own) if labels else None,
        prompts=tuple(prompt for own in prompts for prompt in own) if prompts else None,
    )


def _files(folder: FilePath) -> list[FilePath]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _write_json(file: FilePath, content: object) -> None:
    file.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
