"""matplotlib, imported so that it leaves nothing behind in the user's home."""

from __future__ import annotations

import os
import sys
import tempfile

FOLDER = "MPLCONFIGDIR"
"""Environment variable: where matplotlib keeps its settings and its list of fonts."""


def import_matplotlib() -> None:
    """Import matplotlib before its first use here; its list of fonts goes to a folder that is removed at once.

    Where the program has imported it, or MPLCONFIGDIR says where its files belong, it is left alone. Raises
    ModuleNotFoundError without matplotlib.
    """
    if "matplotlib" in sys.modules or os.environ.get(FOLDER):
        return
    before = os.environ.get(FOLDER)
    with tempfile.TemporaryDirectory() as folder:
        os.environ[FOLDER] = folder
        try:
            import matplotlib.font_manager  # noqa: F401  # makes the list of fonts
        finally:
            if before is None:
                del os.environ[FOLDER]
            else:
                os.environ[FOLDER] = before
