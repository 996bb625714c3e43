"""From a recipe's words to the objects they name: method, settings, teacher, data, run, finished student."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import torch

from backend import checkpoints, stores, train
from backend.contract.checked import Finding
from backend.contract.errors import UserError, about, unknown
from backend.contract.files import content_hash, files_folder
from backend.contract.project_file import ProjectFile
from backend.contract.recipe import Recipe, RecipeError, Training
from backend.contract.settings import Settings, problems
from backend.datasets import DataError, ImageSet, captions_of, latents, load_data
from backend.datasets.latents import Report
from backend.methods import Method, load_method, method_names
from backend.networks import Denoiser, Guided
from backend.networks.adapters import adapted, own_state, with_adapters
from backend.networks.codec import Identity
from backend.noise import Path
from backend.picture_files.usable import refuse_classes, without_captions
from backend.samplers import Sampler
from backend.teachers import Data, Teacher, load_teacher
from backend.teachers.prompt_lists import file_named, named

CPU = torch.device("cpu")
SAME_LEVEL = 1e-3
"""By how much two times may differ and still be the same start."""


def find_method(name: str) -> Method[Any, Any]:
    """The method of that name. Raises `RecipeError` where there is none, or its file does not load."""
    if name not in method_names():
        raise RecipeError(unknown("method", name, method_names()))
    try:
        return load_method(name)
    except Exception as error:  # a person's own file, which may raise anything
        raise RecipeError(
            f"The method {name} does not load ({type(error).__name__}: {error}); mend its file."
        ) from error


def method_of(recipe: Recipe) -> tuple[Method[Any, Any], Settings]:
    """The recipe's method and its validated settings. Raises `RecipeError` with a sentence for each problem."""
    method = find_method(recipe.method)
    wrong = problems(method.settings, recipe.settings)
    if wrong:
        raise RecipeError(" ".join(wrong))
    return method, method.settings.model_validate(recipe.settings)


def data_of(
    recipe: Recipe,
    method: Method[Any, Any],
    settings: Settings,
    teacher: Teacher,
    device: torch.device = CPU,
    few: int = 0,
    report: Report = lambda done, of: None,
) -> Data | None:
    """The recipe's real data, or what goes with the teacher; None where the method needs none.

    Its labels are the teacher's. What a codec makes of pictures is made on `device` and kept (`latents`); for a trial
    of `few` pictures alone. report: told how many are encoded. Raises `RecipeError` where data is needed and not named,
    `DataError` where it does not fit.
    """
    if "real data" not in method.needs(settings):
        return None
    where = recipe.data or teacher.data
    if where is None:
        raise RecipeError(f"{method.title} needs real data with these settings; name a data set or an image folder.")
    if teacher.draws is not None and where == teacher.data:
        return teacher.draws
    captioned = bool(teacher.prompts)
    if isinstance(teacher.codec, Identity):
        return _with_labels_of(teacher, load_data(where, teacher.data_shape, captioned), where)
    with latents.source_of(where, teacher.data_shape, captioned) as source:
        if few:
            data = latents.few_latents(source, teacher.codec, device, few)
        else:
            data = latents.kept_latents(source, teacher.codec, device, report)
    return _with_labels_of(teacher, data, where)


def left_out(recipe: Recipe, teacher: Teacher, data: Data | None) -> list[Finding]:
    """What of the recipe's data and prompts is not used, counted: a sentence for each of the two that has such."""
    found = []
    if isinstance(data, ImageSet) and (words := data.skipped_in_words()):
        found.append(Finding("data", f"Of {recipe.data or teacher.data}, {words}."))
    if recipe.prompts and teacher.prompts and (words := file_named(recipe.prompts).skipped_in_words()):
        found.append(Finding("prompts", f"Of {recipe.prompts}, {words}."))
    return found


