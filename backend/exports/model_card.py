"""The card of an export: where the student comes from, how it is used, and how good it was measured to be."""

import json
from collections.abc import Mapping

import diffusers
import torch

from backend.exports import Facts
from backend.exports.pipelines import LINES
from backend.exports.sample_script import Sheet, needs, script
from backend.exports.usage import Usage
from backend.samplers import Sampler

_CARD = """---
library_name: diffusers
license: other
license_name: {licence_json}
pipeline_tag: {task}
tags: [distillation, few-step]
---

# {title}

A student that makes a picture in {evaluations}, distilled from *{teacher}*.

![Pictures of this student, noise seed {seed}](samples.png)

## Use

`sample.py` in this folder needs {needs} (written with {versions}) and nothing of the program that made this
export. It made the pictures above, which are in `expected.safetensors` as numbers.{note}

```python
{script}```{call}

{about}
## Files

| file | SHA-256 |
|---|---|
{files}
"""

_FILE_CARD = """---
{library}license: other
license_name: {licence_json}
tags: [distillation, few-step]
---

# {title}

A student that makes a picture in {evaluations}, distilled from *{teacher}*, as one safetensors file.

## Use

{use}

{about}
## Files

| file | SHA-256 |
|---|---|
{files}
"""

_ABOUT = """Sampler: {sampler}.

## Origin

| | |
|---|---|
| Teacher | {teacher} |
| Teacher's weights, SHA-256 | `{teacher_digest}` |
| Licence | {licence} |
| Method | {method}, {paper} |
| Training | {step} steps, seed {recipe_seed} |{adapters}{data}
| Recipe, SHA-256 | `{recipe_hash}` |

The licence is the teacher's and its data's: a student is made from both.

## Measured

{measured}

## Recipe

```json
{recipe}
```
"""


def sampler_words(sampler: Sampler) -> str:
    """The sampler in words, with its levels."""
    levels = ", ".join(f"{level:.6g}" for level in sampler.levels)
    if sampler.nfe == 1:
        return f"one evaluation, from level t = {levels}"
    how = {
        "renoise": "after each evaluation x0 is noised anew to the next level (multistep consistency sampling)",
        "deterministic": "after each evaluation x0 and noise as predicted are mixed anew (DDIM, Euler's method)",
        "momentum": "each evaluation gives a velocity for its whole step, which is integrated (ArcFlow)",
    }[sampler.kind]
    return f"{sampler.nfe} evaluations, at levels t = {levels}; {how}"


def paper_link(paper: str) -> str:
    """The paper, such as arXiv:2405.14867, as Markdown."""
    number = paper.removeprefix("arXiv:")
    return f"[{paper}](https://arxiv.org/abs/{number})" if number != paper else paper


def measured_table(facts: Facts) -> str:
    """The figures as a Markdown table, one row for each sampler that was measured."""
    if not facts.measured:
        return "Not measured."
    names = list(dict.fromkeys(name for row in facts.measured for name in row.figures))
    lines = [f"| | evaluations | {' | '.join(names)} |", "|---" * (2 + len(names)) + "|"]
    for row in facts.measured:
        figures = [f"{row.figures[name]:.4g}" if name in row.figures else "" for name in names]
        lines.append(f"| {row.who} | {row.nfe} | {' | '.join(figures)} |")
    return "\n".join([*lines, "", f"Measured by {facts.measured_by or 'an unnamed feature network'}."])


