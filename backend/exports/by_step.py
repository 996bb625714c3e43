"""A student whose network is not the same at every step, as networks of diffusers and what each step has of its own.

There are three kinds. One is told where each step ends: what that adds to the embedding of the time is a constant of
the step, which lies in `steps.safetensors`. One was trained in phases: its further networks lie beside the first, as
`unet_2` and so on. One answers with a velocity for a whole step (ArcFlow): the layers by which it does lie in
`momentum.safetensors`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from backend.exports import ExportError
from backend.exports.usage import Integral, LastLayer, Usage, usage_of
from backend.flow import flow_scale, flow_time
from backend.networks import Condition, Denoiser
from backend.networks.experts import Experts
from backend.networks.momentum import Momentum, last_layer_name
from backend.networks.told import module_of
from backend.samplers import Sampler, end_of_step, told

STEPS, MOMENTUM = "steps.safetensors", "momentum.safetensors"


@dataclass(frozen=True)
class ByStep:
    """student: with the first step's network, which is one of diffusers. why: it is not all there is, a clause; empty
    where it is.

    own: of a student that is told where its steps end, the weights of its network that each step has for itself, by
    STEP.NAME. others: further networks; networks: the number of each step's own, 0 for the student's.
    momentum: the layers that make a mixture of velocities, by their names; integrals: the ends of each step for it.
    last: the name of the layer whose input they see.
    """

    student: Denoiser
    why: str = ""
    own: Mapping[str, Tensor] | None = None
    others: tuple[nn.Module, ...] = ()
    networks: tuple[int, ...] = ()
    momentum: Mapping[str, Tensor] | None = None
    integrals: tuple[Integral, ...] = ()
    last: LastLayer = ""

    def usage(self, sampler: Sampler, untouched: bool = False) -> tuple[Usage, nn.Module]:
        """As `usage_of`; the steps are spelt out where the student's network is not all there is."""
        usage, module = usage_of(self.student, sampler, untouched)
        if not self.why:
            return usage, module
        spelt_out = replace(
            usage,
            form="momentum" if self.integrals else "formula",
            note=self.why,
            changes=self.own is not None,
            networks=self.networks,
            integrals=self.integrals,
            last=self.last,
        )
        return spelt_out, module_of(self.student.network)


def first_network(network: nn.Module) -> nn.Module:
    """The network, or of several, or of one with more than diffusers knows, the one that it is built on."""
    if isinstance(network, Experts):
        return network.experts[0]
    return network.base if isinstance(network, Momentum) else network


def by_step(student: Denoiser, sampler: Sampler) -> ByStep:
    """Takes `student` apart, whose modules become the parts' own. Raises `ExportError` where diffusers has no place for
    what it is told."""
    network = student.network
    if isinstance(network, Experts):
        times = student.path.network_time(torch.tensor(sampler.levels, dtype=torch.float64))
        networks = tuple(int((time < network.starts).sum()) for time in times)
        others, why = tuple(network.experts[1:]), f"the student is {len(network.experts)} networks"
        return ByStep(_with_network(student), why, others=others, networks=networks)
    if isinstance(network, Momentum):
        own = {name: tensor.detach() for name, tensor in network.profile.state_dict().items()}
        return ByStep(
            _with_network(student),
            "each evaluation gives a velocity for a whole step, which is integrated",
            momentum={**own, "first_rates": network.first_rates, "most_rate": torch.tensor(network.most_rate)},
            integrals=_integrals(student, sampler),
            last=last_layer_name(network.base),  # type: ignore[arg-type]
        )
    return _folded(student, sampler)


def _with_network(student: Denoiser) -> Denoiser:
    return Denoiser(first_network(student.network), student.path, student.prediction_type, student.sigma_data).eval()


def _integrals(student: Denoiser, sampler: Sampler) -> tuple[Integral, ...]:
    path, found = student.path, []
    for level, after in zip(sampler.levels, (*sampler.levels[1:], 0.0), strict=True):
        t, s = (torch.tensor([time], dtype=torch.float64) for time in (level, after))
        start, end = path.level(t), end_of_step(path, s)
        found.append(Integral(*(float(f(at)) for f in (flow_time, flow_scale) for at in (start, end))))
    return tuple(found)


def refuse(student: Denoiser, sampler: Sampler) -> None:
    """Raises `ExportError` where diffusers' network has no place for what the student is told."""
    _biases(student, sampler)


def _folded(student: Denoiser, sampler: Sampler) -> ByStep:
    """The student without the numbers it is told, which are constants of each step: the time embedding's bias takes up
    what they add."""
    if not student.inputs:
        return ByStep(student)
    each, network = _biases(student, sampler), module_of(student.network)
    student.network.without_numbers()  # type: ignore[operator]
    network.load_state_dict(each[0], strict=False)
    if all(torch.equal(bias, each[0][name]) for biases in each for name, bias in biases.items()):
        return ByStep(student)
    own = {f"{k}.{name}": bias for k, biases in enumerate(each) for name, bias in biases.items()}
    return ByStep(student, "the student is told where each step ends", own)


def _biases(student: Denoiser, sampler: Sampler) -> list[Mapping[str, Tensor]]:
    """Of each step the time embedding's bias with what the student is told then put in, by its name."""
    if not student.inputs:
        return []
    like = torch.zeros(1, *student.shape)
    each = [told(student, sampler, k, Condition.none(1), like).parts for k in range(sampler.nfe)]
    wrong = next((name for name in student.inputs if name not in each[0]), student.inputs[0]).replace("_", " ")
    network: Any = student.network
    try:
        return [network.folded_biases({name: float(parts[name]) for name in student.inputs}) for parts in each]
    except (ValueError, KeyError, AttributeError) as error:
        raise ExportError(
            f"This student is told its {wrong}, for which diffusers' network has no place; export its "
            "weights as safetensors."
        ) from error
