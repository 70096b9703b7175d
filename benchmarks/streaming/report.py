"""The report of `benchmarks.streaming`: tables of forms, precisions and backends, a picture and a verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.streaming.picture import quality_against_cost
from benchmarks.streaming.verdict import KNN_POINTS, MSE_SHARE, verdict
from benchmarks.streaming.ways import DISTILLED, ORIGINAL, STUDENT
from training.evaluation.report import Footnotes, save_picture, table, write_report
from training.models.latents import LATENTS

INTRODUCTION = """# What streaming costs

Small models of the three systems, the shipped one, and S1 and S2 in the papers' sizes (random weights: their speed
only), in every form that streams. The *original* hears whole sounds, as it was trained to. *Windowed* works through a
window of the last second again at every hop, the honest way to stream the original; *dropped* keeps the forward
directions, *folded* refits the maps behind them, *distilled* then learns for some minutes from the original; *lookahead
k* answers k hops later. S3 is no recurrent model: its window slides, exactly, or a recurrent student stands in. What
streams hears every sound from silence, framed with the running level as the runtime frames it, its timbre as it stands
at the sound's end. Reproduce it with `make streaming`.
"""


def write(out: Path, content: dict[str, Any]) -> str:
    """report.md, report.json and the figure; returns the text."""
    subjects = content["subjects"]
    out.mkdir(parents=True, exist_ok=True)
    shown = (
        save_picture(quality_against_cost(subjects), out, "quality-against-cost", "quality against cost")
        if _with_verdict(subjects)
        else ""
    )
    parts = [
        INTRODUCTION,
        _verdicts(subjects),
        shown,
        _forms(subjects),
        _backends(subjects),
        _cuda(content),
        _about(content),
    ]
    text = "\n".join(part for part in parts if part)
    write_report(out, text, content)
    return text


def _with_verdict(subjects: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """Subjects with the form that is judged."""
    judged = [
        (subject, next((way for way in subject["quality"] if way in (DISTILLED, STUDENT)), ""))
        for subject in subjects.values()
    ]
    return [(subject, way) for subject, way in judged if way and ORIGINAL in subject["quality"]]


def _verdicts(subjects: dict[str, Any]) -> str:
    found = []
    for subject, way in _with_verdict(subjects):
        quality, made = subject["quality"], subject["quality"][way]["made"]
        told = f"{way} for {made['seconds'] / 60:.1f} minutes on {made['threads']} of the cores ({made['steps']} steps)"
        found.append(f"- {verdict(quality[ORIGINAL], quality[way]).sentence(subject['title'], told)}\n")
    if not found:
        return ""
    question = (
        f"Is the distilled fallback within {KNN_POINTS:g} points of the original on every k-NN figure, and within "
        f"{MSE_SHARE:.0%} on the MSE? "
    )
    question += "What is better does not count against it."
    return f"## Verdict\n\n{question}\n\n" + "".join(found)


def _forms(subjects: dict[str, Any]) -> str:
    notes = Footnotes()
    header = [
        "system",
        "form",
        "MSE",
        "distance, dB",
        "cosine of t / v / p",
        "instrument from t / v / p",
        "pitch from t / v / p",
    ]
    header += [
        "ms per hop, median",
        "p99",
        "p99.9",
        "× real time",
        "latency, ms",
        "weights, MB",
        "of the bandwidth limit",
        "made in, s",
    ]
    rows = []
    for subject in subjects.values():
        for way, speed in subject["speed"]["forms"].items():
            rows.append(
                [
                    subject["title"],
                    way + _mark(notes, subject, way),
                    *_quality_cells(subject["quality"].get(way)),
                    *_speed_cells(speed),
                ]
            )
            rows[-1] += [
                _latency(subject, way),
                *_weight_cells(speed, subject["speed"]["gb_s"]),
                _made_in(subject["quality"].get(way)),
            ]
    told = (
        "t, v, p: timbre, variation, pitch. Cosines with the original's latents, seen from their mean. ONNX Runtime, "
        "fp32, one core, two sets of "
    )
    told += (
        "latents decoded at once. Latency: what the form adds; the analysis window of every model looks back only. "
        "The bandwidth limit is what "
    )
    told += (
        "reading the weights once from memory would take: a model that stays in the caches may be faster, a windowed "
        "one reads them many times."
    )
    return f"## Forms\n\n{told}\n\n{table(header, rows)}\n{notes.text()}"


def _mark(notes: Footnotes, subject: dict[str, Any], way: str) -> str:
    quality = subject["quality"].get(way)
    if quality is None:
        return notes.mark("random weights: no quality.")
    sentence = f"{quality['test_sounds']} test sounds among {quality['train_sounds']} training sounds"
    if "original_there" in quality:
        there = quality["original_there"]
        knn = ", ".join(f"{name} {value:.3f}" for name, value in there["knn"].items())
        sentence += f", fewer since it is slow; the original there: MSE {there['mse']:.3f}, {knn}"
    if subject["held_out_instruments"]:
        sentence += "; the test sounds' instruments are new to the model and told apart among the other test sounds"
    mark = notes.mark(sentence + ".")
    return mark + (notes.mark("its time is a share of a whole second's; it cannot stream.") if way == ORIGINAL else "")


def _quality_cells(quality: dict[str, Any] | None) -> list[str]:
    if quality is None:
        return ["–"] * 5
    triples = [("cosine", "cosine of {}", 3), ("knn", "instrument from {}", 3), ("knn", "pitch from {}", 3)]
    cells = [f"{quality['mse']:.3f}", f"{quality['distance_db']:.2f}"]
    for kind, name, digits in triples:
        values = [quality[kind].get(name.format(latent)) for latent in LATENTS]
        cells.append(
            " / ".join("–" if value is None else f"{value:.{digits}f}" for value in values)
            if any(v is not None for v in values)
            else "–"
        )
    return cells


def _speed_cells(speed: dict[str, Any]) -> list[str]:
    times = ["–" if speed[name] is None else f"{speed[name]:.3f}" for name in ("median", "p99", "p99.9")]
    return [*times, f"{speed['real_time_factor']:.3g}"]


def _weight_cells(speed: dict[str, Any], gb_s: float) -> list[str]:
    limit_ms = speed["weight_bytes"] / gb_s / 1e6
    # The original on whole sounds reads its weights once for many hops, so it has no share.
    share = f"{limit_ms / speed['median']:.0%}" if speed["p99"] is not None else "–"
    return [f"{speed['weight_bytes'] / 1e6:.2f}", share]


def _made_in(quality: dict[str, Any] | None) -> str:
    seconds = quality["made"].get("seconds") if quality else None
    return "–" if seconds is None else f"{seconds:.0f}"


def _latency(subject: dict[str, Any], way: str) -> str:
    return "the whole sound" if way == ORIGINAL else f"{subject['lookahead'][way] * subject['hop_ms']:.3g}"


def _backends(subjects: dict[str, Any]) -> str:
    header = [
        "system, form",
        "backend",
        "ms per hop, median",
        "p99",
        "p99.9",
        "× real time",
        "weights, MB",
        "of the bandwidth limit",
    ]
    header += ["distance from fp32, dB", "MSE", "latents' error, relative"]
    rows = []
    for subject in subjects.values():
        measured = subject["backends"]
        for name, found in measured["backends"].items():
            cells = [f"{subject['title']}, {measured['way']}", name]
            if "missing" in found:
                rows.append([*cells, f"did not work: {found['missing']}", *["–"] * 8])
                continue
            weights = _weight_cells(found, measured["gb_s"]) if "weight_bytes" in found else ["–", "–"]
            rows.append([*cells, *_speed_cells(found), *weights, *_cost_cells(found.get("cost"))])
    told = (
        "The form that one would play, every precision and backend in turns on one core. What fewer bits cost is "
        "measured on held-out sounds "
    )
    told += (
        "in a row against the fp32 graphs: log-spectral distance, change of the MSE, relative RMS error of the latent "
        "that errs most."
    )
    return f"## Precisions and backends\n\n{told}\n\n{table(header, rows)}"


def _cost_cells(cost: dict[str, Any] | None) -> list[str]:
    if cost is None:
        return ["–"] * 3
    latents = [value for name, value in cost["relative_rms"].items() if name != "log_amplitude"]
    return [f"{cost['distance_db']:.3f}", f"{cost['mse_change']:+.2%}", f"{max(latents):.2%}"]


def _cuda(content: dict[str, Any]) -> str:
    found = {subject["title"]: subject["cuda"] for subject in content["subjects"].values() if subject.get("cuda")}
    if not found:
        return f"## On a GPU\n\n{content['no_cuda']}\n"
    rows = [
        [f"{title}, {times['way']}", *_speed_cells(times), f"{times['difference']:.1e}"]
        for title, times in found.items()
    ]
    told = "ONNX Runtime's CUDA provider (asserted), fp32 without TF32, IOBinding, one CUDA graph per bank of states, "
    told += "copies to and from the host counted."
    header = ["system, form", "ms per hop, median", "p99", "p99.9", "× real time", "difference from the CPU"]
    return f"## On a GPU\n\n{told}\n\n{table(header, rows)}"


def _about(content: dict[str, Any]) -> str:
    about, subjects = content["environment"], content["subjects"].values()
    lines = [f"{about['cpu']}, {about['processors']} cores, {about.get('memory_gib', '?')} GiB; "]
    lines[0] += f"one core reads {max(subject['speed']['gb_s'] for subject in subjects):.1f} GB/s. "
    lines[0] += f"Load average {about['load_before']} before, {about['load_after']} after."
    lines.append(
        ", ".join(
            f"{name} {about[name]}"
            for name in ("python", "torch", "onnxruntime", "onnx", "numpy", "scikit-learn", "system")
        )
        + "."
    )
    worst = max(form["difference"] or 0 for subject in subjects for form in subject["speed"]["forms"].values())
    lines.append(f"Every streaming graph was compared with torch hop by hop: greatest difference {worst:.1e}.")
    rows = [
        [subject["title"], subject["words"], f"{subject['hop_ms']:.2f}", f"{subject['window_ms']:.0f}"]
        for subject in subjects
    ]
    return (
        "## Machine and models\n\n"
        + "\n\n".join(lines)
        + "\n\n"
        + table(["system", "model", "hop, ms", "window, ms"], rows)
    )
