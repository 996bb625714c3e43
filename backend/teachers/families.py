"""The families of models that diffusers keeps in folders: one architecture of network, and the parts around it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ENCODERS = ("CLIPTextModel", "CLIPTextModelWithProjection", "T5EncoderModel", "Gemma2Model", "UMT5EncoderModel")
TOKENIZERS = tuple(f"{name}Tokenizer{fast}" for name in ("CLIP", "T5", "Gemma") for fast in ("", "Fast"))
FLUX_SIZE = 128
"""Side of a latent of FLUX, whose config names none: its pipeline's."""
AUTOENCODERS = ("AutoencoderKL", "AutoencoderDC")


@dataclass(frozen=True)
class Family:
    """One architecture and what goes with it.

    network: diffusers' class of the network, which lies in `folder`. pipelines: diffusers' classes that use it as a
    teacher is used, the first what an export is. encoders: (tokenizer, text encoder) folders in the pipeline's order;
    optional: those of them that may be left out. classes: of an encoder and tokenizer where no pipeline says.
    parts: of its condition. guidance_scale: the pipeline's default. length: of a prompt in tokens; 0 for the
    tokenizer's own. defaults: of the network's config, where they matter here. resizes: whether it takes other sizes
    than its own.
    """

    key: str
    title: str
    network: str
    folder: str
    pipelines: tuple[str, ...]
    encoders: tuple[tuple[str, str], ...] = ()
    optional: tuple[str, ...] = ()
    classes: tuple[tuple[str, str], ...] = ()
    parts: tuple[str, ...] = ()
    guidance_scale: float = 1.0
    length: int = 0
    defaults: Mapping[str, Any] = field(default_factory=dict)
    resizes: bool = False

    @property
    def latent(self) -> bool:
        """Whether it diffuses what an autoencoder makes of pictures."""
        return self.network != "UNet2DModel"


_ONE = (("tokenizer", "text_encoder"),)
_TWO = (*_ONE, ("tokenizer_2", "text_encoder_2"))
_THREE = (*_TWO, ("tokenizer_3", "text_encoder_3"))
_CLIP = ("CLIPTokenizer", "CLIPTextModel")
_CLIP_PROJECTED = ("CLIPTokenizer", "CLIPTextModelWithProjection")
_T5 = ("T5Tokenizer", "T5EncoderModel")
_UNET = {"in_channels": 4, "out_channels": 4}

FAMILIES = (
    Family(
        "unet2d",
        "Pixel U-Net",
        "UNet2DModel",
        "unet",
        ("DDPMPipeline", "DDIMPipeline", "ConsistencyModelPipeline"),
        defaults={"in_channels": 3, "out_channels": 3},
    ),
    Family(
        "dit",
        "DiT",
        "DiTTransformer2DModel",
        "transformer",
        ("DiTPipeline",),
        parts=("labels",),
        guidance_scale=4.0,
        defaults={"in_channels": 4, "sample_size": 32, "num_embeds_ada_norm": 1000},
    ),
    Family(
        "sd",
        "Stable Diffusion",
        "UNet2DConditionModel",
        "unet",
        ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline"),
        _ONE,
        classes=(_CLIP,),
        parts=("text",),
        guidance_scale=7.5,
        defaults=_UNET,
        resizes=True,
    ),
    Family(
        "sdxl",
        "Stable Diffusion XL",
        "UNet2DConditionModel",
        "unet",
        ("StableDiffusionXLPipeline", "StableDiffusionXLImg2ImgPipeline"),
        _TWO,
        classes=(_CLIP, _CLIP_PROJECTED),
        parts=("text", "pooled", "time_ids"),
        guidance_scale=5.0,
        defaults=_UNET,
        resizes=True,
    ),
    Family(
        "sd3",
        "Stable Diffusion 3",
        "SD3Transformer2DModel",
        "transformer",
        ("StableDiffusion3Pipeline", "StableDiffusion3Img2ImgPipeline"),
        _THREE,
        ("text_encoder_3",),
        (_CLIP_PROJECTED, _CLIP_PROJECTED, _T5),
        ("text", "pooled"),
        7.0,
        256,
        {"in_channels": 16, "out_channels": 16, "sample_size": 128},
        resizes=True,
    ),
    Family(
        "pixart-alpha",
        "PixArt-alpha",
        "PixArtTransformer2DModel",
        "transformer",
        ("PixArtAlphaPipeline",),
        _ONE,
        classes=(_T5,),
        parts=("text", "text_mask"),
        guidance_scale=4.5,
        length=120,
        defaults={"in_channels": 4, "out_channels": 8, "sample_size": 128},
    ),
    Family(
        "pixart-sigma",
        "PixArt-Sigma",
        "PixArtTransformer2DModel",
        "transformer",
        ("PixArtSigmaPipeline",),
        _ONE,
        classes=(_T5,),
        parts=("text", "text_mask"),
        guidance_scale=4.5,
        length=300,
        defaults={"in_channels": 4, "out_channels": 8, "sample_size": 128},
    ),
    Family(
        "sana",
        "Sana",
        "SanaTransformer2DModel",
        "transformer",
        ("SanaPipeline",),
        _ONE,
        classes=(("GemmaTokenizer", "Gemma2Model"),),
        parts=("text", "text_mask"),
        guidance_scale=4.5,
        length=300,
        defaults={"in_channels": 32, "out_channels": 32, "sample_size": 32},
    ),
    Family(
        "flux",
        "FLUX.1",
        "FluxTransformer2DModel",
        "transformer",
        ("FluxPipeline", "FluxImg2ImgPipeline"),
        _TWO,
        classes=(_CLIP, _T5),
        parts=("text", "pooled", "guidance"),
        length=512,
        defaults={"in_channels": 64},
        resizes=True,
    ),
)
