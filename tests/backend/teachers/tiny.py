"""Tiny random models of every family, made of diffusers' and transformers' own classes and saved as they save."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from diffusers import (
    AutoencoderDC,
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    DiTPipeline,
    DiTTransformer2DModel,
    DPMSolverMultistepScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    PixArtAlphaPipeline,
    PixArtSigmaPipeline,
    PixArtTransformer2DModel,
    PNDMScheduler,
    SanaPipeline,
    SanaTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Gemma2Config,
    Gemma2Model,
    T5Config,
    T5EncoderModel,
)

PROMPTS = ("a red apple", "two cats", "the sea at night")
LATENT = 8
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,:;-'!?"


def stirred(module: nn.Module) -> Any:
    """The module, with no weight left at 0 or 1."""
    for parameter in module.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return module.eval()


def clip_tokenizer(folder: Path, length: int = 16) -> CLIPTokenizer:
    """Letters for tokens, in the two files of CLIP's own vocabulary."""
    folder.mkdir(parents=True)
    names = [*LETTERS, *(f"{letter}</w>" for letter in LETTERS), "a p", "<|startoftext|>", "<|endoftext|>"]
    names.remove("a p")
    names.insert(-2, "ap")
    (folder / "vocab.json").write_text(json.dumps({name: i for i, name in enumerate(names)}))
    (folder / "merges.txt").write_text("#version: 0.2\na p\n")
    about = {"tokenizer_class": "CLIPTokenizer", "model_max_length": length, "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    made: CLIPTokenizer = CLIPTokenizer.from_pretrained(folder)
    return made


def word_tokenizer(folder: Path, kind: str, length: int = 64) -> Any:
    """Words for tokens, as a T5 or Gemma tokenizer."""
    special = ["<pad>", "</s>", "<unk>", "<bos>"]
    words = sorted({word for prompt in PROMPTS for word in prompt.split()})
    if kind == "T5":
        pieces = [(name, 0.0) for name in special] + [(f"▁{word}", -1.0) for word in words]
        made = Tokenizer(models.Unigram(pieces, unk_id=2))
    else:
        made = Tokenizer(models.WordLevel({word: i for i, word in enumerate([*special, *words])}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Metaspace() if kind == "T5" else pre_tokenizers.WhitespaceSplit()
    first = "<bos> $A" if kind == "Gemma" else "$A </s>"
    mark = ("<bos>", 3) if kind == "Gemma" else ("</s>", 1)
    made.post_processor = processors.TemplateProcessing(single=first, special_tokens=[mark])
    folder.mkdir(parents=True)
    made.save(str(folder / "tokenizer.json"))
    about = {
        "tokenizer_class": f"{kind}Tokenizer", "model_max_length": length, "pad_token": "<pad>", "eos_token": "</s>",
        "unk_token": "<unk>", "bos_token": "<bos>", "extra_ids": 0,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    return getattr(transformers, f"{kind}Tokenizer").from_pretrained(folder)


def clip(width: int = 16, *, projected: bool = False, vocabulary: int = 200, length: int = 16) -> Any:
    end = 2 * len(LETTERS) + 2
    config = CLIPTextConfig(
        hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2, num_attention_heads=2,
        vocab_size=vocabulary, max_position_embeddings=length, projection_dim=width,
        bos_token_id=end - 1, eos_token_id=end, pad_token_id=end,
    )  # fmt: skip
    return stirred((CLIPTextModelWithProjection if projected else CLIPTextModel)(config))


def t5(width: int = 16) -> T5EncoderModel:
    config = T5Config(d_model=width, d_kv=8, d_ff=32, num_layers=1, num_heads=2, vocab_size=64)
    return stirred(T5EncoderModel(config))  # type: ignore[no-any-return]


def gemma(width: int = 16) -> Gemma2Model:
    config = Gemma2Config(
        hidden_size=width, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
        head_dim=8, vocab_size=64, max_position_embeddings=2048, pad_token_id=0, bos_token_id=3, eos_token_id=1,
    )  # fmt: skip
    return stirred(Gemma2Model(config))  # type: ignore[no-any-return]


def kl(channels: int = 4, **settings: Any) -> AutoencoderKL:
    return stirred(
        AutoencoderKL(
            block_out_channels=(8, 16), norm_num_groups=4, latent_channels=channels, layers_per_block=1,
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
            sample_size=2 * LATENT, **settings,
        )
    )  # fmt: skip


def unet(width: int = 16, **settings: Any) -> UNet2DConditionModel:
    return stirred(
        UNet2DConditionModel(
            **{
                "sample_size": LATENT, "block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4,
                "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
                "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
                "cross_attention_dim": width, "attention_head_dim": 8, **settings,
            }
        )
    )  # fmt: skip


SD_SCHEDULE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": False}


def sd(folder: Path, **scheduler: Any) -> StableDiffusionPipeline:
    """Stable Diffusion 1 or 2."""
    return StableDiffusionPipeline(
        vae=kl(), text_encoder=clip(), tokenizer=clip_tokenizer(folder), unet=unet(),
        scheduler=DDIMScheduler(**{**SD_SCHEDULE, "steps_offset": 1, **scheduler}),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def sd2(folder: Path) -> StableDiffusionPipeline:
    return sd(folder, prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing")


def sd_pndm(folder: Path) -> StableDiffusionPipeline:
    """As Stable Diffusion 1.5 lies on the hub."""
    pipe = sd(folder)
    schedule = {name: value for name, value in SD_SCHEDULE.items() if name != "clip_sample"}
    pipe.scheduler = PNDMScheduler(skip_prk_steps=True, steps_offset=1, **schedule)
    return pipe


def sdxl(folder: Path) -> StableDiffusionXLPipeline:
    # Of two widths, as the real ones: by these diffusers tells them apart in one file.
    wide = unet(
        40, addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=72,
        use_linear_projection=True,
    )  # fmt: skip
    return StableDiffusionXLPipeline(
        vae=kl(force_upcast=False), text_encoder=clip(), text_encoder_2=clip(24, projected=True),
        tokenizer=clip_tokenizer(folder / "1"), tokenizer_2=clip_tokenizer(folder / "2"), unet=wide,
        scheduler=DDIMScheduler(**SD_SCHEDULE), add_watermarker=False,
    )  # fmt: skip


def sd3(folder: Path, *, third: bool = True) -> StableDiffusion3Pipeline:
    network = SD3Transformer2DModel(
        sample_size=LATENT, patch_size=2, in_channels=4, out_channels=4, num_layers=2, attention_head_dim=8,
        num_attention_heads=3, joint_attention_dim=32, caption_projection_dim=24, pooled_projection_dim=32,
        pos_embed_max_size=8,
    )  # fmt: skip
    return StableDiffusion3Pipeline(
        vae=kl(shift_factor=0.1, scaling_factor=1.3), transformer=stirred(network),
        text_encoder=clip(projected=True), tokenizer=clip_tokenizer(folder / "1"),
        text_encoder_2=clip(projected=True), tokenizer_2=clip_tokenizer(folder / "2"),
        text_encoder_3=t5(32) if third else None, tokenizer_3=word_tokenizer(folder / "3", "T5") if third else None,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )  # fmt: skip


def pixart(folder: Path, kind: Any = PixArtAlphaPipeline, **settings: Any) -> Any:
    network = PixArtTransformer2DModel(
        sample_size=LATENT, num_layers=2, num_attention_heads=3, attention_head_dim=8, cross_attention_dim=24,
        caption_channels=16, in_channels=4, out_channels=8, **settings,
    )  # fmt: skip
    return kind(
        vae=kl(), text_encoder=t5(), tokenizer=word_tokenizer(folder, "T5"), transformer=stirred(network),
        scheduler=DPMSolverMultistepScheduler(beta_schedule="linear", beta_start=1e-4, beta_end=0.02),
    )  # fmt: skip


def sana(folder: Path) -> SanaPipeline:
    network = SanaTransformer2DModel(
        sample_size=LATENT, in_channels=4, out_channels=4, num_layers=2, num_attention_heads=2, attention_head_dim=8,
        num_cross_attention_heads=2, cross_attention_head_dim=8, cross_attention_dim=16, caption_channels=16,
    )  # fmt: skip
    codec = AutoencoderDC(
        in_channels=3, latent_channels=4, attention_head_dim=4,
        encoder_block_types="ResBlock", decoder_block_types="ResBlock",
        encoder_block_out_channels=(8, 8, 16), decoder_block_out_channels=(8, 8, 16),
        encoder_layers_per_block=(1, 1, 1), decoder_layers_per_block=(1, 1, 1),
        encoder_qkv_multiscales=((), (), ()), decoder_qkv_multiscales=((), (), ()),
        upsample_block_type="interpolate", downsample_block_type="conv", scaling_factor=0.41407,
    )  # fmt: skip
    return SanaPipeline(
        tokenizer=word_tokenizer(folder, "Gemma", 2048), text_encoder=gemma(), vae=stirred(codec),
        transformer=stirred(network),
        scheduler=DPMSolverMultistepScheduler(
            use_flow_sigmas=True, prediction_type="flow_prediction", flow_shift=3.0, use_dynamic_shifting=False
        ),
    )  # fmt: skip


def flux(folder: Path, *, told: bool = True) -> FluxPipeline:
    network = FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=2, num_single_layers=1, attention_head_dim=8, num_attention_heads=2,
        joint_attention_dim=16, pooled_projection_dim=16, guidance_embeds=told, axes_dims_rope=(2, 2, 4),
    )  # fmt: skip
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True), vae=kl(shift_factor=0.1),
        text_encoder=clip(), tokenizer=clip_tokenizer(folder / "1"), text_encoder_2=t5(),
        tokenizer_2=word_tokenizer(folder / "2", "T5"), transformer=stirred(network),
    )  # fmt: skip


def dit(folder: Path) -> DiTPipeline:
    network = DiTTransformer2DModel(
        sample_size=LATENT, num_layers=2, num_attention_heads=2, attention_head_dim=8, in_channels=4, out_channels=8,
        num_embeds_ada_norm=1000,  # what its pipeline takes for no class
    )  # fmt: skip
    labels = {i: name for i, name in enumerate(("ant", "bee", "cat", "dog", "eel"))}
    return DiTPipeline(stirred(network), kl(), DDIMScheduler(clip_sample=False), id2label=labels)


FAMILIES: dict[str, Callable[[Path], Any]] = {
    "dit": dit,
    "sd": sd,
    "sd2": sd2,
    "sd-pndm": sd_pndm,
    "sdxl": sdxl,
    "sd3": sd3,
    "sd3-without-t5": lambda folder: sd3(folder, third=False),
    "pixart-alpha": pixart,
    "pixart-alpha-sizes": lambda folder: pixart(folder, use_additional_conditions=True),
    "pixart-sigma": lambda folder: pixart(folder, PixArtSigmaPipeline),
    "sana": sana,
    "flux": flux,
    "flux-schnell": lambda folder: flux(folder, told=False),
}
"""A model's name -> what makes its pipeline; the tokenizer's files go into the folder given."""


def opened(folder: Path) -> Any:
    """The folder's own pipeline, as anyone would load it."""
    index = json.loads((folder / "model_index.json").read_text())
    left_out = {name: None for name in ("text_encoder_3", "tokenizer_3") if index.get(name) == [None, None]}
    pipe = DiffusionPipeline.from_pretrained(folder, **left_out)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def write(name: str, folder: Path) -> Path:
    """The model of that name as a folder."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipe = FAMILIES[name](folder / "tokenizers")
        pipe.save_pretrained(folder / "model")
    about: dict[str, Any] = {"title": f"Tiny {name}", "licence": "none"}
    if name.startswith("flux"):
        about["sample_size"] = LATENT  # its config names no size, and the usual one is large
    (folder / "model" / "teacher.json").write_text(json.dumps(about))
    return folder / "model"
