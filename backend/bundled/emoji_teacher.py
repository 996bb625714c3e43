"""Trains the bundled text-to-image teacher `emoji`, stage by stage; killed at any time, it goes on where it was.

    python -m backend.bundled.emoji_teacher vae STATE       the autoencoder
    python -m backend.bundled.emoji_teacher unet STATE      tokenizer, text encoder and U-Net, on its latents
    python -m backend.bundled.emoji_teacher decoder STATE   the autoencoder's decoder alone for longer; its latents stay
    python -m backend.bundled.emoji_teacher write STATE     the diffusers folder

STATE is a folder outside the repository that holds what goes on. --steps gives a stage another length, also of one
that has begun. Quality is measured afterwards by `python -m backend.bundled.emoji_cards`.
"""

import argparse
import dataclasses
import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import CLIPTokenizer

from backend.bundled import emoji_diffusion, emoji_text, emoji_vae
from backend.bundled.emoji_diffusion import TextToImage, tokens_of
from backend.bundled.emoji_training import Plan, train, write_state
from backend.datasets.emoji import emoji
from backend.resources import RESOURCES

SEED = 0
PLANS = {
    "vae": Plan(steps=2000, batch=16, rate=2e-3, decay=0.5, ema_decay=0.995),
    "unet": Plan(steps=6100, batch=48, rate=1.5e-3, warm_up=300, decay=0.2, save_every=120),
    "decoder": Plan(steps=3000, batch=16, rate=1e-3, decay=0.5, ema_decay=0.995),
}
GUIDANCE_SCALE = 2.0
KIND = (
    "It is in the layout of Stable Diffusion 1.5, part for part: CLIP's tokenizer and text encoder, `AutoencoderKL`, "
    "`UNet2DConditionModel`, scaled-linear betas."
)
HISTORY_STEPS = 6100
HISTORY = (
    "The settings were changed while it learnt: rate 1e-3, timesteps drawn evenly and FLOOR 0.05 for the first 2,100 "
    "steps, FLOOR 0.5 up to step 3,200, and only then those of the script, so that a run of the script makes similar "
    "weights and not these."
)
WATCHED = 100  # prompts whose pictures are looked at while the U-Net learns
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def train_vae(state: Path, plan: Plan) -> None:
    """Train the autoencoder, make its latents centred and of one spread in all channels, and keep both in `state`."""
    torch.manual_seed(SEED)
    images, vae = emoji().images, emoji_vae.new_vae().to(DEVICE)

    def told(step: int, average: nn.Module) -> None:
        if step % 500 == 0:
            made = emoji_vae.decode(average, emoji_vae.encode(average, images[::11]))
            print(f"vae: PSNR {emoji_vae.psnr(made, images[::11]):.2f} dB", flush=True)

    average: AutoencoderKL = train(vae, emoji_vae.VaeLoss(vae, images, plan), plan, state / "vae.pt", told)
    emoji_vae.standardise(average, emoji_vae.encode(average, images))
    latents = emoji_vae.encode(average, images)
    average.register_to_config(scaling_factor=round(1 / float(latents.std()), 5))
    print(f"vae: PSNR {emoji_vae.psnr(emoji_vae.decode(average, latents), images):.2f} dB on all", flush=True)
    write_vae(average, state)
    save_file({"latents": latents}, state / "latents.safetensors")


def write_vae(vae: AutoencoderKL, state: Path) -> None:
    write_state({"weights": vae.state_dict(), "scale": vae.config.scaling_factor}, state / "vae-done.pt")


def trained_vae(state: Path) -> AutoencoderKL:
    """The autoencoder of a finished stage."""
    done = torch.load(state / "vae-done.pt", weights_only=True)
    vae = emoji_vae.new_vae()
    vae.load_state_dict(done["weights"])
    vae.register_to_config(scaling_factor=done["scale"])
    return vae.to(DEVICE).eval().requires_grad_(False)


def train_decoder(state: Path, plan: Plan) -> None:
    """Train the decoder for longer on the latents that the U-Net knows."""
    torch.manual_seed(SEED)
    images, latents = emoji().images, load_file(state / "latents.safetensors")["latents"]
    vae = trained_vae(state)
    emoji_vae.freeze_all_but_decoder(vae)

    def told(step: int, average: nn.Module) -> None:
        if step % 500 == 0:
            made = emoji_vae.decode(average, latents[::11])
            print(f"decoder: PSNR {emoji_vae.psnr(made, images[::11]):.2f} dB", flush=True)

    average = train(vae, emoji_vae.DecoderLoss(vae, images, latents, plan), plan, state / "decoder.pt", told)
    print(f"decoder: PSNR {emoji_vae.psnr(emoji_vae.decode(average, latents), images):.2f} dB on all", flush=True)
    write_vae(average, state)


