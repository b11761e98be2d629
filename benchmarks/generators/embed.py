"""Puts trained prompt generators into the package: their files, and what the registry of weights says of them.

python benchmarks/generators/embed.py dcsam_nano=dcsam/generator.safetensors vrp_sam_nano=vrp_sam/generator.safetensors
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from icvos.files import sha256_file, to_json, write_bytes, write_text
from icvos.weights import REGISTRY

SAID = {
    "dcsam_nano": ("DC-SAM's prompt generator for sam2_nano: embedded", "https://github.com/zaplm/DC-SAM"),
    "vrp_sam_nano": ("VRP-SAM's prompt generator for sam2_nano: embedded", "https://arxiv.org/abs/2402.17726"),
}


def main() -> None:
    """Copy, and register."""
    registry = json.loads(REGISTRY.read_text(encoding="utf-8"))
    for word in sys.argv[1:]:
        name, _, path = word.partition("=")
        what, source = SAID[name]
        file = REGISTRY.parent / f"{name}.safetensors"
        write_bytes(file, Path(path).read_bytes())
        entry = {
            "name": name,
            "file": file.name,
            "url": "",
            "sha256": sha256_file(file),
            "sha256_prefix": "",
            "size": file.stat().st_size,
            "licence": "Apache-2.0",
            "source": source,
            "what": what,
            "format": "safetensors",
            "by_hand": "",
            "training_data": ["VOC 2012", "COCO train2017"],
            "embedded": True,
        }
        registry["files"] = [other for other in registry["files"] if other["name"] != name] + [entry]
        print(f"{file.name}: {entry['size'] / 1e6:.1f} MB, sha256 {entry['sha256']}")
    write_text(REGISTRY, to_json(registry))


if __name__ == "__main__":
    main()
