"""README.md of an export of several students: which of them is for what, and how they are used together."""

from collections.abc import Mapping
from typing import Any

from backend.exports import Facts
from backend.exports.model_card import measured_table, paper_link, sampler_words
from backend.exports.sample_script import Sheet, script
from backend.exports.usage import Usage
from backend.samplers import Sampler

MOST_NAMED = 12
"""Classes or prompts of a student that the card names; students.json has them all."""

_CARD = """# {title}

{count} students that make a picture in {evaluations}, distilled from *{teacher}*. Each is for its own part of the
{kind} and knows nothing of the others': asked for these it still makes pictures, and bad ones. `students.json` says
which is for what.

![Pictures of these students, noise seed {seed}](samples.png)

| student | {kind} |
|---|---|
{students}

## Use

`sample.py` in this folder asks each student for its own {kind} and refuses any that no student is for. Every student's
folder is an export of its own, with a card that says more, and works alone.

```python
{script}```

Sampler: {sampler}.

## Origin

Teacher: {teacher}, licence {licence}. Method: {method}, {paper}, {step} steps. The students' own cards have the recipe
and the hashes of the files.

## Measured

All students together.

{measured}
"""


def students_card(
    facts: Facts, usage: Usage, sampler: Sampler, sheet: Sheet, students: Mapping[str, Mapping[str, Any]]
) -> str:
    """The card as Markdown. students: folder -> what it is for, as in students.json."""
    rows = [f"| [{name}]({name}/README.md) | {_named(known)} |" for name, known in students.items()]
    return _CARD.format(
        title=facts.title,
        count=len(students),
        evaluations=f"{sampler.nfe} network evaluation{'s' if sampler.nfe > 1 else ''}",
        teacher=facts.teacher,
        kind="prompts" if sheet.kind == "prompts" else "classes",
        seed=sheet.seed,
        students="\n".join(rows),
        script=script(usage, sheet, several=True),
        sampler=sampler_words(sampler),
        licence=facts.licence,
        method=facts.method,
        paper=paper_link(facts.paper),
        step=facts.step,
        measured=measured_table(facts),
    )


def _named(known: Mapping[str, Any]) -> str:
    names = [str(name) for name in known.get("prompts") or known.get("names") or known["labels"]]
    more = f", and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
