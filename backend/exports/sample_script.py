"""`sample.py`: the few lines of plain diffusers that make the student's pictures.

The same text is the export's file, the snippet on its model card, and what `verify` runs in a fresh process. It is
made from data alone, so that `verify` can make it anew and never runs a text that came with a folder.
"""

from dataclasses import astuple, dataclass
from typing import Literal

from backend.exports.pipelines import LINES, FamilyKey, Lines, Part
from backend.exports.usage import Usage
from backend.networks.momentum import SLOWNESS

_HEAD = '''"""Makes pictures with this student; needs {needs}.{run}"""

{standard}import torch
from diffusers import {imports}
from diffusers.utils import make_image_grid, numpy_to_pil
{peft}{load_file}{constants}{functions}

@torch.no_grad()
def {name}({where}, {argument}, seed):
    """Pictures {shape} in [-1, 1]{each}, from the noise of `seed`."""
    generator = torch.Generator().manual_seed(seed)
'''

_PIPELINE = """    pipe = ConsistencyModelPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    images = pipe(
        batch_size={count},{labels}
        num_inference_steps=None,
        timesteps={timesteps},
        generator=generator,
        output_type="pt",
    ).images
    return 2 * images - 1
"""

_LOAD_UNET = """    unet = UNet2DModel.from_pretrained(folder, subfolder="unet")
"""

_LOAD_UNET_ADAPTERS = """    unet = UNet2DModel.from_pretrained({base}, subfolder="unet")
    unet = PeftModel.from_pretrained(unet, folder).merge_and_unload()
"""

_LOAD_PIPELINE = """    pipe = DiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32{left_out})
    told = conditions(pipe, {argument})
"""

_LOAD_ADAPTERS = """    pipe = DiffusionPipeline.from_pretrained({base}, torch_dtype=torch.float32{left_out})
    pipe.load_lora_weights(folder, weight_name="pytorch_lora_weights.safetensors")
    told = conditions(pipe, {argument})
"""

_LOAD_FILE = """    pipe = {pipeline}.from_single_file(
        file, config={base}, local_files_only=True, torch_dtype=torch.float32{left_out}
    )
    told = conditions(pipe, {argument})
"""

_LOOP = """{load}    scheduler = {scheduler}
    scheduler.set_timesteps({arguments})
    state = {start}torch.randn({count}, {size}, generator=generator)
    for t in scheduler.timesteps:
        output = {output}
        result = scheduler.step(output, t, state{generator})
        state = result.prev_sample
    return {result}.clamp(-1, 1)
"""

_FORMULA = """{load}{parts}    state = {start}torch.randn({count}, {size}, generator=generator)
    for {step}:
{become}        time = torch.full((len(state),), step["time"], dtype=torch.float64)
        output = {output}
        x0 = step["x0"][0] * state + step["x0"][1] * output
        if step["next"]:
            noise = {noise}
            state = step["next"][0] * x0 + step["next"][1] * noise
    return {result}.clamp(-1, 1)
"""

_NETWORKS = """    networks = [{network}]
    for number in range(2, {count} + 1):
        networks.append(type({network}).from_pretrained(folder, subfolder=f"{name}_{{number}}"))
"""

_MOMENTUM = """{load}    own, seen = load_file(f"{{folder}}/momentum.safetensors"), []
    {network}.{last}.register_forward_hook(lambda layer, given, made: seen.append(given[0]))
    state = {start}torch.randn({count}, {size}, generator=generator)
    for step in STEPS:
        time = torch.full((len(state),), step["time"], dtype=torch.float64)
        output = {output}
        state = moved(state, output, seen.pop(), own, step)
    return {result}.clamp(-1, 1)
"""

_AT_STEP = '''

def at_step(own, number):
    """The weights that the network has at this step alone."""
    return {name.partition(".")[2]: weight for name, weight in own.items() if name.startswith(f"{number}.")}
'''

