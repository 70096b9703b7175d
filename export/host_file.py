"""The steps from a checkpoint to the files of another host: causal model, file, proof against the runtime."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from export.bundle_writer import write_manifest
from export.errors import ExportError
from export.fallbacks import Wanted, make_fallback
from export.fused.file import LEAST_SECONDS, proof_sound
from export.graph_file import write_streaming
from export.hosts.neutone import neutone_file, neutone_kit, verify_neutone
from export.hosts.nn_tilde import check_hop, nn_tilde_module, verify_nn_tilde
from export.hosts.parts import Parts, loaded, quiet
from export.hosts.plain import plain_module, plain_program, verify_plain
from export.pipeline import knobs_of, sounds_for
from export.systems import streaming_graphs, system_of
from export.threads import one_thread
from realtime.bundle import load_bundle
from training.checkpoint import Checkpoint, load_checkpoint


@dataclass(frozen=True)
class Host:
    """suffixes : of the files it wants, the first being the one that is named
    check : refuses at once what cannot work
    make : the files' contents, in that order
    verify : the files, read back, against the runtime: the greatest difference
    use : what to do with the file
    """

    suffixes: tuple[str, ...]
    check: Callable[[Checkpoint], object]
    make: Callable[[Parts], list[bytes]]
    verify: Callable[[list[Path], Parts], float]
    use: str


@dataclass(frozen=True)
class Exported:
    """files : what was written;  difference : the greatest one from the runtime, over so many hops"""

    files: list[Path]
    difference: float
    hops: int


def _plain(parts: Parts) -> list[bytes]:
    program = io.BytesIO()
    with quiet():
        torch.export.save(plain_program(parts), program)
    return [_bytes(plain_module(parts)), program.getvalue()]


def _verify_plain(files: list[Path], parts: Parts) -> float:
    with quiet():
        program = torch.export.load(files[1]).module()
    return verify_plain(loaded(files[0]), program, parts)


HOSTS = {
    "plain": Host((".plain.pt", ".plain.pt2"), lambda checkpoint: None, _plain, _verify_plain, 'torch.jit.load("{}")'),
    "nn_tilde": Host(
        (".ts",),
        lambda checkpoint: check_hop(checkpoint.features.hop_samples),
        lambda parts: [_bytes(nn_tilde_module(parts))],
        lambda files, parts: verify_nn_tilde(loaded(files[0]), parts),
        "[nn~ {} forward] in Max or Pure Data",
    ),
    "neutone": Host(
        (".nm",),
        lambda checkpoint: neutone_kit(),
        lambda parts: [neutone_file(parts)],
        lambda files, parts: verify_neutone(loaded(files[0]), parts),
        "Neutone FX: load {}",
    ),
}


def export(
    source: Path, target: Path, host: Host, calibration: Path | None = None, wanted: Wanted | None = None
) -> Exported:
    """Write the host's files; a second file lies beside `target` and has its name with another suffix.

    wanted : how a model that does not stream becomes causal

    Raises
    ------
    CheckpointError, DataError, ExportError
        With one sentence; what was at `target` is then as it was before.
    """
    targets = [target, *(target.with_suffix(Path(suffix).suffix) for suffix in host.suffixes[1:])]
    if len(set(targets)) < len(targets):
        raise ExportError(
            f"--output {target} has the suffix of the second file; choose another name, for example "
            f"{source.stem}{host.suffixes[0]}"
        )
    if source.resolve() in {path.resolve() for path in targets}:
        raise ExportError(f"--output {target} would overwrite the checkpoint; choose another name")
    checkpoint = load_checkpoint(source)
    host.check(checkpoint)
    with (
        playable(checkpoint, source.stem, calibration, wanted or Wanted()) as parts,
        written(targets, host.make(parts)) as files,
        one_thread(),
    ):
        difference = host.verify(files, parts)
    return Exported(targets, difference, len(parts.sound) // parts.hop)


@contextmanager
def playable(checkpoint: Checkpoint, name: str, folder: Path | None, wanted: Wanted) -> Iterator[Parts]:
    """The causal model with its knobs, and a bundle of it that the runtime can play, for as long as the block lasts."""
    system, calibration = system_of(checkpoint.model), sounds_for(checkpoint, wanted, folder)
    causal = make_fallback(checkpoint, calibration, wanted).model
    encoder, decoder = (graph.eval().requires_grad_(False) for graph in streaming_graphs(system, causal))
    knobs = checkpoint.knobs or knobs_of(checkpoint, calibration.fit)
    row = calibration.held_out.reshape(-1)[: round(LEAST_SECONDS * checkpoint.features.sample_rate)]
    try:
        with tempfile.TemporaryDirectory() as place:
            graphs = write_streaming(Path(place), encoder, decoder)
            write_manifest(
                Path(place), features=checkpoint.features, model=causal, graphs=graphs, knobs=knobs, fidelity={}
            )
            bundle = load_bundle(place)
            yield Parts(
                name, bundle, encoder, decoder, torch.from_numpy(proof_sound(bundle.manifest, row.numpy())).flatten()
            )
    except OSError as error:
        raise ExportError(
            f"cannot write to {tempfile.gettempdir()} ({error.strerror or error}); free some space or set TMPDIR"
        ) from None


@contextmanager
def written(targets: list[Path], contents: list[bytes]) -> Iterator[list[Path]]:
    """Files beside the targets that take their places when the block succeeds, and vanish when it does not."""
    if odd := [path for path in targets if path.exists() and not path.is_file() and not path.is_dir()]:
        raise ExportError(f"{odd[0]} is no regular file; choose another --output")
    parts = [path.with_name(f".{path.name}.{os.getpid()}.part") for path in targets]
    try:
        for part, content in zip(parts, contents, strict=True):
            part.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(content)
        yield parts
        if folders := [path for path in targets if path.is_dir()]:
            raise ExportError(f"{folders[0]} is a folder; choose another --output")
        for part, path in zip(parts, targets, strict=True):
            part.replace(path)
    except OSError as error:
        raise ExportError(
            f"cannot write {targets[0]} ({error.strerror or error}); free some space or choose another --output"
        ) from None
    finally:
        for part in parts:
            _remove(part)


def _remove(part: Path) -> None:
    try:
        part.unlink(missing_ok=True)
    except OSError:  # it was never made: its folder is none
        return


def _bytes(module: torch.jit.ScriptModule) -> bytes:
    buffer = io.BytesIO()
    with quiet():
        torch.jit.save(module, buffer)
    return buffer.getvalue()
