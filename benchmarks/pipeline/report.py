"""The report of `benchmarks.pipeline`."""

from __future__ import annotations

from typing import Any

from benchmarks.pipeline.measured import Measured
from benchmarks.pipeline.parts import LOADING, TRAINING
from benchmarks.pipeline.precision import BAR, Precision
from training.evaluation.report import table

GPU = "H200"
GPU_PEAK = {"TF32": 495e12, "bfloat16": 989e12}  # FLOP/s, dense, from NVIDIA's data sheet of the SXM version
ACHIEVED = (0.05, 0.30)  # of the peak; recurrent layers go frame by frame, so the lower end is the likelier
CORES = 16
TARGET = 3.0


def as_markdown(
    about_page: str,
    about: dict[str, Any],
    measured: dict[str, Measured],
    paper: Measured | None,
    precision: Precision | None,
) -> str:
    """The whole report."""
    load = f"load average {about['load_before']} before, {about['load_after']} after: other work ran beside"
    machine = f"{about['processors']} processors ({about['machine']}), no GPU, {about['seconds']} s"
    parts = [
        "# Does the input pipeline keep up?\n",
        about_page.split("\n\n", 1)[1],
        f"`{about['command']}`, {machine}, {load}.\n",
        cost_section(measured),
        clock_section(measured),
        gpu_section(paper) if paper else "",
        precision_section(precision) if precision else "",
    ]
    return "\n".join(part for part in parts if part)


def cost_section(measured: dict[str, Measured]) -> str:
    """Where the time goes, the ratio to the straightforward pipeline, and what limits."""
    header = ["part", *(f"{name} ({found.parameters / 1e6:.3g} M parameters)" for name, found in measured.items())]
    found = list(measured.values())

    def row(name: str, seconds: list[float]) -> list[str]:
        return [name, *(f"{1e3 * value:.3g}" for value in seconds)]

    def rates(name: str, seconds: list[float]) -> list[str]:
        return [name, *(f"{1 / value:.3g}" for value in seconds)]

    rows = [row(f"{part} (loading)", [m.costs.seconds[part] for m in found]) for part in LOADING]
    rows += [row(f"{part} (training)", [m.costs.seconds[part] for m in found]) for part in TRAINING]
    rows += [row("**pipeline**: loading and features, without noise", [m.costs.pipeline for m in found])]
    rows += [row("**straightforward** pipeline", [m.costs.straightforward for m in found])]
    per_second = [
        rates("loading, one worker", [m.costs.loading for m in found]),
        rates("pipeline, one core", [m.costs.pipeline for m in found]),
    ]
    per_second += [rates("straightforward, one core", [m.costs.straightforward for m in found])]
    per_second += [rates("training step, one core", [m.costs.training for m in found])]
    ratios = [m.costs.straightforward / m.costs.pipeline for m in found]
    faster = [m.costs.straightforward / m.costs.loading for m in found]
    beside = [m.costs.straightforward / max(m.costs.loading, m.costs.seconds["features"]) for m in found]
    per_second += [["pipeline ÷ straightforward, all on the CPU", *(f"**{ratio:.2f}**" for ratio in ratios)]]
    per_second += [
        [
            "the same, one worker loading beside the process that makes the features",
            *(f"**{ratio:.2f}**" for ratio in beside),
        ]
    ]
    per_second += [["the same with the features on a GPU (loading alone)", *(f"**{ratio:.1f}**" for ratio in faster)]]
    below = [name for name, ratio in zip(measured, ratios, strict=True) if ratio < TARGET]
    verdict = (
        f"All reach the target of {TARGET:g}."
        if not below
        else f"Below the target of {TARGET:g} with the features on the CPU: {', '.join(below)}."
    )
    limits = "\n".join(f"- {name}: {limit(m)}" for name, m in measured.items())
    text = "## Milliseconds of processor time per example\n\n" + table(header, rows)
    text += "\n## Examples per processor second\n\n" + table(["", *measured], per_second)
    return f"{text}\n{verdict} What limits training on this machine's cores:\n\n{limits}\n"


