"""Which model is meant where none is named."""

from __future__ import annotations

import os

ENVIRONMENT = "EDGESEQ_DEFAULT_MODEL"

DEFAULT_MODEL = os.environ.get(ENVIRONMENT) or "digits-en"
"""A name, a folder or a file."""
