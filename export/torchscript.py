"""python -m export.torchscript ckpt.pt --host plain|nn_tilde|neutone [--output FILE]: the instrument in one file for
other hosts.

    plain      TorchScript and torch.export with explicit state, for programs of one's own (see `export.hosts.plain`)
    nn_tilde   nn~ of Max and Pure Data (see `export.hosts.nn_tilde`)
    neutone    the plug-in Neutone FX (see `export.hosts.neutone`)

A checkpoint that does not stream becomes causal first, as for a bundle. The file is read back and played against the
runtime before it takes its place.
"""

from __future__ import annotations

import sys
from pathlib import Path

from export.errors import ExportError
from export.fallbacks import Wanted
from export.host_file import HOSTS, export
from realtime.bundle import BundleError
from training.checkpoint import CheckpointError
from training.console import run_command
from training.data.manifest import DataError
from training.data.options import Parser


def main(arguments: list[str] | None = None) -> int:
    parser = Parser(prog="python -m export.torchscript", description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--host", choices=HOSTS, required=True, help="what shall play it")
    parser.add_argument(
        "--output", type=Path, help="file to write; default: the checkpoint's name with .plain.pt, .ts or .nm"
    )
    parser.add_argument(
        "--calibration", type=Path, metavar="DIR", help="recordings, or a data set, to refit and verify on"
    )
    parser.add_argument(
        "--distil-minutes", type=float, default=0.0, metavar="M", help="teach the causal student for so long"
    )
    parser.add_argument(
        "--lookahead",
        type=int,
        default=0,
        metavar="K",
        help="let the student answer K hops later (so much more latency)",
    )
    chosen = parser.parse_args(arguments)
    host = HOSTS[chosen.host]
    target = chosen.output or Path(chosen.checkpoint.stem + host.suffixes[0])
    try:
        done = export(
            chosen.checkpoint, target, host, chosen.calibration, Wanted(chosen.distil_minutes, chosen.lookahead)
        )
    except (CheckpointError, DataError, ExportError, BundleError) as error:
        print(f"export.torchscript: {error}", file=sys.stderr)
        return 2
    print(f"{', '.join(map(str, done.files))}: within {done.difference:.0e} of the runtime over {done.hops} hops")
    print(f"use it with: {host.use.format(done.files[0])}")
    return 0


if __name__ == "__main__":
    run_command(main)