_MOVED = '''

def parts(seen, own, name, shape):
    """What a layer makes of what the last layer sees, (B, components, channels, height, width)."""
    weight, bias = own[f"{name}.weight"], own[f"{name}.bias"]
    places = own["logits.bias"].numel() - own["rates.bias"].numel()
    count = own["logits.bias"].numel() // places - (name == "rates")
    if weight.ndim == 4:
        made = torch.nn.functional.conv2d(seen, weight, bias, padding=weight.shape[-1] // 2)
        return made.reshape(len(made), count, -1, *shape)
    made = torch.nn.functional.linear(seen, weight, bias)
    height, width = shape
    side = math.isqrt(height * width // made.shape[1])
    patches = made.reshape(len(made), height // side, width // side, side, side, count, -1)
    return patches.permute(0, 5, 6, 1, 3, 2, 4).reshape(len(made), count, -1, height, width)


def moved(state, output, seen, own, step):
    """The state at the step's end: several velocities that grow or fade along it, integrated (arXiv:2602.09014)."""
    shape, (start, end, start_scale, end_scale) = state.shape[2:], step["ends"]
    outputs = output[:, None] + parts(seen, own, "velocities", shape)
    shares = parts(seen, own, "logits", shape).softmax(1)
    rates = own["first_rates"].reshape(1, -1, 1, 1, 1) + SLOWNESS / own["most_rate"] * parts(seen, own, "rates", shape)
    rates = torch.cat([torch.zeros_like(shares[:, :1]), own["most_rate"] * rates.tanh()], 1)
    x0, noise = (step[name][0] * state[:, None] + step[name][1] * outputs for name in ("x0", "noise"))
    grown = rates * (start - end)
    near = grown.abs() < 1e-3
    safe = grown.masked_fill(near, 1)
    growth = torch.where(near, 1 + grown / 2 + grown**2 / 6, safe.expm1() / safe)
    velocity = (shares * growth * (noise - x0)).sum(1)
    return end_scale * (state / start_scale - (start - end) * velocity)
'''

_ROUTED = '''

def sample(folder, {argument}, seed):
    """Pictures in the order of {argument}, each by the student that is for it, whose own noise is from `seed`."""
    with open(f"{{folder}}/students.json", encoding="utf-8") as file:
        students = json.load(file)
    made = {{}}
    for name, known in students.items():
        own = [i for i, asked in enumerate({argument}) if asked in known["{argument}"]]
        if own:
            made |= zip(own, sample_of_one(f"{{folder}}/{{name}}", [{argument}[i] for i in own], seed))
    strange = [asked for i, asked in enumerate({argument}) if i not in made]
    if strange:
        raise ValueError(f"No student is for {{strange[0]!r}}; students.json says what each is for.")
    return torch.stack([made[i] for i in range(len({argument}))])
'''

_STEERED = '''

class Steered:
    """An attention processor that subtracts what the same queries find in the negative prompt (NASA).

    The output projection is linear but for its bias, so that without it the order makes no difference.
    """

    def __init__(self, inner, text):
        self.inner, self.text = inner, text

    def __call__(self, attn, hidden_states, encoder_hidden_states, **rest):
        found = self.inner(attn, hidden_states, encoder_hidden_states=encoder_hidden_states, **rest)
        text = self.text.expand(len(hidden_states), -1, -1)
        away = self.inner(attn, hidden_states, encoder_hidden_states=text, **{**rest, "attention_mask": None})
        return found - AWAY * (away - attn.to_out[0].bias)
'''

_STEER = '''

def steer(pipe):
    """From now on the pipeline's cross-attention is steered away from NEGATIVE."""
    told = conditions(pipe, [NEGATIVE])
    text = told["encoder_hidden_states"]{embedded}
    inner = {network}.attn_processors
    {network}.set_attn_processor({{n: Steered(p, text) if ".attn2." in n else p for n, p in inner.items()}})
'''

_EMBEDDED = """
    text = {network}.caption_projection(text[:, told["encoder_attention_mask"][0].bool()])"""

_NORMED = """
    text = {network}.caption_norm(text)"""

_TAIL = """

if __name__ == "__main__":
    pictures = sample({place}, {example}, seed={seed})
    images = numpy_to_pil((pictures.permute(0, 2, 3, 1).numpy() + 1) / 2)
    make_image_grid(images, rows=1, cols=len(images)).save("pictures.png")
"""


@dataclass(frozen=True)
class Sheet:
    """The pictures an export promises: of `seed`, one per label or prompt, or `count` of them where there are neither.

    shape: of one sample, (C, H, W). family: whose lines the script has. size: height and width of a picture in pixels.
    left_out: parts that the pipeline does without. base: the teacher's folder, where the export needs it: adapters for
    it, or one file, to which it is the config. file: the name of that file. pipeline: the class that reads it.
    negative, away: the prompt that the network is steered away from, and how strongly (`networks.steering`).
    """

    shape: tuple[int, ...]
    count: int
    labels: tuple[int, ...] | None
    seed: int
    prompts: tuple[str, ...] | None = None
    family: FamilyKey = "unet2d"
    size: tuple[int, int] = (0, 0)
    left_out: tuple[Part, ...] = ()
    base: str = ""
    negative: str = ""
    away: float = 0.0
    file: str = ""
    pipeline: str = ""

    @property
    def argument(self) -> int | list[int] | list[str]:
        """What `sample` is asked for: prompts, labels or a number of pictures."""
        if self.prompts is not None:
            return list(self.prompts)
        return list(self.labels) if self.labels is not None else self.count

    @property
    def is_alone(self) -> bool:
        """Whether the export is of adapters alone."""
        return bool(self.base) and not self.file

    @property
    def kind(self) -> Literal["prompts", "labels", "count"]:
        """What `argument` is called."""
        if self.prompts is not None:
            return "prompts"
        return "labels" if self.labels is not None else "count"


