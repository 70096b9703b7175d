"""S2 from bidirectional to causal, in closed form (see `export.causal.fold`): one encoder of LSTM layers, the shared
layer, its heads, the decoder.

The decoder's last map learns the data: the exponential likelihood has no closed form, so the ridge solution is where a
few second-order steps on it begin.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from export.causal.fold import Activations, CalibrationBatch, aligned, assign, ridge
from training.losses import exponential_nll
from training.models.latents import Latents
from training.models.metric import LstmStack, MetricVAE
from training.recurrent import beside_past, lengthened

LIKELIHOOD_STEPS = 30
LIKELIHOOD_FRAMES = 12000  # at most so many calibration frames, spread evenly


def drop_metric(model: MetricVAE, lookahead: int = 0) -> MetricVAE:
    """The causal model made of the forward halves alone; what a lookahead adds is not listened to yet."""
    student = MetricVAE(dataclasses.replace(model.config, bidirectional=False, lookahead=lookahead))
    weights = model.state_dict()
    for name, target in student.state_dict().items():
        # What reads the forward half comes first.
        target.copy_(weights[name][tuple(slice(size) for size in target.shape)])
    with torch.no_grad():
        student.shared.weight[:, student.encoder.width :] = 0
    return student.eval()


@torch.no_grad()
def fold_metric(model: MetricVAE, sounds: Sequence[CalibrationBatch], lookahead: int = 0) -> MetricVAE:
    """The causal model, refitted on the frames that the runtime makes.

    lookahead : frames by which its encoder answers later
    """
    teacher, student = model.eval(), drop_metric(model, lookahead)
    masks = [sound.live.sounding for sound in sounds]
    inputs = [teacher.observed(sound.whole.log_amplitude) for sound in sounds]
    live = [
        before if sound.live is sound.whole else teacher.observed(sound.live.log_amplitude)
        for before, sound in zip(inputs, sounds, strict=True)
    ]
    batches = [Activations(x, lengthened(y, lookahead)) for x, y in zip(inputs, live, strict=True)]
    late = _fold_stack(
        teacher.encoder,
        student.encoder,
        batches,
        masks,
        late=0,
        same_inputs=all(x is y for x, y in zip(inputs, live, strict=True)),
    )
    if lookahead:
        late += lookahead
        for batch in batches:
            batch.student, _ = beside_past(
                batch.student, batch.student.new_zeros(len(batch.student), lookahead, batch.student.shape[-1])
            )
    assign(
        student.shared,
        *ridge(aligned(batches, late), [teacher.shared(batch.teacher) for batch in batches], masks),
    )
    for batch in batches:
        batch.teacher, batch.student = teacher.features_of(batch.teacher), student.features_of(batch.student)
    for name in model.latent_sizes:
        for part in ("mean", "variance"):
            reference: nn.Linear = getattr(teacher.head(name), part)
            assign(
                getattr(student.head(name), part),
                *ridge(aligned(batches, late), [reference(batch.teacher) for batch in batches], masks),
            )
    for batch in batches:
        batch.teacher, batch.student = _latents(teacher, batch.teacher), _latents(student, batch.student)
    late = _fold_stack(teacher.decoder, student.decoder, batches, masks, late=late, same_inputs=False)
    assign(
        student.output,
        *ridge(aligned(batches, late), [teacher.output(batch.teacher) for batch in batches], masks),
    )
    _fit_likelihood(
        student,
        aligned(batches, late),
        [student.observed(sound.live.log_amplitude) for sound in sounds],
        masks,
    )
    return student


def _latents(model: MetricVAE, shared: Tensor) -> Tensor:
    """What the decoder reads: posterior means."""
    return model.joined(Latents(**{name: model.head(name).mean(shared) for name in model.latent_sizes}))


def _fold_stack(
    teacher: LstmStack,
    student: LstmStack,
    batches: Sequence[Activations],
    masks: Sequence[Tensor],
    *,
    late: int,
    same_inputs: bool,
) -> int:
    """Refit the input maps of a stack from its second layer on, its first too where the inputs differ (see
    `export.causal.fold`).  Returns `late`.
    """
    for i, (reference, layer) in enumerate(zip(teacher.layers, student.layers, strict=True)):
        assert isinstance(reference, nn.LSTM)
        assert isinstance(layer, nn.LSTM)
        if i or not same_inputs:
            weight, bias = reference.get_parameter("weight_ih_l0"), reference.get_parameter("bias_ih_l0")
            wanted = [nn.functional.linear(batch.teacher, weight, bias) for batch in batches]
            new_weight, new_bias = ridge(aligned(batches, late), wanted, masks)
            layer.get_parameter("weight_ih_l0").copy_(new_weight)
            layer.get_parameter("bias_ih_l0").copy_(new_bias)
        for batch in batches:
            batch.teacher, batch.student = (
                teacher.activation(reference(batch.teacher)[0]),
                student.activation(layer(batch.student)[0]),
            )
    return late


@torch.enable_grad()
def _fit_likelihood(
    student: MetricVAE, hidden: Sequence[Tensor], power: Sequence[Tensor], masks: Sequence[Tensor]
) -> None:
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
