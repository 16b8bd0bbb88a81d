"""Sound through the machine's loudspeaker."""

from __future__ import annotations

from edgeseq.errors import DeviceError
from edgeseq.sound.blocks import Floats
from edgeseq.sound.capture.devices import import_sounddevice


def play(samples: Floats, sample_rate: int) -> None:
    """Play mono float32 samples in [-1, 1]; returns when they have been heard.

    Raises DeviceError without PortAudio, without a loudspeaker, or when it fails.
    """
    sounddevice = import_sounddevice()
    try:
        sounddevice.play(samples, sample_rate, blocking=True)
    except (sounddevice.PortAudioError, ValueError) as fault:
        raise DeviceError(
            f"sound cannot be played ({fault.args[0]}).\n  Plug a loudspeaker in, or start the sound server."
        ) from fault
