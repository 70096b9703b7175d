"""A host of fused.onnx, ONNX Runtime and NumPy alone: host_fused.py fused.onnx in.wav out.wav brightness=2 preset=3@1.5
The file says all a host must know. NAME=VALUE turns a knob at the start, NAME=VALUE@SECONDS later."""

import re
import sys
import wave

import numpy as np
import onnxruntime as ort


def main(model: str, source: str, target: str, *turns: str) -> None:
    about = (session := ort.InferenceSession(model, None, ["CPUExecutionProvider"])).get_modelmeta().custom_metadata_map
    rate, hop, latency = (int(about[key]) for key in ("sample_rate", "hop_samples", "latency_samples"))
    rows = [line.split("\t") for line in about["knobs"].split("\n")]  # name, lowest, highest, default, …
    place, knobs = {row[0]: i for i, row in enumerate(rows)}, np.array([[float(row[3]) for row in rows]], np.float32)
    events = [m for turn in turns if (m := re.fullmatch(r"(.+)=(-?[\d.]+)@?([\d.]*)", turn)) and m[1] in place]
    if len(events) < len(turns):
        sys.exit(f"{' '.join(turns)}: write NAME=VALUE or NAME=VALUE@SECONDS; the knobs are {', '.join(place)}")
    with wave.open(source) as file:
        if ((p := file.getparams()).framerate, p.sampwidth) != (rate, 2):
            sys.exit(f"{source}: {8 * p.sampwidth} bits at {p.framerate} Hz; {model} plays 16 bits at {rate} Hz")
        dry = np.frombuffer(file.readframes(p.nframes), "<i2").reshape(-1, p.nchannels).mean(1) / 32768
    hops = np.pad(dry, (0, latency + -(len(dry) + latency) % hop)).astype(np.float32).reshape(-1, 1, hop)
    state = {port.name: np.zeros(port.shape, np.float32) for port in session.get_inputs()[2:]}  # after audio and knobs
    for i, audio in enumerate(hops):
        for event in [event for event in events if i == int(float(event[3] or 0) * rate) // hop]:
            knobs[0, place[event[1]]] = float(event[2])
        hops[i], *following = session.run(None, {"audio": audio, "knobs": knobs} | state)
        state = dict(zip(state, following, strict=True))
    with wave.open(target, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((32768 * hops.flat[latency:][: len(dry)]).clip(-32768, 32767).round().astype("<i2").tobytes())


if __name__ == "__main__":
    try:
        main(*sys.argv[1:]) if len(sys.argv) > 3 else sys.exit(__doc__)
    except Exception as error:  # a model that is none, a sound that is no WAV file, a folder that is not there, …
        sys.exit(f"{' '.join(sys.argv[1:4])}: is not played ({type(error).__name__}: {' '.join(str(error).split())})")