def asked_for_captions(
    recipe: Recipe,
    method: Method[Any, Any],
    settings: Settings,
    teacher: Teacher,
    report: Report = lambda done, of: None,
    device: torch.device = CPU,
) -> Teacher:
    """The teacher, with the captions of the recipe's real data among its prompts if it takes any.

    They are all of its prompts, unless the recipe names some. report: told how many are encoded, device: by which.
    Raises `DataError` where the data cannot be read.
    """
    where = recipe.data or teacher.data
    if not (teacher.prompts and where and teacher.folder and "real data" in method.needs(settings)):
        return teacher
    captions = captions_of(where)
    if set(captions) <= set(teacher.prompts):
        return teacher
    # Imported here because they need transformers, which takes seconds.
    from backend.teachers.layouts import layout  # noqa: PLC0415
    from backend.teachers.prompts import Where, embed  # noqa: PLC0415

    own = teacher.prompts if recipe.prompts else ()
    prompts = tuple(dict.fromkeys([*own, *captions]))
    made = embed(layout(teacher.folder), prompts, report, Where.of(device))
    return replace(teacher, prompts=prompts, embedded=made.cond)


def _with_labels_of(teacher: Teacher, data: ImageSet, where: str) -> ImageSet:
    """The data with each class or caption under the number by which the teacher knows it."""
    if teacher.prompts:
        if not data.captions:
            raise without_captions(where)
        places = {prompt: number for number, prompt in enumerate(teacher.prompts)}
        return data.labelled(torch.tensor([places[words] for words in data.captions])[data.labels], teacher.prompts)
    if not teacher.labels or data.names == teacher.labels:
        return data
    refuse_classes(where, data.names, teacher.labels)
    numbers = torch.tensor([teacher.labels.index(name) for name in data.names])
    return data.labelled(numbers[data.labels], teacher.labels)


