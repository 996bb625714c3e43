"""What plain diffusers calls to use a student of each family: the lines of `sample.py` that are the family's own.

For each: `conditions`, what the network is told of each prompt or label; `predicted`, its output for a noised latent.
The texts are constants and nothing is put into them, because `verify` runs them.
"""

from dataclasses import dataclass
from typing import Literal, get_args

FamilyKey = Literal["unet2d", "dit", "sd", "sdxl", "sd3", "pixart-alpha", "pixart-sigma", "sana", "flux"]
Part = Literal["text_encoder_3", "tokenizer_3"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True)
class Lines:
    """imports: beside torch and DiffusionPipeline. call: how the pipeline itself makes the same pictures, its times or
    levels left open; empty where it cannot be told them."""

    functions: str
    imports: tuple[str, ...] = ()
    call: str = ""


_DECODED = '''

def decoded(pipe, latents):
    """Pictures of latents."""
    config = pipe.vae.config
    return pipe.vae.decode(latents / config.scaling_factor + (config.get("shift_factor") or 0)).sample
'''

_UNET = '''

def predicted(pipe, state, t, told):
    """The network's output for noised latents at timestep t."""
    return pipe.unet(state, t, **told).sample
'''

_TRANSFORMER = '''

def predicted(pipe, state, t, told):
    """The network's output for noised latents at timestep t, without a learned variance."""
    return pipe.transformer(state, timestep=t.expand(len(state)), **told).sample[:, : state.shape[1]]
'''

_DIT = '''

def conditions(pipe, labels):
    """What the network is told of each label."""
    return {"class_labels": torch.tensor(labels)}
'''

_SD = '''

def conditions(pipe, prompts):
    """What the network is told of each prompt."""
    text, _ = pipe.encode_prompt(prompts, "cpu", 1, False)
    return {"encoder_hidden_states": text}
'''

_SDXL = '''

def conditions(pipe, prompts):
    """What the network is told of each prompt: its embeddings, and that the picture is whole."""
    text, _, pooled, _ = pipe.encode_prompt(prompts, device="cpu", do_classifier_free_guidance=False)
    height, width = SIZE
    sizes = torch.tensor([[height, width, 0, 0, height, width]] * len(prompts), dtype=torch.float32)
    return {"encoder_hidden_states": text, "added_cond_kwargs": {"text_embeds": pooled, "time_ids": sizes}}
'''

_SD3 = '''

def conditions(pipe, prompts):
    """What the network is told of each prompt."""
    text, _, pooled, _ = pipe.encode_prompt(prompts, None, None, device="cpu", do_classifier_free_guidance=False)
    return {"encoder_hidden_states": text, "pooled_projections": pooled}
'''

_PIXART = '''

def conditions(pipe, prompts):
    """What the network is told of each prompt, and for some of the picture's size."""
    text, mask, _, _ = pipe.encode_prompt(prompts, do_classifier_free_guidance=False, device="cpu")
    sizes = {"resolution": None, "aspect_ratio": None}
    if pipe.transformer.use_additional_conditions:
        height, width = map(float, SIZE)
        sizes["resolution"] = torch.tensor([[height, width]] * len(prompts))
        sizes["aspect_ratio"] = torch.tensor([[height / width]] * len(prompts))
    return {"encoder_hidden_states": text, "encoder_attention_mask": mask, "added_cond_kwargs": sizes}
'''

_SANA = '''

def conditions(pipe, prompts):
    """What the network is told of each prompt, which the pipeline introduces by an instruction."""
    instruction = inspect.signature(pipe.__call__).parameters["complex_human_instruction"].default
    text, mask, _, _ = pipe.encode_prompt(
        prompts, do_classifier_free_guidance=False, device="cpu", complex_human_instruction=instruction
    )
    return {"encoder_hidden_states": text, "encoder_attention_mask": mask}


def predicted(pipe, state, t, told):
    """The network's output for noised latents at timestep t."""
    time = t.expand(len(state)).float() * pipe.transformer.config.timestep_scale
    return pipe.transformer(state, timestep=time, **told).sample[:, : state.shape[1]]
'''

_FLUX = '''

def conditions(pipe, prompts):
    """What the network is told of each prompt, and its guidance scale where it takes one."""
    text, pooled, places = pipe.encode_prompt(prompts, None, device="cpu")
    guidance = torch.full((len(prompts),), 3.5) if pipe.transformer.config.guidance_embeds else None
    return {"encoder_hidden_states": text, "pooled_projections": pooled, "txt_ids": places, "guidance": guidance}


def predicted(pipe, state, t, told):
    """The network's output for noised latents at timestep t; it takes 2x2 places as one token."""
    batch, channels, height, width = state.shape
    rows, columns = height // 2, width // 2
    patches = state.reshape(batch, channels, rows, 2, columns, 2).permute(0, 2, 4, 1, 3, 5)
    places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
    places = torch.cat([torch.zeros(len(places), 1), places.float()], 1)
    time = t.expand(batch).float() / 1000
    tokens = pipe.transformer(patches.reshape(batch, -1, 4 * channels), timestep=time, img_ids=places, **told).sample
    patches = tokens.reshape(batch, rows, columns, channels, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return patches.reshape(batch, channels, height, width)
'''

_BY_TIMES = "pipe(PROMPTS, timesteps={timesteps}, guidance_scale=1.0{own})"
_BY_SIGMAS = "pipe(PROMPTS, sigmas={sigmas}, num_inference_steps={steps}, guidance_scale={scale}{own})"

LINES: dict[FamilyKey, Lines] = {
    "dit": Lines(_DIT + _TRANSFORMER + _DECODED),
    "sd": Lines(_SD + _UNET + _DECODED, call=_BY_TIMES),
    "sdxl": Lines(_SDXL + _UNET + _DECODED, call=_BY_TIMES),
    "sd3": Lines(_SD3 + _TRANSFORMER + _DECODED, call=_BY_SIGMAS),
    "pixart-alpha": Lines(_PIXART + _TRANSFORMER + _DECODED, call=_BY_TIMES),
    "pixart-sigma": Lines(_PIXART + _TRANSFORMER + _DECODED, call=_BY_TIMES),
    "sana": Lines(_SANA + _DECODED, imports=("inspect",), call=_BY_SIGMAS),
    "flux": Lines(_FLUX + _DECODED, call=_BY_SIGMAS),
}
"""Of every family but the pixel U-Net, whose lines are `sample_script`'s own."""
