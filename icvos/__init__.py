"""In-context video object segmentation: records, files, scoring and boards.

Importing this package is cheap and never imports torch, numba or scikit-image; each module says what it needs.
"""

__version__ = "0.1.0"