def limit(measured: Measured) -> str:
    """Which part limits training with one worker beside one training thread."""
    costs = measured.costs
    slower = "training step" if costs.training > costs.loading else "loading"
    times = max(costs.training, costs.loading) / min(costs.training, costs.loading)
    share = costs.pipeline / (costs.loading + costs.training)
    return (
        f"the {slower}, {times:.0f} times as dear as the other side; of all processor time the input takes {share:.0%}"
    )


def clock_section(measured: dict[str, Measured]) -> str:
    """By the clock, with one and two workers or threads."""
    rows = []
    for name, m in measured.items():
        for kind, rates in (("loading, workers", m.loaders), ("training step, threads", m.steps)):
            for count, rate in rates.items():
                rows.append(
                    [name, f"{kind}: {count}", f"{rate.examples_per_second:.3g}", f"{1e3 * rate.processor_seconds:.3g}"]
                )
    text = "## By the clock, each alone, beside the machine's other work\n\n"
    return text + table(["recipe", "", "examples/s", "processor ms per example, all workers or threads"], rows)


def gpu_section(paper: Measured) -> str:
    """What 16 cores deliver and a GPU takes: an estimate."""
    costs = paper.costs
    # Of hundreds of examples, with the start of the worker and handing over.
    loading = paper.loaders[1].processor_seconds
    delivered = CORES / loading
    rows = []
    for kind, peak in GPU_PEAK.items():
        for share in ACHIEVED:
            wanted = share * peak / costs.flops
            step = paper.batch / wanted
            noise = paper.batch * costs.seconds["noise"] / step
            rows.append(
                [
                    kind,
                    f"{share:.0%}",
                    f"{wanted:.3g}",
                    f"{1e3 * step:.3g}",
                    f"{delivered / wanted:.1f} ×",
                    f"{noise:.0%}",
                ]
            )
    header = [
        "arithmetic",
        "of the peak achieved",
        "examples/s it takes",
        "ms per step",
        f"what {CORES} cores load",
        "noise, were it drawn here",
    ]
    peaks = ", ".join(f"{kind} {peak / 1e12:.0f} TFLOP/s" for kind, peak in GPU_PEAK.items())
    return (
        f"## How much of an {GPU} would {CORES} cores feed? (an estimate; no GPU was at hand)\n\n"
        f"A paper-size step is {costs.flops / 1e9:.4g} GFLOP per example (counted by torch on the step itself), "
        f"{paper.batch} examples. "
        f"Loading costs {1e3 * loading:.3g} ms on one core here, starting the worker and handing over included, so "
        f"{CORES} such cores load "
        f"{delivered:.0f} examples/s; features run on the GPU. Dense peaks: {peaks}.\n\n"
        + table(header, rows)
        + "\nThe last column is the share of a step that drawing the noise in the training process would take. "
        "The loader's workers draw it "
        "instead, from each example's own seed, so it is the same whatever the batch, the process or the resumption; "
        "they collate, too.\n"
    )


def precision_section(precision: Precision) -> str:
    """float32 against bfloat16."""
    changes = ", ".join(f"{change:+.2%}" for change in precision.changes)
    verdict = "within" if abs(precision.change) <= BAR else "beyond"
    return (
        f"## Mixed precision\n\nThe {precision.recipe} recipe from {len(precision.exact)} seeds on the CPU, "
        "`--trainer.precision bf16-mixed` "
        f"against float32, final validation loss: {changes}; of the means {precision.change:+.2%}, {verdict} the bar "
        f"of {BAR:.0%} "
        f"(float32 alone varies by {precision.between_seeds:.2%} from seed to seed). Features, posteriors and losses "
        "stay float32 under autocast. "
        "TF32 (`float32_matmul: high`) exists on NVIDIA GPUs only, so its effect is not measured here.\n"
    )
