"""A microphone without hardware: a private PulseAudio whose loudspeaker is heard by its microphone."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PROGRAMS = ("pulseaudio", "pactl", "paplay")
PLUGIN = "libasound_module_pcm_pulse.so"


def missing() -> str | None:
    """Say what is not installed here, None if all is."""
    programs = [name for name in PROGRAMS if shutil.which(name) is None]
    if programs:
        return f"{', '.join(programs)} not installed (apt: pulseaudio, pulseaudio-utils)"
    if not any(Path("/usr/lib").glob(f"**/alsa-lib/{PLUGIN}")):
        return "ALSA's pulse plugin is not installed (apt: libasound2-plugins)"
    return None


needs_sound_server = pytest.mark.skipif(missing() is not None, reason=str(missing()))


class SoundServer:
    """A running server. `environment` makes programs use it."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.folder, self.process = folder, process
        clean = {k: v for k, v in os.environ.items() if k != "DBUS_SESSION_BUS_ADDRESS"}
        self.environment = {
            **clean,
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
            "PULSE_RUNTIME_PATH": str(folder),
            "PULSE_SERVER": f"unix:{folder}/native",
        }

    def control(self, *words: str) -> None:
        subprocess.run(["pactl", *words], env=self.environment, check=True, capture_output=True)

    def speak(self, path: Path) -> None:
        """Play a file into the microphone; returns when it has been played."""
        subprocess.run(["paplay", path], env=self.environment, check=True, capture_output=True)


@contextmanager
def sound_server() -> Iterator[SoundServer]:
    folder = Path(tempfile.mkdtemp(prefix="sound"))
    socket = folder / "native"
    command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--disallow-exit"]
    command += ["--use-pid-file=no", "--disable-shm=yes", "--realtime=no", "--high-priority=no"]
    # norewinds: else the first two seconds of every recording are lost.
    for module in (
        f"module-native-protocol-unix socket={socket} auth-anonymous=1",
        "module-null-sink sink_name=speaker format=s16le rate=48000 channels=1 norewinds=1",
    ):
        command += ["-L", module]
    home = {name: str(folder) for name in ("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "PULSE_RUNTIME_PATH")}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, "--log-target=stderr"], stderr=log, env={"PATH": os.environ["PATH"], **home})
    try:
        deadline = time.monotonic() + 10
        while not socket.exists():
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.01)
        server = SoundServer(folder, process)
        server.control("set-default-source", "speaker.monitor")
        yield server
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
