"""Measures the bundled digits teachers and writes `figures.json` and the model card `README.md` into their folders.

python -m backend.bundled.teacher_cards [NAME ...]
"""

import json
import sys
from typing import Any

from backend import judge, pictures
from backend.resources import RESOURCES
from backend.samplers import teacher_sampler
from backend.teachers import BUNDLED, Teacher, load_teacher

NFE = (1, 2, 4, 8, 50)
SAMPLES = 1000
SHOWN = ("frechet", "kernel", "precision", "recall", "coverage", "class_accuracy", "class_std", "nearest_training")


def measure(teacher: Teacher) -> dict[str, Any]:
    """The teacher's figures at each of `NFE`, with what they were measured by."""
    rows: dict[str, Any] = {}
    about: dict[str, Any] = {}
    for nfe in NFE:
        figures = judge.figures(teacher.denoiser, teacher_sampler(nfe), teacher, SAMPLES)
        assert figures is not None  # the bundled teachers have a feature network
        rows[str(nfe)] = dict(figures.values)
        about = {
            "measured_in": figures.measured_in,
            "features_digest": figures.features_digest,
            "reference_digest": figures.reference_digest,
            "samples": figures.count,
            "seed": figures.seed,
        }
        print(f"{teacher.key}: {nfe} NFE, Frechet distance {rows[str(nfe)]['frechet']:.3f}", flush=True)
    return {**about, "weights": teacher.digest, "nfe": rows}


def card(teacher: Teacher, figures: dict[str, Any], training: dict[str, Any]) -> str:
    """The model card, Markdown."""
    net = teacher.denoiser
    size = "x".join(str(n) for n in net.shape)
    parameters = sum(p.numel() for p in net.parameters())
    names = [name for name in SHOWN if name in figures["nfe"]["50"]]
    table = [f"| NFE | {' | '.join(names)} |", f"| --- |{' --- |' * len(names)}"]
    for nfe, row in figures["nfe"].items():
        cells = " | ".join("-" if row[name] is None else f"{row[name]:.3f}" for name in names)
        table.append(f"| {nfe} | {cells} |")
    return "\n".join(
        [
            f"# {teacher.title}",
            "",
            f"A class-conditional diffusion model of handwritten digits, {size} in [-1, 1], {parameters:,} parameters: "
            f"diffusers' `UNet2DModel` on the path `{type(net.path).__name__}`, predicting `{net.prediction_type}`. "
            "Class 10 stands for no class. It is a teacher to try distillation on, not a model of anything else.",
            "",
            f"Trained by `{training['script']}` for {training['steps']:,} steps of {training['batch']} pictures, seed "
            f"{training['seed']}, on 1,400 of the 1,797 digits; the other 397 were never seen.",
            "",
            f"Deterministic sampling, {figures['samples']:,} samples, classes in turn, seed {figures['seed']}; "
            f"distances are in the features of the bundled network {figures['measured_in']} against the 1,400 training "
            "pictures (no Inception FID). Measured by `python -m backend.bundled.teacher_cards`.",
            "",
            *table,
            "",
            "![Samples at 50 NFE](samples.png)",
            "",
            f"Licence: {teacher.licence}.",
            "",
        ]
    )


def main() -> None:
    for name in sys.argv[1:] or [name for name in BUNDLED if name.startswith("digits")]:
        folder = RESOURCES / "teachers" / name
        teacher = load_teacher(name)
        figures = measure(teacher)
        training = json.loads((folder / "teacher.json").read_text())["training"]
        (folder / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
        (folder / "README.md").write_text(card(teacher, figures, training))
        cond = teacher.each_condition(60)
        grid = judge.draw(teacher.denoiser, teacher_sampler(50), teacher, cond, judge.PREVIEW_SEED)
        pictures.sheet(grid, columns=20).save(folder / "samples.png")


if __name__ == "__main__":
    main()