def tokenizer_of(state: Path) -> CLIPTokenizer:
    """The tokenizer in `state`, made where it is missing."""
    if not (state / "tokenizer" / "vocab.json").exists():
        emoji_text.write_tokenizer(emoji().names, state / "tokenizer")
    tokenizer: CLIPTokenizer = CLIPTokenizer.from_pretrained(state / "tokenizer")
    return tokenizer


def new_network(tokenizer: CLIPTokenizer) -> TextToImage:
    """Text encoder and U-Net, untrained."""
    torch.manual_seed(SEED)
    return TextToImage(emoji_text.new_text_encoder(tokenizer), emoji_diffusion.new_unet())


def scaled_latents(state: Path) -> Tensor:
    """(N, 4, 16, 16), of spread 1."""
    scale: float = torch.load(state / "vae-done.pt", weights_only=True)["scale"]
    latents: Tensor = load_file(state / "latents.safetensors")["latents"] * scale
    return latents


def train_unet(state: Path, plan: Plan) -> None:
    """Train text encoder and U-Net together."""
    tokenizer, latents = tokenizer_of(state), scaled_latents(state)
    tokens, empty = tokens_of(tokenizer, list(emoji().names)), tokens_of(tokenizer, [""])
    net = new_network(tokenizer).to(DEVICE)
    watched = torch.arange(WATCHED) * len(tokens) // WATCHED

    def told(step: int, average: nn.Module) -> None:
        if step % 500 == 0:
            assert isinstance(average, TextToImage)
            made = emoji_diffusion.sample(average, tokens[watched], empty, nfe=12, scale=2.0, seed=1)
            share = emoji_diffusion.agreement(made, latents, watched)
            print(f"unet: {share:.2f} of {WATCHED} prompts have their own latents nearest", flush=True)

    loss = emoji_diffusion.NoiseLoss(net, latents, tokens, empty, plan)
    train(net, loss, plan, state / "unet.pt", told)


def trained_network(state: Path, tokenizer: CLIPTokenizer) -> tuple[TextToImage, int]:
    """The moving average of text encoder and U-Net as far as they are trained, and after how many steps."""
    kept = torch.load(state / "unet.pt", weights_only=True, map_location="cpu")
    net = new_network(tokenizer)
    net.load_state_dict(kept["average"])
    return net.eval().requires_grad_(False), int(kept["step"])


def write(state: Path, plan: Plan, folder: Path) -> None:
    """The diffusers folder from what has been trained so far, weights in half precision but the text encoder's.

    transformers would give that back in half precision, and diffusers the others in single: a pipeline that is loaded
    without naming a precision would not run.
    """
    tokenizer = tokenizer_of(state)
    net, steps = trained_network(state, tokenizer)
    pipeline = StableDiffusionPipeline(
        trained_vae(state).half().cpu(),
        net.text_encoder,
        tokenizer,
        net.unet.half(),
        emoji_diffusion.scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder)
    how: dict[str, object] = {"steps": steps, "batch": plan.batch, "seed": plan.seed}
    write_profile(folder, "Emoji", KIND, how | ({"history": HISTORY} if steps == HISTORY_STEPS else {}))


def write_profile(
    folder: Path, title: str, kind: str, how: dict[str, object], script: str = "backend/bundled/emoji_teacher.py"
) -> None:
    """What diffusers' layout has no place for: the prompts, the tokenizer's own files, `teacher.json`."""
    names = emoji().names
    for place in (folder / name for name in ("tokenizer", "tokenizer_2") if (folder / name).is_dir()):
        (place / "tokenizer.json").unlink(missing_ok=True)  # says what vocab.json and merges.txt say
        emoji_text.write_tokenizer(names, place)
    for file in folder.glob("text_encoder*/model.safetensors"):
        emoji_text.name_as_of_old(file)
    # In a fixed order of chance, so that the first few are a fair choice of all.
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(SEED)).tolist()
    (folder / "prompts.txt").write_text("".join(names[i] + "\n" for i in order), encoding="utf-8")
    profile = {
        "title": title,
        "kind": kind,
        "prompts": "prompts.txt",
        "guidance_scale": GUIDANCE_SCALE,
        "data": "emoji",
        "licence": "Apache-2.0 (pictures of Noto Color Emoji, Copyright 2013-2017 Google Inc.)",
        "training": {**how, "script": script},
    }
    (folder / "teacher.json").write_text(json.dumps(profile, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=[*PLANS, "write"])
    parser.add_argument("state", type=Path)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESOURCES / "teachers" / "emoji")
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    if a.stage == "write":
        write(a.state, PLANS["unet"], a.out)
        return
    plan = PLANS[a.stage] if a.steps is None else dataclasses.replace(PLANS[a.stage], steps=a.steps)
    {"vae": train_vae, "unet": train_unet, "decoder": train_decoder}[a.stage](a.state, plan)


if __name__ == "__main__":
    main()
