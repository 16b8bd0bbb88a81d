"""The one place through which torchaudio is imported.

torchaudio's published Linux wheels hold a compiled extension that links CUDA. Beside a CPU-only torch it cannot be loaded
and a plain `import torchaudio` raises OSError, although what edgeseq uses (transforms, functional, compliance.kaldi) is
Python and torchaudio runs without the extension where the file is absent. So where loading fails, the module that loads
it is replaced by one that says "absent". This may go once torchaudio wheels without CUDA are published for all platforms.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


def _absent_extension() -> ModuleType:
    def refuse(function: Any) -> Any:
        def unavailable(*_: Any, **__: Any) -> Any:
            raise RuntimeError(f"torchaudio's {function.__name__} needs its compiled extension, which cannot load here.")

        return unavailable

    extension: Any = ModuleType("torchaudio._extension")
    extension._IS_TORCHAUDIO_EXT_AVAILABLE = False
    extension._IS_ALIGN_AVAILABLE = False
    extension.fail_if_no_align = refuse
    return extension


def _import_torchaudio() -> ModuleType:
    try:
        import torchaudio
    except OSError:
        for name in [n for n in sys.modules if n == "torchaudio" or n.startswith("torchaudio.")]:
            del sys.modules[name]
        sys.modules["torchaudio._extension"] = _absent_extension()
        import torchaudio
    return torchaudio


torchaudio = _import_torchaudio()
