"""Networks by name, with their weights: SAM 2, SAM, and the backbones of few-shot methods. Importing this imports torch."""

from __future__ import annotations

from icvos.models.sam import SAM_NAMES, build_sam
from icvos.models.sam2 import SAM2_NAMES, build_sam2

__all__ = ["SAM2_NAMES", "SAM_NAMES", "build_sam", "build_sam2"]
