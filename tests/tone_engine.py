"""A synthesizer that says texts as tones."""

import threading

import numpy as np
import soundfile

from edgeseq.data.engines import Voice


class ToneEngine:
    """Says each text as a tone as long as the text; knows a voice that is mute and one that fails."""

    name, licence, batch = "tones", "CC0-1.0", 3

    def __init__(self):
        self.spoken = []
        self.lock = threading.Lock()

    def voices(self):
        return tuple(Voice(self.name, name, self.licence) for name in ("high", "low"))

    def speak(self, requests, files, stop):
        for request, file in zip(requests, files, strict=True):
            with self.lock:
                self.spoken.append(request)
            if request.voice.name == "failing":
                continue
            level = 0.0 if request.voice.name == "mute" else 0.1
            time = np.arange(int(8000 * (0.2 + 0.05 * len(request.text)))) / 8000
            soundfile.write(file, level * np.sin(2000 * request.pitch * time), 8000)
