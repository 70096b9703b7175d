"""From bidirectional to causal, in closed form (docs/architecture.md).

`drop` keeps the forward directions and throws the rest away. `fold` then refits every linear map that used to read
[forward; backward], layer by layer, by ridge regression on calibration sounds: each map of the causal student learns to
give the teacher's own pre-activations from the student's own activations; the decoder's last map learns the data.

The teacher hears each sound as it was trained to, the student as the runtime will frame it. With a lookahead, the place
of the backward half is taken by what the same layer gives k frames later.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.features import Spectra
from training.models.latents import Latents, tiled
from training.models.perturbation import PerturbationVAE
from training.recurrent import RecurrentStack, beside_past, cumulative_mean, lengthened

RIDGE = 1e-4  # times the mean power of the inputs


@dataclass(frozen=True)
class CalibrationBatch:
    """One batch of calibration sounds.

    whole : as the original model was trained to hear it;  live : as the runtime frames it, with the running level
    """

    whole: Spectra
    live: Spectra


@dataclass
class Activations:
    """Activations of one batch as it passes through a stack of the teacher and of the student.

    teacher : (batch, frames, width);  student : (batch, frames + lookahead, width)
    teacher_condition, student_condition : what the last layer reads besides
    """

    teacher: Tensor
    student: Tensor
    teacher_condition: Tensor | None = None
    student_condition: Tensor | None = None

    def add_condition(self, lookahead: int) -> None:
        """Append what the last layer reads besides: the past with a lookahead, and the condition."""
        if lookahead:
            self.student, _ = beside_past(
                self.student, self.student.new_zeros(len(self.student), lookahead, self.student.shape[-1])
            )
        self.teacher, self.student = (
            y if condition is None else torch.cat([y, condition], -1)
            for y, condition in ((self.teacher, self.teacher_condition), (self.student, self.student_condition))
        )


def drop(model: PerturbationVAE, lookahead: int = 0) -> PerturbationVAE:
    """The causal model made of the forward halves alone; what a lookahead adds is not listened to yet."""
    student = PerturbationVAE(dataclasses.replace(model.config, bidirectional=False, lookahead=lookahead))
    weights = model.state_dict()
    stacks = tuple(f"{name}_stack.head.weight_ih" for name in model.latent_sizes)
    for name, target in student.state_dict().items():
        ahead = student.stack(name.split("_")[0]).width if lookahead and name.startswith(stacks) else 0
        target.copy_(_forward_half(weights[name], target, ahead))
    return student.eval()


def _forward_half(source: Tensor, target: Tensor, ahead: int = 0) -> Tensor:
    """Columns that read the forward half (they come first), and those that read the condition (they come last).

    ahead : so many columns between them read what comes later, and start at zero
    """
    if source.shape == target.shape and not ahead:
        return source
    missing = ahead or source.shape[1] - target.shape[1]  # the width of the backward half
    condition = target.shape[1] - missing - ahead
    return torch.cat(
        [source[:, :missing], source.new_zeros(len(source), ahead), source[:, source.shape[1] - condition :]], dim=1
    )


@torch.no_grad()
def fold(model: PerturbationVAE, sounds: Sequence[CalibrationBatch], lookahead: int = 0) -> PerturbationVAE:
    """The causal model, refitted on what it will meet when it streams, its running means among it.

    lookahead : frames later that its encoders answer
    """
    teacher, student = model.eval(), drop(model, lookahead)
    masks = [sound.live.sounding for sound in sounds]
    teacher_latents = [
        teacher.encode(sound.whole.envelope, sound.whole.fine, sound.whole.sounding).latents for sound in sounds
    ]
    student_latents = [Latents() for _ in sounds]
    for name in model.latent_sizes:
        inputs = [_input(teacher, name, sound.whole) for sound in sounds]
        live = [
            before if sound.live is sound.whole else _input(teacher, name, sound.live)
            for before, sound in zip(inputs, sounds, strict=True)
        ]
        teacher_condition = [
            _side_by_side(z, model.conditions(name), mask.shape[1])
            for z, mask in zip(teacher_latents, masks, strict=True)
        ]
        student_condition = [
            _side_by_side(z, model.conditions(name), mask.shape[1] + lookahead)
            for z, mask in zip(student_latents, masks, strict=True)
        ]
        batches = [
            Activations(x, lengthened(y, lookahead), a, b)
            for x, y, a, b in zip(inputs, live, teacher_condition, student_condition, strict=True)
        ]
        same = all(x is y for x, y in zip(inputs, live, strict=True)) and not lookahead
        late = _fold_stack(teacher.stack(name), student.stack(name), batches, masks, late=0, same_inputs=same)
        for part in ("mean", "variance"):
            reference: nn.Linear = getattr(teacher.head(name), part)
            wanted = [reference(batch.teacher) for batch in batches]
            assign(getattr(student.head(name), part), *ridge(aligned(batches, late), wanted, masks))
        for known, batch, mask in zip(student_latents, batches, masks, strict=True):
            known[name] = streamed_means(student, name, batch.student, mask)
    names = tuple(model.latent_sizes)
    batches = [
        Activations(
            _required(_side_by_side(a, names, mask.shape[1])),
            _required(_side_by_side(b, names, mask.shape[1] + lookahead)),
        )
        for a, b, mask in zip(teacher_latents, student_latents, masks, strict=True)
    ]
    late = _fold_stack(teacher.decoder_stack, student.decoder_stack, batches, masks, late=lookahead, same_inputs=False)
    assign(
        student.output,
        *ridge(aligned(batches, late), [sound.live.log_amplitude for sound in sounds], masks),
    )
    return student


def _input(model: PerturbationVAE, name: str, spectra: Spectra) -> Tensor:
    return spectra.fine if name == "pitch" else model.envelope_input(spectra.envelope)


def _side_by_side(z: Latents, names: tuple[str, ...], frames: int) -> Tensor | None:
    """These latents side by side, per frame."""
    return torch.cat([tiled(z[name], frames) for name in names], -1) if names else None


def _required(value: Tensor | None) -> Tensor:
    assert value is not None
    return value


def _fold_stack(
    teacher: RecurrentStack,
    student: RecurrentStack,
    batches: Sequence[Activations],
    masks: Sequence[Tensor],
    *,
    late: int,
    same_inputs: bool,
) -> int:
    """Refit the input maps of a stack from its second layer on, its first too where the inputs differ. `batches` then
    hold the outputs.

    late : frames that the student's inputs are later than the teacher's

    Returns
    -------
    int : frames that its outputs are later
    """
    references = single_layers(teacher)
    for i, (reference, (weight, bias)) in enumerate(zip(references, _layer_parameters(student), strict=True)):
        if i == len(references) - 1:
            late += student.lookahead
            for batch in batches:
                batch.add_condition(student.lookahead)
        if i or not same_inputs:
            forward = reference.get_parameter("weight_ih_l0"), reference.get_parameter("bias_ih_l0")
            wanted = [nn.functional.linear(batch.teacher, *forward) for batch in batches]
            new_weight, new_bias = ridge(aligned(batches, late), wanted, masks)
            weight.copy_(new_weight)
            bias.copy_(new_bias)
        refitted = single_layers(student)[i]
        for batch in batches:
            batch.teacher, batch.student = reference(batch.teacher)[0], refitted(batch.student)[0]
    return late


def aligned(batches: Sequence[Activations], late: int) -> list[Tensor]:
    """The student's activations about the teacher's frames, per batch."""
    return [batch.student[:, late : late + batch.teacher.shape[1]] for batch in batches]


def single_layers(stack: RecurrentStack) -> list[nn.GRU]:
    """The stack's layers as GRUs of one layer each (copies)."""
    layers = []
    for gru in (stack.body, stack.head):
        for layer in range(gru.num_layers):
            single = nn.GRU(
                getattr(gru, f"weight_ih_l{layer}").shape[1],
                gru.hidden_size,
                batch_first=True,
                bidirectional=gru.bidirectional,
            )
            renamed = {name: getattr(gru, name.replace("_l0", f"_l{layer}")) for name, _ in single.named_parameters()}
            single.load_state_dict({name: value.detach() for name, value in renamed.items()})
            layers.append(single)
    return layers


def _layer_parameters(stack: RecurrentStack) -> list[tuple[Tensor, Tensor]]:
    """Each layer's input map, to be written in place."""
    body = [
        (getattr(stack.body, f"weight_ih_l{i}"), getattr(stack.body, f"bias_ih_l{i}"))
        for i in range(stack.body.num_layers)
    ]
    return [*body, (stack.head.weight_ih_l0, stack.head.bias_ih_l0)]


def streamed_means(student: PerturbationVAE, name: str, h: Tensor, mask: Tensor) -> Tensor:
    """The student's latent means at every frame, as streaming gives them, the first `lookahead` ones about nothing."""
    head, late = student.head(name).mean, student.lookahead
    if name == "timbre":
        return head(torch.cat([h[:, :late], cumulative_mean(h[:, late:], mask)], 1))
    z = head(h)
    return (
        torch.cat([0 * z[:, :late], student.centre(z[:, late:], mask)], 1)
        if name == "variation" and student.config.centred_variation
        else z
    )


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
