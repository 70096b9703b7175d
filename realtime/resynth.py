"""(being written)"""
from realtime.lookahead import SampleDelay


class Resynth:
    def __init__(self, features, device_rate, latency_ms, most):
        self.latency_samples = round(latency_ms * device_rate / 1000)
        self._delay = SampleDelay(1, self.latency_samples, most)
        self.phase, self.follows = 0.0, True
    def reset(self): self._delay.reset()
    def hear(self, log_decoded, frame, level): pass
    def process(self, mono, active): return self._delay.process(mono[None])[0]
