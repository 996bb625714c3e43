"""What the backend offers on this machine, as data: the catalogue that the window and the command line show."""

import importlib.metadata
from typing import Any, get_args

import psutil
import torch

from backend.assembly import find_method
from backend.contract.catalogue import (
    BrokenMethod,
    Catalogue,
    DataCard,
    Device,
    Lacking,
    MethodCard,
    PresetCard,
    TeacherCard,
)
from backend.contract.errors import UserError
from backend.contract.settings import Settings
from backend.methods import Method, load_method, method_names
from backend.networks import Denoiser
from backend.networks.mlp import MLP
from backend.noise import FlowMatching
from backend.preflight import guidance_problems
from backend.teachers import BUNDLED, Teacher, TeacherError, load_teacher, quick
from backend.teachers.quick import sorted_for

LACKING: tuple[Lacking, ...] = get_args(Lacking)


def version() -> str:
    """The installed version of this program."""
    return importlib.metadata.version("distill-studio")


def method_card(key: str, method: Method[Any, Any]) -> MethodCard:
    """A method as data, with the cost of its defaults."""
    defaults = method.settings()
    schema = method.settings.model_json_schema()
    cost = method.cost(defaults)
    return MethodCard(
        key=key,
        title=method.title,
        paper=method.paper,
        summary=method.summary + (f" {method.notes}" if method.notes else ""),
        settings=schema,
        defaults={**defaults.model_dump(mode="json"), "training": dict(method.training)},
        needs=method.needs(defaults),
        family=method.family,
        needs_when=_needs_when(method),
        refuses=_refuses(method),
        cost_words=f"{cost:g} forwards of the teacher per step and sample, with the defaults",
        cost=cost,
        presets=tuple(_preset_card(name, method) for name in method.presets),
    )


def _needs_when(method: Method[Any, Any]) -> dict[str, tuple[str, ...]]:
    """What each setting that is left out with 0 brings along where it is not, found by trying."""
    defaults = method.settings()
    found: dict[str, tuple[str, ...]] = {}
    for name, field in method.settings.model_fields.items():
        if field.default == 0 and not isinstance(field.default, bool):
            brought = method.needs(defaults.model_copy(update={name: 1}))
            more = tuple(need for need in brought if need not in method.needs(defaults))
            found |= {name: more} if more else {}
    return found


def _refuses(method: Method[Any, Any]) -> tuple[Lacking, ...]:
    """What a teacher may not lack for the method's defaults, found by trying on teachers of a few numbers.

    They are too coarse to be differentiated exactly, which is not what they lack.
    """
    defaults = method.settings()
    if "derivative" in method.settings.model_fields:
        defaults = defaults.model_copy(update={"derivative": "differences"})
    return tuple(lacking for lacking in LACKING if _refuses_one(method, defaults, _without(lacking)))


def _refuses_one(method: Method[Any, Any], settings: Settings, teacher: Teacher) -> bool:
    if guidance_problems(method, settings, teacher):
        return True
    try:
        with torch.random.fork_rng(devices=[]):
            method.build(teacher, settings)
    except UserError:
        return True
    return False


def _without(lacking: Lacking) -> Teacher:
    """The smallest teacher that lacks this, in the plane."""
    labels = tuple("0123456789") if lacking == "unconditional mode" else ()
    network = MLP(width=8, depth=2, classes=len(labels))
    network.null_label = None
    net = Denoiser(network, FlowMatching(), "flow").frozen()
    return Teacher("", "", net, net.copy, "", labels)


def _preset_card(name: str, method: Method[Any, Any]) -> PresetCard:
    preset = method.presets[name]
    settings = method.settings.model_validate(preset.settings)
    return PresetCard(
        key=name,
        title=preset.title,
        words=preset.words,
        settings=dict(preset.settings),
        training=dict(preset.training),
        student=dict(preset.student),
        needs=method.needs(settings),
        cost=method.cost(settings),
    )


def methods() -> tuple[tuple[MethodCard, ...], tuple[BrokenMethod, ...]]:
    """Every method, and by name with its error every one whose file does not load."""
    cards, broken = [], []
    for key in method_names():
        try:
            cards.append(method_card(key, load_method(key)))
        except Exception as error:  # a person's own file, which may raise anything
            broken.append(BrokenMethod(key=key, error=f"{type(error).__name__}: {error}"))
    return tuple(cards), tuple(broken)


def method(name: str) -> MethodCard:
    """The method of that name. Raises `RecipeError` where there is none, or its file does not load."""
    return method_card(name, find_method(name))


def bundled_teachers() -> tuple[TeacherCard, ...]:
    """The teachers that come with the program; one that is damaged says so in its `problem`."""
    mixture = TeacherCard(
        key="mixture-2d",
        title="Ring of eight Gaussians",
        summary="A 2-D mixture whose score is known in closed form at every noise level of every path.",
        source="mathematics",
        shape=(2,),
        path="any (mixture-2d:edm, :epsilon, :v_prediction, :sample, :flow, :trigonometric)",
        prediction_type="any",
        data="mixture-2d",
        licence="none needed",
    )
    cards = [mixture]
    for key in BUNDLED:
        try:
            cards.append(quick.card(key))
        except TeacherError as error:
            cards.append(TeacherCard(key=key, title=key, summary="", source="bundled", problem=str(error)))
    return tuple(cards)


def teacher_card(where: str) -> TeacherCard:
    """The bundled teacher of that name or the one in a diffusers folder, without reading its weights.

    Raises `TeacherError` where it cannot be used.
    """
    if where.partition(":")[0] != "mixture-2d":
        return quick.card(where)
    teacher = load_teacher(where)
    net = teacher.denoiser
    about = {"key": where, "title": teacher.title, "path": type(net.path).__name__, "data": teacher.data}
    return bundled_teachers()[0].model_copy(update={**about, "prediction_type": net.prediction_type})


def methods_for(teacher: TeacherCard) -> dict[str, list[str]]:
    """The methods that can use a teacher, by name: as it is, and with real data that a person brings."""
    return sorted_for(teacher, methods()[0])


def devices() -> tuple[Device, ...]:
    """What there is to train on, the fastest first."""
    found = []
    for i in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(i)
        formats = ("float32", "bfloat16") if torch.cuda.is_bf16_supported() else ("float32",)
        found.append(
            Device(key=f"cuda:{i}", kind="cuda", name=about.name, memory=about.total_memory, precisions=formats)
        )
    if torch.backends.mps.is_available():
        found.append(Device(key="mps", kind="mps", name="Apple GPU", memory=psutil.virtual_memory().total))
    threads = torch.get_num_threads()
    name = f"{threads} threads" if threads != 1 else "1 thread"
    found.append(Device(key="cpu", kind="cpu", name=name, memory=psutil.virtual_memory().total))
    return tuple(found)


def catalogue() -> Catalogue:
    """Everything the backend offers."""
    good, broken = methods()
    data = (
        DataCard(key="digits", title="Digits", summary="1,400 handwritten digits, 16x16, with labels"),
        DataCard(key="emoji", title="Emoji", summary="1,392 pictures in colour, 64x64, with their names as captions"),
    )
    return Catalogue(
        version=version(),
        methods=good,
        broken_methods=broken,
        teachers=bundled_teachers(),
        data=data,
        devices=devices(),
    )
