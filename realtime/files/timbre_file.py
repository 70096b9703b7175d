"""The timbre of a sound file, as the live encoder hears it.

Loads ONNX Runtime, so import it only where it is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from realtime.bundle import Bundle
from realtime.dsp.framing import HopSource
from realtime.dsp.rates import POSSIBLE_RATES, is_possible
from realtime.dsp.spectrum import FrameAnalyser
from realtime.files.audio_files import AudioFileError, read_audio
from realtime.hop.model import open_model

LONGEST_SECONDS = 60.0  # of sound that is not silent; more would hardly move the mean


@dataclass(frozen=True)
class FileTimbre:
    """The timbre found in a file.

    timbre : (D,), z^t averaged over the sounding frames
    seconds : how much sound that was
    whole : whether all of the file was used
    """

    timbre: np.ndarray
    seconds: float
    whole: bool


def timbre_of_file(bundle: Bundle, path: Path, provider: str = "auto") -> FileTimbre:
    """Play a file to the encoder, hop by hop, with the running level that it has live.

    Raises
    ------
    realtime.files.audio_files.AudioFileError
        No file that can be read, or nothing in it is louder than the model's silence.
    realtime.hop.model.EngineError
        The model does not run as asked.
    """
    audio, features = read_audio(path), bundle.manifest.features
    if not is_possible(audio.sample_rate):
        raise AudioFileError(f"{path} has a rate of {audio.sample_rate} Hz; {POSSIBLE_RATES} Hz are possible")
    mono = audio.samples.mean(axis=1, dtype=np.float64)
    model = open_model(bundle, provider)
    frame = FrameAnalyser(features)
    hops = HopSource(features, audio.sample_rate)
    done = sounding = 0
    most = max(1, round(LONGEST_SECONDS / features.hop_seconds))
    while sounding < most:
        done += hops.take(mono[done:])
        if not hops.ended:
            break
        frame.push(hops.hop)
        if frame.sounding:
            model.encode(frame.envelope, frame.fine, 0.0)  # no smallest weight: the mean over all of it
            sounding += 1
    timbre = model.latents["timbre"][0].astype(np.float64)
    if not sounding:
        raise AudioFileError(
            f"{path} is silent: nothing in it reaches {features.silence_dbfs:g} dBFS; record at a higher level"
        )
    if not np.isfinite(timbre).all():
        raise AudioFileError(f"{path}: the model finds no timbre in it; try another sound")
    return FileTimbre(timbre, sounding * features.hop_seconds, sounding < most)