def _pipeline_call(usage: Usage, sheet: Sheet, sampler: Sampler) -> str:
    """How the pipeline's own call makes the same pictures, as Markdown; empty where it cannot."""
    if sheet.away:
        negative = json.dumps(sheet.negative, ensure_ascii=False)
        return (
            f"\n\nThe student is steered away from {negative}, by {sheet.away:g} in its cross-attention (NASA, "
            "arXiv:2412.02687). diffusers has no setting for that: `sample.py` brings the "
            "lines for it, in `steer`, and the pipeline's own call without them makes other pictures."
        )
    if sheet.prompts is None or usage.form != "scheduler":
        return ""
    call = LINES[sheet.family].call
    sigmas = [round(float(level), 6) for level in usage.arguments.get("sigmas", [])]  # type: ignore[union-attr]
    timesteps = usage.arguments.get("timesteps")
    if ("{timesteps}" in call and timesteps is None) or ("{sigmas}" in call and not sigmas):
        return ""
    height, width = sheet.size
    own = f", height={height}, width={width}"
    own += ", use_resolution_binning=False" if sheet.family.startswith(("pixart", "sana")) else ""
    scale = 3.5 if sheet.family == "flux" else 1.0
    words = call.format(timesteps=timesteps, sigmas=sigmas, steps=sampler.nfe, scale=scale, own=own)
    return f"\n\nThe pipeline's own call makes such pictures too: `{words}`."


def model_card(facts: Facts, usage: Usage, sampler: Sampler, sheet: Sheet, hashes: Mapping[str, str]) -> str:
    """The card as Markdown with the header that model hubs read. hashes: SHA-256 by file, without the card."""
    note = f" {usage.note[0].upper()}{usage.note[1:]}, so `sample.py` spells its steps out." if usage.note else ""
    return _CARD.format(
        licence_json=json.dumps(facts.licence, ensure_ascii=False),
        title=facts.title,
        evaluations=_evaluations(sampler),
        teacher=facts.teacher,
        seed=sheet.seed,
        task="text-to-image" if sheet.prompts is not None else "unconditional-image-generation",
        call=_pipeline_call(usage, sheet, sampler),
        needs=needs(sheet),
        versions=_versions(),
        note=note,
        script=script(usage, sheet),
        about=_about(facts, sampler),
        files=_files(hashes),
    )


def file_card(facts: Facts, sampler: Sampler, text: str, unchecked: str, hashes: Mapping[str, str]) -> str:
    """The card of a single file. text: the lines of plain diffusers that use it; where there are none, `unchecked` says
    why. hashes: SHA-256 by file, without the card."""
    use = f"{unchecked} The header has its prediction type, sampler and recipe."
    if text:
        use = (
            "The file holds the whole model in its authors' layout. It needs torch, diffusers and transformers (made "
            f"with {_versions()}), a diffusers folder of its teacher for the settings, and nothing of the program that "
            f"made it.\n\n```python\n{text}```"
        )
    return _FILE_CARD.format(
        library="library_name: diffusers\n" if text else "",
        licence_json=json.dumps(facts.licence, ensure_ascii=False),
        title=facts.title,
        evaluations=_evaluations(sampler),
        teacher=facts.teacher,
        use=use,
        about=_about(facts, sampler),
        files=_files(hashes),
    )


def _evaluations(sampler: Sampler) -> str:
    return f"{sampler.nfe} network evaluation{'s' if sampler.nfe > 1 else ''}"


def _versions() -> str:
    return f"torch {torch.__version__.partition('+')[0]}, diffusers {diffusers.__version__}"


def _files(hashes: Mapping[str, str]) -> str:
    return "\n".join(f"| {name} | `{digest}` |" for name, digest in sorted(hashes.items()))


def _about(facts: Facts, sampler: Sampler) -> str:
    """What every card says: the sampler, where the student comes from, its figures and its recipe."""
    return _ABOUT.format(
        sampler=sampler_words(sampler),
        teacher=facts.teacher,
        teacher_digest=facts.teacher_digest,
        licence=facts.licence,
        method=facts.method,
        paper=paper_link(facts.paper),
        step=facts.step,
        data=f"\n| Real data | {facts.data} |" if facts.data else "",
        adapters=f"\n| Trained | {facts.adapters} |" if facts.adapters else "",
        recipe_seed=facts.recipe.training.seed,
        recipe_hash=facts.recipe.hash(),
        measured=measured_table(facts),
        recipe=facts.recipe.to_json(),
    )
