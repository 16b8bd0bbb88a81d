"""A microphone without hardware: a private PulseAudio whose output is its own microphone's input.

For measuring and testing the whole path (PortAudio, ALSA, a sound server) on a machine without a sound card.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeseq.errors import DeviceError

PROGRAMS = ("pulseaudio", "pactl", "paplay")
PLUGIN = "libasound_module_pcm_pulse.so"
START_SECONDS = 10.0


def missing() -> str | None:
    """Say what is not installed here, None if all is."""
    programs = [name for name in PROGRAMS if shutil.which(name) is None]
    if programs:
        return f"{', '.join(programs)} not installed (apt: pulseaudio, pulseaudio-utils)"
    if not any(Path("/usr/lib").glob(f"**/alsa-lib/{PLUGIN}")):
        return "ALSA's pulse plugin is not installed (apt: libasound2-plugins)"
    return None


class SoundServer:
    """A running server. `environment` makes programs use it."""

    def __init__(self, folder: Path, rate: int, n_channels: int) -> None:
        """Start it, with one sink `speaker` of that rate and number of channels. Raises DeviceError if it does not start."""
        self.folder = folder
        clean = {k: v for k, v in os.environ.items() if k != "DBUS_SESSION_BUS_ADDRESS"}
        self.environment = {
            **clean,
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
            "PULSE_RUNTIME_PATH": str(folder),
            "PULSE_SERVER": f"unix:{folder}/native",
        }
        self._rate, self._n_channels = rate, n_channels
        self.process = self._start()

    def control(self, *words: str) -> str:
        """Call pactl; returns what it prints."""
        done = subprocess.run(["pactl", *words], env=self.environment, check=True, capture_output=True, text=True)
        return done.stdout

    def speak(self, path: str | os.PathLike[str], sink: str = "speaker") -> None:
        """Play a file into the microphone; returns when it has been played."""
        subprocess.run(["paplay", "-d", sink, path], env=self.environment, check=True, capture_output=True)

    def remove_sink(self, sink: str = "speaker") -> None:
        """Unplug a microphone."""
        modules = [line.split("\t") for line in self.control("list", "short", "modules").splitlines()]
        for number, _, arguments, *_ in modules:
            if f"sink_name={sink}" in arguments.split():
                self.control("unload-module", number)

    def add_sink(self, sink: str = "speaker") -> None:
        """Plug a microphone in, and make it the default one."""
        self.control("load-module", *self._sink(sink).split())
        self.control("set-default-source", f"{sink}.monitor")

    def restart(self) -> None:
        """Restart after `process` was ended."""
        (self.folder / "native").unlink(missing_ok=True)
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        socket = self.folder / "native"
        command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--disallow-exit"]
        command += ["--use-pid-file=no", "--disable-shm=yes", "--realtime=no", "--high-priority=no"]
        # Its own choice adds noise at -30 dB.
        command += ["--resample-method=speex-float-5"]
        for module in (f"module-native-protocol-unix socket={socket} auth-anonymous=1", self._sink("speaker")):
            command += ["-L", module]
        home = {name: str(self.folder) for name in ("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "PULSE_RUNTIME_PATH")}
        with (self.folder / "log").open("w") as log:
            process = subprocess.Popen(
                [*command, "--log-target=stderr"], stderr=log, env={"PATH": os.environ["PATH"], **home}, start_new_session=True
            )
        deadline = time.monotonic() + START_SECONDS
        while not (socket.exists() and self._choose_microphone()):  # the socket is there before anybody answers
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise DeviceError(f"PulseAudio did not start:\n{(self.folder / 'log').read_text()}")
            time.sleep(0.01)
        return process

    def _choose_microphone(self) -> bool:
        """Make the speaker's monitor the default microphone, if the server answers yet."""
        command = ["pactl", "set-default-source", "speaker.monitor"]
        return subprocess.run(command, env=self.environment, capture_output=True, check=False).returncode == 0

    def _sink(self, sink: str) -> str:
        # norewinds: else the first two seconds of every recording are lost.
        form = f"format=s16le rate={self._rate} channels={self._n_channels} norewinds=1"
        return f"module-null-sink sink_name={sink} {form}"


@contextmanager
def sound_server(rate: int = 48_000, n_channels: int = 1) -> Iterator[SoundServer]:
    """Run a server whose default microphone hears what is played at `rate` Hz. Raises DeviceError."""
    folder = Path(tempfile.mkdtemp(prefix="sound"))
    server = None
    try:
        server = SoundServer(folder, rate, n_channels)
        yield server
    finally:
        if server is not None:
            server.process.kill()
            server.process.wait()
        shutil.rmtree(folder, ignore_errors=True)
