"""Trains the bundled flow-matching teacher `emoji-flow`, a transformer in Stable Diffusion 3's layout; resumable.

    python -m backend.bundled.emoji_flow train STATE [--steps N]
    python -m backend.bundled.emoji_flow write STATE

It shares the autoencoder, the tokenizer and the text encoder of `emoji`, whose `STATE` it goes on in: both must be
trained before. The layout asks for two text encoders; the second is so small that it says next to nothing, and the
third is left out, as the layout allows.
"""

import argparse
import dataclasses
import itertools
import math
from pathlib import Path

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

from backend.bundled import emoji_diffusion, emoji_teacher, emoji_text
from backend.bundled.emoji_diffusion import agreement, tokens_of
from backend.bundled.emoji_training import Plan, in_bfloat16, rows_at, train, write_state
from backend.datasets.emoji import emoji
from backend.resources import RESOURCES

SHIFT = 1.0
NO_T5 = 256  # zero tokens that Stable Diffusion 3's pipeline puts where its third text encoder is left out
WIDTH, HEADS, LAYERS = 96, 4, 4
SECOND_WIDTH = 16
PLAN = Plan(steps=1900, batch=48, rate=1.5e-3, warm_up=200, decay=0.3, save_every=120)
WATCHED = 100
KIND = (
    "It is in the layout of Stable Diffusion 3 without its third text encoder: `SD3Transformer2DModel`, two CLIP text "
    "encoders, of which the first is that of `emoji` and the second next to nothing, `AutoencoderKL`. Plain diffusers "
    "loads it with `text_encoder_3=None, tokenizer_3=None`."
)


def new_transformer(text_width: int, pooled_width: int) -> SD3Transformer2DModel:
    """An untrained transformer on 64 patches of 2x2 latents."""
    return SD3Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=LAYERS,
        attention_head_dim=WIDTH // HEADS,
        num_attention_heads=HEADS,
        joint_attention_dim=text_width,
        caption_projection_dim=WIDTH,
        pooled_projection_dim=pooled_width,
        pos_embed_max_size=8,
        qk_norm="rms_norm",
    )


