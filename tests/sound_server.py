"""A microphone without hardware, for tests."""

from __future__ import annotations

import pytest

from benchmarks.virtual_microphone import SoundServer, missing, sound_server

__all__ = ["SoundServer", "needs_sound_server", "sound_server"]

needs_sound_server = pytest.mark.skipif(missing() is not None, reason=str(missing()))
