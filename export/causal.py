"""From bidirectional to causal, in closed form (DESIGN §5, steps 1 and 2).

`drop` keeps the forward directions and throws the rest away. `fold` then refits every linear map that used to read
[forward; backward], layer by layer, by ridge regression on calibration sounds: each map of the causal student learns to
give the teacher's own pre-activations from the student's own activations; the decoder's last map learns the data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.features import Spectra
from training.models.latents import Latents, tiled
from training.models.perturbation import GaussianHead, PerturbationVAE
from training.recurrent import RecurrentStack

RIDGE = 1e-4  # times the mean power of the inputs


@dataclass(frozen=True)
class _Pass:
    """One batch's way through a stack: what each layer gave, and what the last one was told beside."""

    layers: list[Tensor]  # outputs, (batch, frames, width), one per layer
    condition: Tensor | None


def drop(model: PerturbationVAE) -> PerturbationVAE:
    """The causal model made of the forward halves alone."""
    student = PerturbationVAE(dataclasses.replace(model.config, bidirectional=False))
    weights = model.state_dict()
    for name, target in student.state_dict().items():
        target.copy_(_forward_half(weights[name], target))
    return student.eval()


def _forward_half(source: Tensor, target: Tensor) -> Tensor:
    """Columns that read the forward half (they come first), and those that read the condition (they come last)."""
    if source.shape == target.shape:
        return source
    missing = source.shape[1] - target.shape[1]  # the width of the backward half
    condition = target.shape[1] - missing
    return torch.cat([source[:, :missing], source[:, source.shape[1] - condition :]], dim=1)


@torch.no_grad()
def fold(model: PerturbationVAE, sounds: Sequence[Spectra]) -> PerturbationVAE:
    """The causal model, refitted.  sounds : batches of calibration spectra."""
    teacher, student = model.eval(), drop(model)
    masks = [sound.sounding for sound in sounds]
    theirs = [teacher.encode(sound.envelope, sound.fine, sound.sounding).latents for sound in sounds]
    ours = [Latents() for _ in sounds]
    for name in model.latent_sizes:
        inputs = [sound.fine if name == "pitch" else teacher.envelope_input(sound.envelope) for sound in sounds]
        told_theirs, told_ours = (
            [_joined(z, model.conditions(name), mask.shape[1]) for z, mask in zip(known, masks, strict=True)] for known in (theirs, ours)
        )
        passes = _fold_stack(teacher.stack(name), student.stack(name), inputs, inputs, told_theirs, told_ours, masks)
        _fold_head(teacher.head(name), student.head(name), passes, masks)
        for known, (_, way), mask in zip(ours, passes, masks, strict=True):
            known[name] = _latent(student, name, way.layers[-1], mask)
    nothing = [None] * len(sounds)
    theirs_in, ours_in = (
        [_joined(z, tuple(model.latent_sizes), mask.shape[1]) for z, mask in zip(known, masks, strict=True)] for known in (theirs, ours)
    )
    passes = _fold_stack(teacher.decoder_stack, student.decoder_stack, _present(theirs_in), _present(ours_in), nothing, nothing, masks)
    assign(student.output, *ridge([way.layers[-1] for _, way in passes], [sound.log_amplitude for sound in sounds], masks))
    return student


def _joined(z: Latents, names: tuple[str, ...], frames: int) -> Tensor | None:
    """These latents side by side, per frame."""
    return torch.cat([tiled(z[name], frames) for name in names], -1) if names else None


def _present(values: Sequence[Tensor | None]) -> list[Tensor]:
    return [value for value in values if value is not None]


