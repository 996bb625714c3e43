"""The emoji teachers' autoencoder: pictures of 64x64 to latents of 4x16x16 and back, diffusers' `AutoencoderKL`."""

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional

from backend.bundled.emoji_training import Plan, in_bfloat16, rows_at

KL_WEIGHT = 3e-4  # of the mean over latent values: keeps them near normal and costs little detail
EDGE_WEIGHT = 0.5
CHANNELS = (32, 64, 64)


def new_vae(channels: tuple[int, ...] = CHANNELS) -> AutoencoderKL:
    """An untrained autoencoder without attention, which 16x16 latents do not need."""
    return AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        sample_size=64,
        block_out_channels=channels,
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        norm_num_groups=8,
        mid_block_add_attention=False,
    )


def reconstruction_loss(made: Tensor, images: Tensor) -> Tensor:
    """Mean absolute error of the values and of their differences to the next pixel; (N, 3, H, W) both."""
    error = made.float() - images
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    return error.abs().mean() + EDGE_WEIGHT * edges


class VaeLoss:
    """The loss of a training step on `images` (N, 3, 64, 64) in [-1, 1]."""

    def __init__(self, vae: AutoencoderKL, images: Tensor, plan: Plan) -> None:
        self.vae, self.images, self.plan = vae, images, plan

    def __call__(self, step: int, generator: torch.Generator) -> Tensor:
        images = self.images[rows_at(self.plan, step, len(self.images))].to(self.vae.device)
        with in_bfloat16(images.device):
            posterior = self.vae.encode(images).latent_dist
            noise = torch.randn(posterior.mean.shape, generator=generator).to(images.device)
            made = self.vae.decode(posterior.mean.float() + posterior.std.float() * noise).sample
        kl = posterior.kl().float().mean() / posterior.mean[0].numel()
        loss: Tensor = reconstruction_loss(made, images) + KL_WEIGHT * kl
        return loss


class DecoderLoss:
    """As `VaeLoss` for the decoder alone, from given latents (N, 4, 16, 16), so that these stay what they are."""

    def __init__(self, vae: AutoencoderKL, images: Tensor, latents: Tensor, plan: Plan) -> None:
        self.vae, self.images, self.latents, self.plan = vae, images, latents, plan

    def __call__(self, step: int, generator: torch.Generator) -> Tensor:
        rows = rows_at(self.plan, step, len(self.images))
        latents, images = self.latents[rows].to(self.vae.device), self.images[rows].to(self.vae.device)
        # Some noise, because a diffusion model's latents are never exactly those of a picture.
        noise = torch.randn(latents.shape, generator=generator).to(latents.device)
        strength = 0.1 * torch.rand(len(rows), 1, 1, 1, generator=generator).to(latents.device)
        with in_bfloat16(images.device):
            made = self.vae.decode(latents + strength * noise * latents.std()).sample
        return reconstruction_loss(made, images)


@torch.no_grad()
def encode(vae: AutoencoderKL, images: Tensor) -> Tensor:
    """The means (N, 4, 16, 16) of the latents, unscaled, on the CPU."""
    return torch.cat([vae.encode(some.to(vae.device)).latent_dist.mean.cpu() for some in images.split(64)])


@torch.no_grad()
def decode(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Pictures (N, 3, 64, 64) of unscaled latents, cut to [-1, 1], on the CPU."""
    return torch.cat([vae.decode(some.to(vae.device)).sample.clamp(-1, 1).cpu() for some in latents.split(64)])


def psnr(made: Tensor, images: Tensor) -> float:
    """Peak signal to noise ratio in dB over all of the pictures, values in [-1, 1]."""
    return float(10 * torch.log10(4 / functional.mse_loss(made, images)))


def freeze_all_but_decoder(vae: AutoencoderKL) -> None:
    """Leave only the decoder to learn."""
    learning = ("decoder.", "post_quant_conv.")
    for name, parameter in vae.named_parameters():
        parameter.requires_grad_(name.startswith(learning))


@torch.no_grad()
def standardise(vae: AutoencoderKL, latents: Tensor) -> None:
    """Change `vae` so that the latents (N, 4, 16, 16) it made have mean 0 and one spread in each channel.

    What it decodes stays the same: the last layer of the encoder and the first of the decoder take each other's
    change back. A diffusion model starts from noise of mean 0, and Stable Diffusion's layout knows one scale alone.
    """
    mean, each = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    grown = (latents - mean.view(1, -1, 1, 1)).std() / each
    made, used = vae.quant_conv, vae.post_quant_conv
    used.bias += used.weight[:, :, 0, 0] @ mean
    used.weight /= grown.view(1, -1, 1, 1)
    channels = len(mean)
    made.bias[:channels] -= mean
    made.bias[:channels] *= grown
    made.weight[:channels] *= grown.view(-1, 1, 1, 1)
    made.bias[channels:] += 2 * grown.log()  # the logarithm of the variance
