"""Measures the bundled emoji teachers and writes `figures.json`, `samples.png` and the card `README.md` beside them.

python -m backend.bundled.emoji_cards [NAME|FOLDER ...] [--nfe 4 8 50] [--samples N]
"""

import argparse
import json
from typing import Any

import torch
from torch import nn

from backend import judge, pictures
from backend.datasets.emoji import emoji
from backend.evaluate import FeatureNetwork, agreement, frechet_distance
from backend.resources import RESOURCES
from backend.samplers import teacher_sampler
from backend.teachers import Teacher, folder_of, load_teacher

TEACHERS = ("emoji", "emoji-flow")
NFE = (4, 8, 50)
SHOWN = ("agreement", "frechet", "kernel", "precision", "recall", "nearest_training", "fine_detail")
GRID = (10, 6)  # pictures across and down


def measure(teacher: Teacher, nfes: list[int], count: int) -> dict[str, Any]:
    """The teacher's figures under its guidance at each number of evaluations, with what they were measured by."""
    rows: dict[str, Any] = {}
    about: dict[str, Any] = {}
    for nfe in nfes:
        figures = judge.figures(teacher.guided, teacher_sampler(nfe, teacher.denoiser.path), teacher, count)
        assert figures is not None  # the emoji have a feature network
        rows[str(nfe)] = dict(figures.values)
        about = {
            "measured_in": figures.measured_in,
            "features_digest": figures.features_digest,
            "reference_digest": figures.reference_digest,
            "samples": figures.count,
            "seed": figures.seed,
            "guidance_scale": teacher.guidance_scale,
        }
        shares = ", ".join(f"{name} {rows[str(nfe)][name]:.3f}" for name in ("agreement", "frechet"))
        print(f"{teacher.key}: {nfe} NFE, {shares}", flush=True)
    return {**about, "weights": teacher.digest, "autoencoder": autoencoder_figures(teacher), "nfe": rows}


@torch.no_grad()
def autoencoder_figures(teacher: Teacher) -> dict[str, float]:
    """What the autoencoder alone loses of the training pictures: the best that any sample can be."""
    data = emoji()
    made = torch.cat([teacher.codec.decode(teacher.codec.encode(some)) for some in data.images.split(64)]).clamp(-1, 1)
    features = FeatureNetwork.load(RESOURCES / "features" / "emoji.safetensors")
    (real, _), (fake, _) = features.describe(data.images), features.describe(made)
    return {
        "psnr": float(10 * torch.log10(4 / (made - data.images).double().square().mean())),
        "agreement": agreement(real, fake, data.labels, data.labels),
        "frechet": frechet_distance(real, fake),
    }


def card(teacher: Teacher, figures: dict[str, Any], training: dict[str, Any], kind: str) -> str:
    """The model card, Markdown."""
    net, auto = teacher.denoiser, figures["autoencoder"]
    table = [f"| NFE | {' | '.join(SHOWN)} |", f"| --- |{' --- |' * len(SHOWN)}"]
    table += [f"| {nfe} | {' | '.join(f'{row[name]:.3f}' for name in SHOWN)} |" for nfe, row in figures["nfe"].items()]
    return "\n".join(
        [
            f"# {teacher.title}",
            "",
            f"A small text-to-image latent diffusion model: {len(teacher.prompts):,} pictures of 64x64 from their "
            f'names, such as "{teacher.prompts[0]}". {kind} {_parameters(net):,} parameters in the network, '
            f"`{net.prediction_type}` prediction on the path `{type(net.path).__name__}`, latents of "
            f"{'x'.join(str(n) for n in net.shape)}.",
            "",
            "It has learnt its training pictures, one of each name, nearly by heart, and that is all it is for: a "
            "teacher that takes prompts, small enough to distil without a GPU. It knows the names of "
            "`prompts.txt`; other words, other word orders and pictures of anything else are beyond it.",
            "",
            f"Trained by `{training['script']}` for {training['steps']:,} steps of {training['batch']} pictures, seed "
            f"{training['seed']}, on the {len(emoji()):,} glyphs of Noto Color Emoji in `resources/emoji`, a tenth of "
            f"the prompts empty. {training.get('history', '')}".rstrip(),
            "",
            f"Deterministic sampling under guidance {figures['guidance_scale']:g}, {figures['samples']:,} samples, "
            f"names in turn, seed {figures['seed']}. `agreement` is the share of samples whose nearest training "
            f"picture, in the features of the bundled network {figures['measured_in']}, is the one of the name asked "
            "for; distances are "
            "in the same features against all training pictures (no Inception FID). There is no held-out part: all "
            "these figures are of names it has seen. Measured by `python -m backend.bundled.emoji_cards`.",
            "",
            *table,
            "",
            f"The training pictures through the autoencoder alone, which is the best a sample can be: "
            f"agreement {auto['agreement']:.3f}, Frechet distance {auto['frechet']:.3f}, PSNR {auto['psnr']:.1f} dB.",
            "",
            "![Samples at 50 NFE, each with the training picture of its name to its right](samples.png)",
            "",
            f"*The first {GRID[0] * GRID[1] // 2} prompts of `prompts.txt` in {judge.TEACHER_NFE} evaluations, nothing "
            "picked; to the right of each sample the training picture of its name.*",
            "",
            "Shapes and main colours follow the name. Fine detail is smeared (`fine_detail`: its energy relative to "
            "the training pictures'), and small letters, faces and patches of colour are often wrong.",
            "",
            f"Licence: {teacher.licence}.",
            "",
        ]
    )


def _parameters(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def grid(teacher: Teacher) -> torch.Tensor:
    """Samples of the first prompts (N, 3, 64, 64), each followed by the training picture of its name."""
    count = GRID[0] * GRID[1] // 2
    sampler = teacher_sampler(judge.TEACHER_NFE, teacher.denoiser.path)
    made = judge.draw(teacher.guided, sampler, teacher, teacher.each_condition(count), judge.PREVIEW_SEED)
    asked = judge.asked_of(teacher, count)
    assert asked is not None
    return torch.stack([made, emoji().batch(asked)[0]], 1).flatten(0, 1)


def write(name: str, nfes: list[int], count: int) -> None:
    """Measure the bundled teacher of that name, or the one in the folder, and write what was found into its folder."""
    teacher, folder = load_teacher(name), folder_of(name)
    figures = measure(teacher, nfes, count)
    about = json.loads((folder / "teacher.json").read_text(encoding="utf-8"))
    (folder / "figures.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(card(teacher, figures, about["training"], about["kind"]), encoding="utf-8")
    pictures.sheet(grid(teacher), columns=GRID[0]).save(folder / "samples.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(TEACHERS))
    parser.add_argument("--nfe", type=int, nargs="+", default=list(NFE))
    parser.add_argument("--samples", type=int, default=len(emoji()))
    asked = parser.parse_args()
    for name in asked.names:
        write(name, asked.nfe, asked.samples)


if __name__ == "__main__":
    main()