def _fold_stack(
    teacher: RecurrentStack,
    student: RecurrentStack,
    teacher_inputs: Sequence[Tensor],
    student_inputs: Sequence[Tensor],
    teacher_conditions: Sequence[Tensor | None],
    student_conditions: Sequence[Tensor | None],
    masks: Sequence[Tensor],
) -> list[tuple[_Pass, _Pass]]:
    """Refit the input maps of a stack from its second layer on (its first too, where the inputs differ)."""
    passes = [
        (_Pass([x], a), _Pass([y], b)) for x, y, a, b in zip(teacher_inputs, student_inputs, teacher_conditions, student_conditions, strict=True)
    ]
    same_inputs = all(x is y for x, y in zip(teacher_inputs, student_inputs, strict=True))
    references = single_layers(teacher)
    for i, (reference, (weight, bias)) in enumerate(zip(references, _layer_parameters(student), strict=True)):
        last = i == len(references) - 1
        if i or not same_inputs:
            rows = [(_read(a, last), _read(b, last)) for a, b in passes]
            forward = reference.get_parameter("weight_ih_l0"), reference.get_parameter("bias_ih_l0")
            wanted = [nn.functional.linear(x, *forward) for x, _ in rows]
            new_weight, new_bias = ridge([y for _, y in rows], wanted, masks)
            weight.copy_(new_weight)
            bias.copy_(new_bias)
        refitted = single_layers(student)[i]
        for a, b in passes:
            a.layers.append(reference(_read(a, last))[0])
            b.layers.append(refitted(_read(b, last))[0])
    return passes


def _read(way: _Pass, last: bool) -> Tensor:
    """What the next layer reads: the last output, and the condition if it is the last layer."""
    return torch.cat([way.layers[-1], way.condition], -1) if last and way.condition is not None else way.layers[-1]


def single_layers(stack: RecurrentStack) -> list[nn.GRU]:
    """The stack's layers as GRUs of one layer each (copies)."""
    layers = []
    for gru in (stack.body, stack.head):
        for layer in range(gru.num_layers):
            single = nn.GRU(getattr(gru, f"weight_ih_l{layer}").shape[1], gru.hidden_size, batch_first=True, bidirectional=gru.bidirectional)
            renamed = {name: getattr(gru, name.replace("_l0", f"_l{layer}")) for name, _ in single.named_parameters()}
            single.load_state_dict({name: value.detach() for name, value in renamed.items()})
            layers.append(single)
    return layers


def _layer_parameters(stack: RecurrentStack) -> list[tuple[Tensor, Tensor]]:
    """Each layer's input map, to be written in place."""
    body = [(getattr(stack.body, f"weight_ih_l{i}"), getattr(stack.body, f"bias_ih_l{i}")) for i in range(stack.body.num_layers)]
    return [*body, (stack.head.weight_ih_l0, stack.head.bias_ih_l0)]


def _fold_head(teacher: GaussianHead, student: GaussianHead, passes: Sequence[tuple[_Pass, _Pass]], masks: Sequence[Tensor]) -> None:
    """Mean and variance maps, frame by frame; averaging over time commutes with them."""
    theirs, ours = [a.layers[-1] for a, _ in passes], [b.layers[-1] for _, b in passes]
    for name in ("mean", "variance"):
        reference: nn.Linear = getattr(teacher, name)
        assign(getattr(student, name), *ridge(ours, [reference(h) for h in theirs], masks))


def _latent(student: PerturbationVAE, name: str, h: Tensor, mask: Tensor) -> Tensor:
    """The student's latent means of whole sounds."""
    head = student.head(name).mean
    if name == "timbre":
        weight = mask[..., None].to(h.dtype)
        return head((h * weight).sum(1) / weight.sum(1).clamp_min(1))
    return student.centre(head(h), mask) if name == "variation" else head(h)


def ridge(inputs: Sequence[Tensor], targets: Sequence[Tensor], masks: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Weight (out, in) and bias (out,) that give `targets` from `inputs` on the frames that count, in least squares."""
    width = inputs[0].shape[-1] + 1
    gram = torch.zeros(width, width, dtype=torch.float64)
    cross = torch.zeros(width, targets[0].shape[-1], dtype=torch.float64)
    for x, y, mask in zip(inputs, targets, masks, strict=True):
        rows = nn.functional.pad(x[mask].double(), (0, 1), value=1.0)
        gram += rows.T @ rows
        cross += rows.T @ y[mask].double()
    penalty = torch.full((width,), RIDGE * float(gram.diagonal()[:-1].mean()), dtype=torch.float64)
    penalty[-1] = 0
    solution = torch.linalg.solve(gram + penalty.diag(), cross)
    return solution[:-1].T.float(), solution[-1].float()


def assign(linear: nn.Linear, weight: Tensor, bias: Tensor) -> None:
    linear.weight.copy_(weight)
    linear.bias.copy_(bias)
