"""The one place through which lightning is imported: with it comes matplotlib, which would write to the user's home."""

from __future__ import annotations

from edgeseq.output.drawing import import_matplotlib

import_matplotlib()

from lightning.fabric import Fabric  # noqa: E402
from lightning.fabric.loggers import TensorBoardLogger  # noqa: E402
from lightning.fabric.loggers.logger import Logger  # noqa: E402
from lightning.pytorch.loggers import MLFlowLogger, WandbLogger  # noqa: E402

__all__ = ["Fabric", "Logger", "MLFlowLogger", "TensorBoardLogger", "WandbLogger"]