def device_of(name: str) -> torch.device:
    """The torch device a recipe names. Raises `RecipeError` where this machine has none of it."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if (name == "cuda" and not torch.cuda.is_available()) or (name == "mps" and not torch.backends.mps.is_available()):
        raise RecipeError(f"This machine has no {name} device that torch can use; choose cpu or auto.")
    return torch.device(name)


def teacher_of(
    recipe: Recipe,
    report: Report = lambda done, of: None,
    prompts: Sequence[str] | None = None,
    device: torch.device = CPU,
) -> Teacher:
    """The recipe's teacher with its prompts, whose networks to train are of the kind that the recipe asks for.

    report: told how many prompts are encoded, device: by which. prompts: in place of the recipe's. Raises
    `TeacherError`, and `DataError` for prompts that cannot be read.
    """
    if prompts is None and recipe.prompts:
        with about("prompts"):
            prompts = named(recipe.prompts)
    with about("teacher"):
        teacher, student = load_teacher(recipe.teacher, recipe.training.seed, prompts, report, device), recipe.student

    def lora() -> Denoiser:
        with about("student.rank"):
            return with_adapters(base, student.rank)

    if "lora" in (student.kind, student.fake_score):
        with about("student.kind"):
            base = teacher.feature_network()
    full = teacher.trainable
    return replace(
        teacher,
        trainable=lora if student.kind == "lora" else full,
        auxiliary=lora if student.fake_score == "lora" else full,
    )


def pair_source(
    recipe: Recipe, method: Method[Any, Any], settings: Settings, teacher: Teacher, project: ProjectFile | None
) -> stores.Source:
    """Whose pairs the recipe asks for. Raises `RecipeError` where they are of a start that it does not have."""
    first_level = method.pair_level(settings, teacher.denoiser)
    if recipe.pairs.source == "teacher":
        scale = getattr(settings, "guidance_scale", 1.0)
        return stores.Source(Guided(teacher.denoiser, scale), teacher, teacher.digest, first_level, scale)
    start = recipe.student.start_checkpoint()
    if start is None or project is None:
        with about("pairs.source"):
            raise RecipeError(
                "pairs.source is start, and the recipe starts from no other run; set student.start, or teacher."
            )
    with about("student.start"):
        earlier = load_student(project, *start)
    digest = content_hash(project.checkpoint_path(project.find_checkpoint(*start)))
    return stores.Source(earlier.denoiser, teacher, digest, first_level)


def start_run(
    recipe: Recipe,
    project: ProjectFile | None = None,
    report: Report = lambda made, of: None,
    encoding: Report = lambda done, of: None,
    reading: Report = lambda done, of: None,
) -> train.Run:
    """A run before its first step, from its recipe alone.

    project: where the recipe's start, another run's student, is looked up, and beside which pairs are kept.
    report: told how many pairs are made, and of how many; encoding: the same of real pictures, reading: of
    prompts. Raises `RecipeError`,
    `TeacherError`, `DataError`, `CheckpointError` or `ProjectFileError` for what a person can mend.
    """
    method, settings = method_of(recipe)
    device = device_of(recipe.training.device)
    teacher = asked_for_captions(recipe, method, settings, teacher_of(recipe, reading, device=device), reading, device)
    data = data_of(recipe, method, settings, teacher, device, report=encoding)
    pairs = None
    if "pairs" in method.needs(settings):
        source = pair_source(recipe, method, settings, teacher, project)
        source.teacher.denoiser.to(device)
        folder = files_folder(project.path) / "stores" if project else None
        pairs = (
            stores.kept(source, recipe.pairs, folder, device, report)
            if folder
            else stores.make(source, recipe.pairs, device)
        )
    return assemble(recipe, method, settings, teacher, data, device, project, pairs)


def assemble(
    recipe: Recipe,
    method: Method[Any, Any],
    settings: Settings,
    teacher: Teacher,
    data: Data | None,
    device: torch.device,
    project: ProjectFile | None,
    pairs: stores.PairStore | None = None,
) -> train.Run:
    """As `start_run`, of parts that were found before."""
    run = _begun(method, settings, recipe.training, teacher, data, device, pairs)
    start = recipe.student.start_checkpoint()
    if start is not None:
        with about("student.start"):
            if project is None:
                raise RecipeError("The recipe starts from another run, so it must be run in that run's project.")
            start_from(run, load_student(project, *start))
    return run


def _begun(
    method: Method[Any, Any],
    settings: Settings,
    training: Training,
    teacher: Teacher,
    data: Data | None,
    device: torch.device,
    pairs: stores.PairStore | None,
) -> train.Run:
    """`train.start`; what it refuses is said to be of the values that it looks at before, in and after `build`."""
    whole = training.accumulation > 1 and not method.accumulates(settings)
    doubted = "training.accumulation" if whole else "training.precision"

    def build(*given: Any) -> Any:
        nonlocal doubted
        with about("settings"):
            nets = method.build(*given)
        doubted = "training.gradient_checkpointing"
        return nets

    try:
        run = train.start(replace(method, build=build), settings, training, teacher, data, device, pairs)
    except UserError as error:
        error.field = error.field or doubted
        raise
    run.method = method
    return run


def start_from(run: train.Run, earlier: "Student") -> None:
    """Put another run's student where the teacher's weights were. Raises `RecipeError` where it is of another kind."""
    name, ours, theirs = f"Run {earlier.run}'s student", run.student, earlier.denoiser
    _same_use(name, earlier.sampler, run.last_sampler)
    if bool(adapted(ours)) != bool(adapted(theirs)):
        kinds = ("adapters", "all of a network") if adapted(theirs) else ("all of a network", "adapters")
        raise RecipeError(
            f"{name} is {kinds[0]} and this run trains {kinds[1]}; change student.kind, or start from the teacher."
        )
    if _shapes(ours) != _shapes(theirs) | _numbers(ours):
        raise RecipeError(f"{name} has another architecture than this teacher; start from a run of the same teacher.")
    if ours.prediction_type != theirs.prediction_type and earlier.teacher.digest == run.teacher.digest:
        raise RecipeError(
            f"{name} predicts {theirs.prediction_type} and this run's student {ours.prediction_type}: one of them was "
            "converted; start from a run without conversion_share, or from the teacher."
        )
    if ours.prediction_type != theirs.prediction_type or not _same_path(ours.path, theirs.path):
        raise RecipeError(
            f"{name} predicts {theirs.prediction_type} on {type(theirs.path).__name__} noise and this teacher "
            f"{ours.prediction_type} on {type(ours.path).__name__}; start from a run of the same teacher."
        )
    _same_base(name, earlier, run)
    # The base under adapters is the teacher's own tensors, which nothing may be written into.
    state = own_state(theirs)
    for net in (run.student, run.average, *(getattr(run.nets, name) for name in run.method.followers)):
        net.load_state_dict(state, strict=False)


def _same_base(name: str, earlier: "Student", run: train.Run) -> None:
    """Refuse adapters that were trained on other weights than those they would be put on: they mean nothing there."""
    if not adapted(run.student):
        return
    ours, theirs = _base(run.student), _base(earlier.denoiser)
    if ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key].to(ours[key])) for key in ours):
        return
    if earlier.teacher.digest == run.teacher.digest:  # a closed form, for which a network stands in
        seed = earlier.recipe.training.seed
        raise RecipeError(
            f"{name} is adapters on the network that seed {seed} gives this teacher; set training.seed to {seed}, "
            "or start from the teacher."
        )
    raise RecipeError(
        f"{name} is adapters on another teacher's weights, {earlier.recipe.teacher}; start from a run of the same "
        "teacher, or from the teacher."
    )


def _base(net: Denoiser) -> dict[str, torch.Tensor]:
    """What a network with adapters shares with the one under it, by name."""
    own = own_state(net)
    return {name: tensor for name, tensor in net.state_dict().items() if name not in own}


def _numbers(net: Denoiser) -> dict[str, torch.Size]:
    """What embeds the numbers that only this student is told: nothing at first, so any student can be its start."""
    return {name: shape for name, shape in _shapes(net).items() if ".numbers." in name}


def _same_use(name: str, earlier: Sampler, later: Sampler) -> None:
    """Refuse a start that is sampled otherwise; a student of one step is sampled alike by both kinds.

    Nor may this method's first step be at a noise that the start has not learnt: one of several steps knows all of it
    below its own first, one of a single step that alone.
    """
    if earlier.kind != later.kind and min(earlier.nfe, later.nfe) > 1:
        raise RecipeError(
            f"{name} is sampled by {earlier.kind} steps and this method's by {later.kind} ones; "
            "start from a run that is sampled alike."
        )
    had, wanted = earlier.levels[0], later.levels[0]
    if wanted > had + SAME_LEVEL or (earlier.nfe == 1 and wanted < had - SAME_LEVEL):
        raise RecipeError(
            f"{name} starts at time {had:.4g} and this method's would at {wanted:.4g}; set first_level to {had:.4g}, "
            "or start from a run that starts alike."
        )


def _shapes(net: Denoiser) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in net.state_dict().items()}


def _same_path(one: Path, other: Path) -> bool:
    t = torch.linspace(0, 1, 65, dtype=torch.float64)
    return all(
        torch.equal(ours, theirs)
        for ours, theirs in (
            (one.alpha(t), other.alpha(t)),
            (one.sigma(t), other.sigma(t)),
            (one.network_time(t), other.network_time(t)),
        )
    )


@dataclass(frozen=True)
class Student:
    """A student as it is used: its network and sampler, and where it comes from."""

    denoiser: Denoiser
    sampler: Sampler
    teacher: Teacher
    method: Method[Any, Any]
    settings: Settings
    recipe: Recipe
    run: int
    step: int

    @classmethod
    def of(cls, run: train.Run, recipe: Recipe) -> "Student":
        """That of a run, of this recipe, which is no project's and therefore has no number."""
        parts = (run.exported, run.last_sampler, run.teacher, run.method, run.settings)
        return cls(*parts, recipe, run=0, step=run.step)


