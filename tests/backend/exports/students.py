"""Small random students on every path. They stand in for trained ones: an export does not depend on the weights."""

import torch
from diffusers import DDIMScheduler, UNet2DModel

from backend.bundled.digits_teachers import CLASSES, time_mask, unet
from backend.contract.recipe import Recipe
from backend.exports import Facts, Measured
from backend.networks import Denoiser, PredictionType
from backend.networks.unet2d import UNet2D
from backend.noise import FlowMatching, Path, VarianceExploding, VariancePreserving


def student(kind: PredictionType, gain: float = 1.0, conditional: bool = True, path: Path | None = None) -> Denoiser:
    """A random student in evaluation mode; `gain` scales every weight matrix, so that outputs reach data's size."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = unet((16, 32))
        if not conditional:
            net = type(net).from_config({**net.config, "num_class_embeds": None})
        with torch.no_grad():
            for weight in net.parameters():
                if weight.ndim > 1:
                    weight.mul_(gain)
            if kind == "edm":
                net.time_embedding.linear_1.weight.mul_(time_mask(net))
    if path is None:
        path = {
            "edm": VarianceExploding(0.02, 20.0),
            "flow": FlowMatching(),
        }.get(kind) or VariancePreserving(DDIMScheduler().alphas_cumprod)
    return Denoiser(UNet2D(net, CLASSES if conditional else None), path, kind).eval()


def unet_of(net: Denoiser) -> UNet2DModel:
    """The diffusers model inside a student."""
    network = net.network
    assert isinstance(network, UNet2D)
    return network.unet


FACTS = Facts(
    title="Digits in one step",
    recipe=Recipe(teacher="digits", method="dmd2", settings={"student_steps": 1}),
    method="Distribution matching (DMD2)",
    paper="arXiv:2405.14867",
    step=600,
    teacher="Digits",
    teacher_digest="ab" * 32,
    licence="CC BY 4.0",
    labels=tuple(str(i) for i in range(CLASSES)),
    measured=(Measured("student", 1, {"frechet": 1.25}), Measured("teacher", 16, {"frechet": 1.0, "kernel": 0.1})),
    measured_by="digits-features on 1,000 samples",
    data="digits",
)