def script(usage: Usage, sheet: Sheet, several: bool = False) -> str:
    """The text of `sample.py`. It defines `sample(folder, what, seed)`, which returns pictures (B, C, H, W); of a
    student that is one file, `sample(file, what, seed)`.

    what: prompts, labels or a number of pictures, as the sheet has it. several: of a folder of several students, used
    alike, whose students.json says which is for what.
    """
    forms = {"pipeline": _pipeline, "scheduler": _loop, "formula": _formula, "momentum": _momentum}
    body = forms[usage.form](usage, sheet)
    body += _ROUTED.format(argument=sheet.kind) if several else ""
    place = repr(sheet.file or ".")
    return (
        _head(usage, sheet, several) + body + _TAIL.format(place=place, example=repr(sheet.argument), seed=sheet.seed)
    )


def _head(usage: Usage, sheet: Sheet, several: bool) -> str:
    latent = sheet.family != "unet2d"
    lines = LINES[sheet.family] if latent else Lines("")
    network = {"pipeline": "ConsistencyModelPipeline"}.get(usage.form, "DiffusionPipeline" if latent else "UNet2DModel")
    network = sheet.pipeline or network
    named = [network, usage.scheduler] if usage.form == "scheduler" else [network]
    shape = (3, *sheet.size) if latent else sheet.shape
    constants = f"\nSIZE = {sheet.size!r}\n" if "SIZE" in lines.functions else ""
    constants += f"\nNEGATIVE = {sheet.negative!r}\nAWAY = {sheet.away!r}\n" if sheet.away else ""
    standard = [*lines.imports, *(["json"] if several else []), *(["math"] if usage.integrals else [])]
    one = {"prompts": "prompt", "labels": "class label"}.get(sheet.kind)
    return _HEAD.format(
        needs=needs(sheet),
        run="" if sheet.file else " Run it in its folder: python sample.py",
        where="file" if sheet.file else "folder",
        standard="".join(f"import {name}\n" for name in sorted(standard)) + ("\n" if standard else ""),
        name="sample_of_one" if several else "sample",
        imports=", ".join(sorted(named)),
        peft="from peft import PeftModel\n" if sheet.is_alone and not latent else "",
        load_file="from safetensors.torch import load_file\n" if usage.changes or usage.integrals else "",
        constants=constants + (_steps(usage) if usage.form in ("formula", "momentum") else ""),
        functions=lines.functions
        + (_steer(sheet) if sheet.away else "")
        + (_AT_STEP if usage.changes else "")
        + (_MOVED.replace("SLOWNESS", repr(SLOWNESS)) if usage.integrals else ""),
        argument=sheet.kind,
        shape=f"(B, {', '.join(map(str, shape))})",
        each=f", one for each {one}" if one else "",
    )


def _steer(sheet: Sheet) -> str:
    """The lines that steer the network, to which a transformer's prompts come by a projection of its own."""
    network = _network(sheet)
    embedded = "" if sheet.family in ("sd", "sdxl") else _EMBEDDED.format(network=network)
    embedded += _NORMED.format(network=network) if sheet.family == "sana" else ""
    return _STEERED + _STEER.format(network=network, embedded=embedded)


def needs(sheet: Sheet) -> str:
    """The packages that the script imports."""
    found = ["torch", "diffusers"]
    found += ["transformers"] if sheet.prompts is not None else []
    found += ["peft"] if sheet.is_alone else []
    return f"{', '.join(found[:-1])} and {found[-1]}"


def _load(sheet: Sheet) -> str:
    if sheet.family == "unet2d":
        return _LOAD_UNET_ADAPTERS.format(base=repr(sheet.base)) if sheet.base else _LOAD_UNET
    left_out = "".join(f", {name}=None" for name in sheet.left_out)
    steered = "    steer(pipe)\n" if sheet.away else ""
    if sheet.file:
        named = {"pipeline": sheet.pipeline, "base": repr(sheet.base), "left_out": left_out, "argument": sheet.kind}
        return _LOAD_FILE.format(**named) + steered
    if sheet.base:
        return _LOAD_ADAPTERS.format(base=repr(sheet.base), left_out=left_out, argument=sheet.kind) + steered
    return _LOAD_PIPELINE.format(left_out=left_out, argument=sheet.kind) + steered


def _pipeline(usage: Usage, sheet: Sheet) -> str:
    labels = "\n        class_labels=labels," if sheet.labels is not None else ""
    return _PIPELINE.format(count=_count(sheet), labels=labels, timesteps=usage.arguments["timesteps"])