def load_student(
    project: ProjectFile, run: int, which: str = "last", weights: str = "", prompts: Sequence[str] | None = None
) -> Student:
    """The student of a run at a checkpoint: "last", "best" or a step.

    weights: "average" or "student" (raw); by default the average where one was kept. prompts: which its teacher is
    asked for, in place of those it learnt from. Raises like `start_run`, and
    `ProjectFileError` where there is no such run or checkpoint.
    """
    recipe = project.recipe(run)
    checkpoint = project.find_checkpoint(run, which)
    method, settings = method_of(recipe)
    device = CPU
    with suppress(RecipeError):  # where the device of its training is, prompts are kept as that encoded them
        device = device_of(recipe.training.device)
    try:
        teacher = teacher_of(recipe, prompts=prompts, device=device)
    except DataError:  # a student outlives the prompts it learnt from, and is then shown by the teacher's own
        teacher = teacher_of(recipe.model_copy(update={"prompts": None}), device=device)
    if prompts is None:
        with suppress(DataError):  # and the pictures
            teacher = asked_for_captions(recipe, method, settings, teacher, device=device)
    net = method.new_student(teacher, settings)
    weights = weights or ("average" if recipe.training.ema_decay else "student")
    step = checkpoints.load_network(net, project.checkpoint_path(checkpoint), weights)
    sampler = method.sampler_after(step, recipe.training.steps, settings, net)
    return Student(net.frozen(), sampler, teacher, method, settings, recipe, run, step)
