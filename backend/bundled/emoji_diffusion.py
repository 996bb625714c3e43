"""What the emoji teacher learns once its latents lie there: Stable Diffusion's noise, U-Net and loss, on 4x16x16."""

import torch
from diffusers import PNDMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextModel, CLIPTokenizer

from backend.bundled.emoji_text import LENGTH, WIDTH
from backend.bundled.emoji_training import Plan, in_bfloat16, rows_at

CHANNELS = (48, 96, 128)
PROMPT_DROPOUT = 0.1
LARGEST_SNR = 5.0
FLOOR = 0.5
TOWARDS_NOISE = 0.6  # power of a uniform draw; below 1 there are more timesteps at which the prompt matters


def scheduler() -> PNDMScheduler:
    """Stable Diffusion 1.5's scheduler, setting for setting."""
    return PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        num_train_timesteps=1000,
        skip_prk_steps=True,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def new_unet(channels: tuple[int, ...] = CHANNELS, width: int = WIDTH) -> UNet2DConditionModel:
    """An untrained U-Net that looks at the prompt at the middle resolution and below."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=channels,
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=width,
        attention_head_dim=4,  # the number of heads: diffusers' name for it is a mistake it keeps
        norm_num_groups=16,
    )


class TextToImage(nn.Module):
    """Text encoder and U-Net as one network, because they learn together."""

    def __init__(self, text_encoder: CLIPTextModel, unet: UNet2DConditionModel) -> None:
        super().__init__()
        self.text_encoder, self.unet = text_encoder, unet

    def forward(self, noised: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        """The noise seen in `noised` (B, 4, 16, 16) at `timesteps` (B,) given `tokens` (B, 24)."""
        text = self.text_encoder(tokens).last_hidden_state
        return self.unet(noised, timesteps, encoder_hidden_states=text).sample  # type: ignore[no-any-return]


def tokens_of(tokenizer: CLIPTokenizer, prompts: list[str]) -> Tensor:
    """(N, 24) int64, padded as Stable Diffusion's pipeline pads."""
    made = tokenizer(prompts, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt")
    tokens: Tensor = made.input_ids
    return tokens


def loss_weight(snr: Tensor) -> Tensor:
    """Weight of the squared error of the noise: min-SNR (arXiv:2303.09556, 3.4), and more where there is most noise.

    There the prompt alone decides what becomes of the picture, and min-SNR gives the picture's error the weight of
    the SNR itself, 0.005 at the last timestep.
    """
    return (snr + FLOOR).clamp(max=LARGEST_SNR) / snr


class NoiseLoss:
    """The loss of a training step on scaled latents (N, 4, 16, 16) and their tokens (N, 24)."""

    def __init__(self, net: TextToImage, latents: Tensor, tokens: Tensor, empty: Tensor, plan: Plan) -> None:
        self.net, self.latents, self.tokens, self.empty, self.plan = net, latents, tokens, empty, plan
        self.alphas_cumprod = scheduler().alphas_cumprod

    def __call__(self, step: int, generator: torch.Generator) -> Tensor:
        rows, n = rows_at(self.plan, step, len(self.latents)), self.plan.batch
        x0, tokens = self.latents[rows], self.tokens[rows]
        tokens = torch.where(torch.rand(n, 1, generator=generator) < PROMPT_DROPOUT, self.empty, tokens)
        # One draw from each of n equal parts of [0, 1): less noise in the loss than n free draws.
        parts = (torch.randperm(n, generator=generator) + torch.rand(n, generator=generator)) / n
        t = (parts**TOWARDS_NOISE * len(self.alphas_cumprod)).long().clamp(max=len(self.alphas_cumprod) - 1)
        alpha2 = self.alphas_cumprod[t].view(-1, 1, 1, 1)
        noise = torch.randn(x0.shape, generator=generator)
        noised = alpha2.sqrt() * x0 + (1 - alpha2).sqrt() * noise
        device = next(self.net.parameters()).device
        with in_bfloat16(device):
            seen = self.net(noised.to(device), t.to(device), tokens.to(device)).float()
        error = functional.mse_loss(seen, noise.to(device), reduction="none").mean((1, 2, 3))
        return (loss_weight(alpha2 / (1 - alpha2)).flatten().to(device) * error).mean()


@torch.no_grad()
def sample(net: TextToImage, tokens: Tensor, empty: Tensor, nfe: int, scale: float, seed: int) -> Tensor:
    """Scaled latents (N, 4, 16, 16) after `nfe` deterministic steps (DDIM, arXiv:2010.02502) under guidance."""
    device = next(net.parameters()).device
    alphas = torch.cat([scheduler().alphas_cumprod, torch.ones(1)]).to(device)
    times = torch.linspace(999, 0, nfe + 1).round().long()[:-1]
    x = torch.randn(len(tokens), 4, 16, 16, generator=torch.Generator().manual_seed(seed)).to(device)
    both = torch.cat([tokens, empty.expand_as(tokens)]).to(device)
    for now, after in zip(times, [*times[1:], torch.tensor(-1)], strict=True):
        with in_bfloat16(device):
            asked, free = net(torch.cat([x, x]), now.to(device).expand(2 * len(x)), both).float().chunk(2)
        noise = free + scale * (asked - free)
        a, b = alphas[now], alphas[after]
        x = b.sqrt() * (x - (1 - a).sqrt() * noise) / a.sqrt() + (1 - b).sqrt() * noise
    return x.cpu()


def agreement(made: Tensor, known: Tensor, asked: Tensor) -> float:
    """The share of `made` (N, ...) whose nearest of `known` (M, ...) is the one `asked` for, (N,) int64."""
    nearest = torch.cdist(made.flatten(1), known.flatten(1)).argmin(1)
    return float((nearest == asked).double().mean())