def _loop(usage: Usage, sheet: Sheet) -> str:
    edm = usage.scheduler == "EDMEulerScheduler"
    arguments = {name: repr(value) for name, value in usage.arguments.items()}
    if edm:  # takes tensors only, and means places on its grid, 0 for sigma_max, by sigmas
        arguments["sigmas"] = f"torch.tensor({arguments['sigmas']}, dtype=torch.float64)"
    # EDM's last step subtracts and adds sigma's worth of noise; the prediction itself has not lost those digits.
    result = "result.pred_original_sample" if edm else "state"
    return _LOOP.format(
        load=_load(sheet),
        scheduler=_scheduler(usage, sheet),
        arguments=", ".join(f"{name}={value}" for name, value in arguments.items()),
        start="scheduler.sigmas[0] * " if edm else "",
        count=_count(sheet),
        size=", ".join(map(str, sheet.shape)),
        output=_output(sheet, "scheduler.scale_model_input(state, t)" if edm else "state", "t"),
        generator=", generator=generator" if usage.fresh else "",
        result=_result(sheet, result),
    )


def _scheduler(usage: Usage, sheet: Sheet) -> str:
    """How the scheduler is made: of its file, or where there is no folder for one of its settings."""
    if not sheet.file:
        return f'{usage.scheduler}.from_pretrained(folder, subfolder="scheduler")'
    settings = "".join(f"        {name}={value!r},\n" for name, value in usage.settings.items())
    return f"{usage.scheduler}(\n{settings}    )"


def _formula(usage: Usage, sheet: Sheet) -> str:
    fresh = "torch.randn(state.shape, generator=generator)"
    return _FORMULA.format(
        load=_load(sheet),
        start="" if usage.start == 1 else f"{usage.start!r} * ",
        count=_count(sheet),
        size=", ".join(map(str, sheet.shape)),
        output=_output(sheet, 'step["scale"] * state', "time"),
        **_by_step(usage, sheet),
        noise=fresh if usage.fresh else 'step["noise"][0] * state + step["noise"][1] * output',
        result=_result(sheet, "x0"),
    )


def _by_step(usage: Usage, sheet: Sheet) -> dict[str, str]:
    """The lines for a network that is not the same at every step."""
    network, step, parts, become = _network(sheet), "step in STEPS", "", ""
    if usage.networks:
        parts = _NETWORKS.format(network=network, count=max(usage.networks) + 1, name=network.rpartition(".")[2])
        become = f'        {network} = networks[step["network"]]\n'
    if usage.changes:
        step, parts = "number, step in enumerate(STEPS)", '    own = load_file(f"{folder}/steps.safetensors")\n'
        become = f"        {network}.load_state_dict(at_step(own, number), strict=False)\n"
    return {"step": step, "parts": parts, "become": become}


def _momentum(usage: Usage, sheet: Sheet) -> str:
    return _MOMENTUM.format(
        load=_load(sheet),
        network=_network(sheet),
        last=usage.last,
        start="" if usage.start == 1 else f"{usage.start!r} * ",
        count=_count(sheet),
        size=", ".join(map(str, sheet.shape)),
        output=_output(sheet, 'step["scale"] * state', "time"),
        result=_result(sheet, "state"),
    )


def _network(sheet: Sheet) -> str:
    """What the script calls the network."""
    if sheet.family == "unet2d":
        return "unet"
    return "pipe.unet" if sheet.family in ("sd", "sdxl") else "pipe.transformer"


def _output(sheet: Sheet, state: str, time: str) -> str:
    if sheet.family != "unet2d":
        return f"predicted(pipe, {state}, {time}, told)"
    labels = ", class_labels=torch.tensor(labels)" if sheet.labels is not None else ""
    return f"unet({state}, {time}{labels}).sample"


def _result(sheet: Sheet, samples: str) -> str:
    return samples if sheet.family == "unet2d" else f"decoded(pipe, {samples})"


def _count(sheet: Sheet) -> str:
    return "count" if sheet.kind == "count" else f"len({sheet.kind})"


def _steps(usage: Usage) -> str:
    """The formula's numbers as a constant, one step after the other."""
    lines = [
        "",
        "# What the network is told; x0, noise and the next state as sums: (of state, of output), (of x0, of noise).",
        "STEPS = [",
    ]
    for number, step in enumerate(usage.steps):
        lines.append("    {")
        for name in ("time", "scale", "x0", "noise", "next"):
            lines.append(f'        "{name}": {getattr(step, name)!r},')
        if usage.networks:
            lines.append(f'        "network": {usage.networks[number]},')
        if usage.integrals:
            ends = astuple(usage.integrals[number])
            lines.append(f'        "ends": {ends!r},')
        lines.append("    },")
    return "\n".join([*lines, "]", ""])
