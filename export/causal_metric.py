"""S2 from bidirectional to causal, in closed form (see `export.causal`): one encoder of LSTM layers, the shared layer, its heads, the decoder.

The decoder's last map learns the data: the exponential likelihood has no closed form, so the ridge solution is where a few
second-order steps on it begin.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from export.causal import assign, ridge
from training.features import Spectra
from training.losses import exponential_nll
from training.models.latents import Latents
from training.models.metric import LstmStack, MetricVAE

LIKELIHOOD_STEPS = 30
LIKELIHOOD_FRAMES = 12000  # at most so many calibration frames, spread evenly


def drop_metric(model: MetricVAE) -> MetricVAE:
    """The causal model made of the forward halves alone."""
    student = MetricVAE(dataclasses.replace(model.config, bidirectional=False))
    weights = model.state_dict()
    for name, target in student.state_dict().items():
        target.copy_(weights[name][tuple(slice(size) for size in target.shape)])  # what reads the forward half comes first
    return student.eval()


@torch.no_grad()
def fold_metric(model: MetricVAE, sounds: Sequence[Spectra]) -> MetricVAE:
    """The causal model, refitted.  sounds : batches of calibration spectra."""
    teacher, student = model.eval(), drop_metric(model)
    masks = [sound.sounding for sound in sounds]
    inputs = [teacher.observed(sound.envelope + sound.fine) for sound in sounds]
    theirs, ours = _fold_stack(teacher.encoder, student.encoder, inputs, inputs, masks)
    assign(student.shared, *ridge(ours, [teacher.shared(h) for h in theirs], masks))
    theirs, ours = [teacher.features_of(h) for h in theirs], [student.features_of(h) for h in ours]
    for name in model.latent_sizes:
        for part in ("mean", "variance"):
            reference: nn.Linear = getattr(teacher.head(name), part)
            assign(getattr(student.head(name), part), *ridge(ours, [reference(h) for h in theirs], masks))
    theirs, ours = _latents(teacher, theirs), _latents(student, ours)
    theirs, ours = _fold_stack(teacher.decoder, student.decoder, theirs, ours, masks)
    assign(student.output, *ridge(ours, [teacher.output(h) for h in theirs], masks))
    _fit_likelihood(student, ours, [student.observed(sound.log_amplitude) for sound in sounds], masks)
    return student


def _latents(model: MetricVAE, shared: Sequence[Tensor]) -> list[Tensor]:
    """What the decoder reads: posterior means."""
    return [model.joined(Latents(**{name: model.head(name).mean(h) for name in model.latent_sizes})) for h in shared]


def _fold_stack(
    teacher: LstmStack, student: LstmStack, teacher_inputs: Sequence[Tensor], student_inputs: Sequence[Tensor], masks: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """Refit the input maps of a stack from its second layer on (its first too, where the inputs differ).  Returns both stacks' outputs."""
    theirs, ours = list(teacher_inputs), list(student_inputs)
    for reference, layer in zip(teacher.layers, student.layers, strict=True):
        assert isinstance(reference, nn.LSTM)
        assert isinstance(layer, nn.LSTM)
        if any(a is not b for a, b in zip(theirs, ours, strict=True)):
            weight, bias = reference.get_parameter("weight_ih_l0"), reference.get_parameter("bias_ih_l0")
            new_weight, new_bias = ridge(ours, [nn.functional.linear(x, weight, bias) for x in theirs], masks)
            layer.get_parameter("weight_ih_l0").copy_(new_weight)
            layer.get_parameter("bias_ih_l0").copy_(new_bias)
        theirs, ours = (
            [stack.activation(each(x)[0]) for x in known] for stack, each, known in ((teacher, reference, theirs), (student, layer, ours))
        )
    return theirs, ours


@torch.enable_grad()
def _fit_likelihood(student: MetricVAE, hidden: Sequence[Tensor], power: Sequence[Tensor], masks: Sequence[Tensor]) -> None:
    """Refine the output map on the data's own likelihood (Tanaka 2021, eq. 3)."""
    rows = torch.cat([h[mask] for h, mask in zip(hidden, masks, strict=True)])
    wanted = torch.cat([x[mask] for x, mask in zip(power, masks, strict=True)])
    step = -(-len(rows) // LIKELIHOOD_FRAMES)
    rows, wanted = rows[::step], wanted[::step]
    optimizer = torch.optim.LBFGS(student.output.parameters(), max_iter=LIKELIHOOD_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = exponential_nll(wanted, student.power_of(student.output(rows))).mean()
        loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    student.zero_grad()
