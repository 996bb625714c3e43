"""Samples and figures of a teacher or student: the one place where previews, scores and evaluations are drawn.

Everything here uses generators of its own and leaves training's random state alone.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from backend import evaluate
from backend.acceleration import Acceleration, accelerated
from backend.datasets import ImageSet, load_data
from backend.datasets.digits import digits
from backend.datasets.emoji import emoji
from backend.evaluate import FeatureNetwork, Figures
from backend.networks import Condition
from backend.resources import RESOURCES
from backend.samplers import Denoises, Sampler, normal, sample
from backend.teachers import Teacher
from backend.teachers.mixture_2d import Mixture

PREVIEW_SEED = 7
EVALUATION_SEED = 11
TEACHER_NFE = 50  # at which a teacher is shown in full
BATCH = 250
PREVIEW_SAMPLES, PREVIEW_POINTS = 40, 2000
SCORED_SAMPLES = 500
"""By which a preview is scored."""
SCORES = ("frechet", "sliced_wasserstein")
"""The figures by which checkpoints are ranked, of pictures and in the plane."""


def preview_count(shape: tuple[int, ...]) -> int:
    """How many samples of this shape a preview shows, made as one batch."""
    return PREVIEW_POINTS if len(shape) == 1 else PREVIEW_SAMPLES


@torch.no_grad()  # of the codec too, which else decodes all pictures at once for whoever wants a gradient
def draw(
    net: Denoises,
    sampler: Sampler,
    teacher: Teacher,
    cond: Condition,
    seed: int,
    acceleration: Acceleration | None = None,
) -> Tensor:
    """Data (N, ...) for the conditions, made by `net` in the teacher's space; the same noise for the same seed.

    One batch: what a plain diffusers pipeline makes with a generator of that seed and batch.
    """
    generator = torch.Generator().manual_seed(seed)
    device = cond.labels.device if cond.labels is not None else _device(net)
    noise = normal((len(cond), *teacher.denoiser.shape), generator, device)
    with accelerated(net, acceleration, sampler) as quick:
        samples = sample(quick, sampler, noise, cond, generator)
    return teacher.codec.decode(samples)


def draw_many(
    net: Denoises,
    sampler: Sampler,
    teacher: Teacher,
    count: int,
    seed: int,
    drawn: Callable[[int], object] = lambda count: None,
    acceleration: Acceleration | None = None,
) -> Tensor:
    """As `draw`, `count` of them on the CPU, classes in turn, in batches that each have a seed of their own.

    drawn: told after each batch how many it held.
    """
    cond = teacher.each_condition(count).to(_device(net))
    parts = []
    for i, start in enumerate(range(0, count, BATCH)):
        parts.append(draw(net, sampler, teacher, cond[slice(start, start + BATCH)], seed + i, acceleration).cpu())
        drawn(len(parts[-1]))
    return torch.cat(parts)


def _device(net: Denoises) -> torch.device:
    parameters = list(net.parameters()) if isinstance(net, torch.nn.Module) else []
    return parameters[0].device if parameters else torch.device("cpu")


def reference_of(teacher: Teacher) -> ImageSet | None:
    """The pictures a teacher's samples are measured against, None where there are none or no feature network fits."""
    if teacher.data == "digits" and teacher.denoiser.shape == digits().images.shape[1:]:
        return load_data("digits", teacher.denoiser.shape)
    if teacher.data == "emoji" and teacher.data_shape == tuple(emoji().stored.shape[1:]):
        return emoji()
    return None


def asked_of(teacher: Teacher, count: int) -> Tensor | None:
    """The classes (N,) of `each_condition(count)`, as the teacher's reference numbers them; None where it has none.

    A prompt's class is the picture that bears it as its name. None too where some prompt is no such name.
    """
    labels = teacher.each_condition(count).labels
    reference = reference_of(teacher)
    if labels is not None or reference is None:
        return labels
    numbers = {name: number for number, name in enumerate(reference.names)}
    prompts = teacher.each_prompt(count)
    if not prompts or any(prompt not in numbers for prompt in prompts):
        return None
    return torch.tensor([numbers[prompt] for prompt in prompts])


def can_measure(teacher: Teacher) -> bool:
    """Whether there is anything to measure this teacher's samples and its students' against."""
    return reference_of(teacher) is not None or isinstance(teacher.draws, Mixture)


def figures(
    net: Denoises,
    sampler: Sampler,
    teacher: Teacher,
    count: int,
    seed: int = EVALUATION_SEED,
    paired: Tensor | None = None,
) -> Figures | None:
    """The figures of `count` samples, classes in turn; None where nothing is there to measure them against.

    paired: the teacher's samples from the same noise, for the distance between them.
    """
    if not can_measure(teacher):
        return None  # before hundreds of samples are drawn for nothing
    samples = draw_many(net, sampler, teacher, count, seed)
    labels = asked_of(teacher, count)
    return figures_of(samples, labels, teacher, sampler.nfe, seed, paired)


def figures_of(
    samples: Tensor, labels: Tensor | None, teacher: Teacher, nfe: int, seed: int, paired: Tensor | None = None
) -> Figures | None:
    """The figures of given samples of this teacher's data."""
    values: Mapping[str, float | None]
    reference = reference_of(teacher)
    if reference is not None:
        network = FeatureNetwork.load(RESOURCES / "features" / f"{teacher.data}.safetensors")
        values = evaluate.image_figures(samples, labels, reference, network, paired)
        return Figures(values, network.name, network.digest, reference.digest, len(samples), seed, nfe)
    if not isinstance(teacher.draws, Mixture):
        return None
    exact = teacher.draws
    values = evaluate.mixture_figures(samples, exact.means, exact.std, exact.weights, paired)
    return Figures(values, "plane", "", exact.digest, len(samples), seed, nfe)


def stored_figures(teacher: Teacher) -> dict[str, float]:
    """The figures of the teacher in full that its folder brings; none where it brings none, or in another form."""
    by_nfe = teacher.figures.get("nfe")
    found = by_nfe.get(str(TEACHER_NFE)) if isinstance(by_nfe, dict) else None
    return {k: float(v) for k, v in found.items() if isinstance(v, int | float)} if isinstance(found, dict) else {}


def score(figures: Figures | None) -> tuple[str, float] | None:
    """The one figure by which checkpoints are ranked, smaller being better, and its name."""
    if figures is None:
        return None
    name = SCORES[figures.measured_in == "plane"]
    value = figures.values[name]
    return None if value is None else (name, value)