class ManyAlike:
    """Joint attention in which the last text token stands for `count` tokens that are all alike.

    They stay alike through every layer, so that one of them with ln(count) added to its logits is the same sum, at a
    quarter of the cost. Only training uses it; what is written is sampled by diffusers' own processor.
    """

    def __init__(self, count: int) -> None:
        self.bias = math.log(count)

    def __call__(
        self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Tensor, **_: object
    ) -> tuple[Tensor, Tensor] | Tensor:
        size, pictures = len(hidden_states), hidden_states.shape[1]

        def heads(x: Tensor, norm: nn.Module) -> Tensor:
            split = x.view(size, -1, attn.heads, x.shape[-1] // attn.heads).transpose(1, 2)
            normed: Tensor = norm(split)
            return normed

        same = nn.Identity()
        q, k, v = attn.to_q(hidden_states), attn.to_k(hidden_states), attn.to_v(hidden_states)
        text = encoder_hidden_states
        query = torch.cat([heads(q, attn.norm_q), heads(attn.add_q_proj(text), attn.norm_added_q)], 2)
        key = torch.cat([heads(k, attn.norm_k), heads(attn.add_k_proj(text), attn.norm_added_k)], 2)
        value = torch.cat([heads(v, same), heads(attn.add_v_proj(text), same)], 2)
        bias = query.new_zeros(key.shape[2])
        bias[-1] = self.bias
        mixed = functional.scaled_dot_product_attention(query, key, value, bias.expand(query.shape[2], -1))
        mixed = mixed.transpose(1, 2).flatten(2).to(query.dtype)
        picture: Tensor = attn.to_out[1](attn.to_out[0](mixed[:, :pictures]))
        said = mixed[:, pictures:]
        return picture, said if attn.context_pre_only else attn.to_add_out(said)


class FlowLoss:
    """The loss of a training step: squared error of the velocity, noise less data (arXiv:2210.02747).

    latents: (N, 4, 16, 16), scaled. text: (N + 1, 25, C), pooled: (N + 1, P), the empty prompt last.
    """

    def __init__(self, net: SD3Transformer2DModel, latents: Tensor, text: Tensor, pooled: Tensor, plan: Plan) -> None:
        self.net, self.latents, self.text, self.pooled, self.plan = net, latents, text, pooled, plan

    def __call__(self, step: int, generator: torch.Generator) -> Tensor:
        rows, n = rows_at(self.plan, step, len(self.latents)), self.plan.batch
        dropped = torch.rand(n, generator=generator) < emoji_diffusion.PROMPT_DROPOUT
        said = torch.where(dropped, len(self.latents), rows)
        t = (torch.randperm(n, generator=generator) + torch.rand(n, generator=generator)) / n
        x0, noise = self.latents[rows], torch.randn(n, *self.latents.shape[1:], generator=generator)
        at = t.view(-1, 1, 1, 1)
        device = next(self.net.parameters()).device
        with in_bfloat16(device):
            seen = velocity(self.net, torch.lerp(x0, noise, at), t, self.text[said], self.pooled[said])
        return functional.mse_loss(seen.float(), (noise - x0).to(device))


def velocity(net: SD3Transformer2DModel, x: Tensor, t: Tensor, text: Tensor, pooled: Tensor) -> Tensor:
    """What the transformer makes of `x` (B, 4, 16, 16) at times `t` (B,) in [0, 1]."""
    device = next(net.parameters()).device
    made: Tensor = net(
        x.to(device), text.to(device), pooled.to(device), (1000 * t).to(device), return_dict=False
    )[0]  # fmt: skip
    return made


@torch.no_grad()
def sample(net: SD3Transformer2DModel, text: Tensor, pooled: Tensor, nfe: int, scale: float, seed: int) -> Tensor:
    """Scaled latents (N, 4, 16, 16) after `nfe` Euler steps; the last row of text and pooled is the empty prompt."""
    n = len(text) - 1
    x = torch.randn(n, 4, 16, 16, generator=torch.Generator().manual_seed(seed))
    times = torch.linspace(1, 0, nfe + 1)
    both, pool = (torch.cat([part[:-1], part[-1:].expand(n, *part.shape[1:])]) for part in (text, pooled))
    for now, after in itertools.pairwise(times):
        with in_bfloat16(net.device):
            asked, free = velocity(net, torch.cat([x, x]), now.expand(2 * n), both, pool).float().cpu().chunk(2)
        x = x + (after - now) * (free + scale * (asked - free))
    return x


def frozen(encoder: CLIPTextModelWithProjection) -> CLIPTextModelWithProjection:
    """`encoder`, which does not learn."""
    encoder.requires_grad_(False)
    encoder.train(False)
    return encoder


def second_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModelWithProjection:
    """The text encoder that the layout asks for and nothing needs; the same each time."""
    torch.manual_seed(emoji_teacher.SEED)
    about: CLIPTextConfig = emoji_text.new_text_encoder(tokenizer, SECOND_WIDTH, layers=1).config
    return frozen(CLIPTextModelWithProjection(about))


def first_encoder(state: Path, tokenizer: CLIPTokenizer) -> CLIPTextModelWithProjection:
    """The text encoder of `emoji` as far as it is trained, with a projection that changes nothing."""
    trained, _ = emoji_teacher.trained_network(state, tokenizer)
    encoder = CLIPTextModelWithProjection(trained.text_encoder.config)
    weights = trained.text_encoder.state_dict()
    named = {f"text_model.{key.removeprefix('text_model.')}": value for key, value in weights.items()}
    encoder.load_state_dict({**named, "text_projection.weight": torch.eye(emoji_text.WIDTH)})
    return frozen(encoder)


@torch.no_grad()
def conditions(state: Path, tokenizer: CLIPTokenizer) -> tuple[Tensor, Tensor]:
    """Text (N + 1, 25, C) and pooled (N + 1, P) of the names and the empty prompt, as the pipeline makes them.

    The last token is one of the zeros of the missing third encoder.
    """
    tokens = tokens_of(tokenizer, [*emoji().names, ""])
    encoders = first_encoder(state, tokenizer), second_encoder(tokenizer)
    made = [encoder(tokens, output_hidden_states=True) for encoder in encoders]
    text = torch.cat([part.hidden_states[-2] for part in made], -1)
    return functional.pad(text, (0, 0, 0, 1)), torch.cat([part.text_embeds for part in made], -1)


def train_flow(state: Path, plan: Plan) -> None:
    """Train the transformer on what the text encoders say."""
    tokenizer, latents = emoji_teacher.tokenizer_of(state), emoji_teacher.scaled_latents(state)
    kept = state / "flow-conditions.pt"
    if not kept.exists():  # once: a text encoder that went on learning would not fit the transformer any more
        write_state(dict(zip(("text", "pooled"), conditions(state, tokenizer), strict=True)), kept)
        write_state(first_encoder(state, tokenizer).state_dict(), state / "flow-encoder.pt")
    said = torch.load(kept, weights_only=True)
    text, pooled = said["text"], said["pooled"]
    torch.manual_seed(plan.seed)
    net = new_transformer(text.shape[-1], pooled.shape[-1]).to(emoji_teacher.DEVICE)
    net.set_attn_processor(ManyAlike(NO_T5))
    watched = torch.arange(WATCHED) * len(latents) // WATCHED
    asked = torch.cat([watched, torch.tensor([len(latents)])])

    def told(step: int, average: nn.Module) -> None:
        if step % 500 == 0:
            made = sample(average, text[asked], pooled[asked], nfe=12, scale=2.0, seed=1)
            share = agreement(made, latents, watched)
            print(f"flow: {share:.2f} of {WATCHED} prompts have their own latents nearest", flush=True)

    train(net, FlowLoss(net, latents, text, pooled, plan), plan, state / "flow.pt", told)


def write(state: Path, plan: Plan, folder: Path) -> None:
    """The diffusers folder from what has been trained so far, weights in half precision but the text encoders'."""
    tokenizer = emoji_teacher.tokenizer_of(state)
    kept = torch.load(state / "flow.pt", weights_only=True, map_location="cpu")
    encoder = first_encoder(state, tokenizer)
    encoder.load_state_dict(torch.load(state / "flow-encoder.pt", weights_only=True))
    second = second_encoder(tokenizer)
    net = new_transformer(*(emoji_text.WIDTH + SECOND_WIDTH,) * 2)
    net.load_state_dict(kept["average"])
    vae = emoji_teacher.trained_vae(state).half().cpu()
    vae.register_to_config(shift_factor=0.0)
    pipeline = StableDiffusion3Pipeline(
        transformer=net.half(),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=SHIFT),
        vae=vae,
        text_encoder=encoder,
        tokenizer=tokenizer,
        text_encoder_2=second,
        tokenizer_2=tokenizer,
        text_encoder_3=None,
        tokenizer_3=None,
    )
    pipeline.save_pretrained(folder)
    how: dict[str, object] = {"steps": int(kept["step"]), "batch": plan.batch, "seed": plan.seed}
    emoji_teacher.write_profile(folder, "Emoji, flow matching", KIND, how, "backend/bundled/emoji_flow.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=["train", "write"])
    parser.add_argument("state", type=Path)
    parser.add_argument("--steps", type=int, default=PLAN.steps)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESOURCES / "teachers" / "emoji-flow")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    plan = dataclasses.replace(PLAN, steps=a.steps)
    if a.stage == "write":
        write(a.state, plan, a.out)
    else:
        train_flow(a.state, plan)


if __name__ == "__main__":
    main()
