"""Puts trained prompt generators and heads into the package: their files, and what the registry of weights says of them.

    python benchmarks/generators/embed.py --data voc_small=VOC --data coco=COCO dcsam_nano=dcsam/generator.safetensors ...

The data are those of the training: their classes are named, so that boards can tell seen from unseen ones.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from icvos.files import sha256_file, to_json, write_bytes, write_text
from icvos.training.class_pictures import open_class_pictures, together
from icvos.weights import REGISTRY

SAID = {
    "dcsam_nano": ("DC-SAM's prompt generator for sam2_nano: embedded", "https://github.com/zaplm/DC-SAM"),
    "vrp_sam_nano": ("VRP-SAM's prompt generator for sam2_nano: embedded", "https://arxiv.org/abs/2402.17726"),
    "pfenet_nano": ("PFENet on efficientnet_lite0: embedded", "https://arxiv.org/abs/2008.01449"),
    "hdmnet_nano": ("HDMNet on efficientnet_lite0: embedded", "https://arxiv.org/abs/2303.14652"),
    "amnet_nano": ("AMNet on efficientnet_lite0: embedded", "https://arxiv.org/abs/2311.17626"),
}


def main() -> None:
    """Copy, and register."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", action="append", required=True, metavar="NAME=DIR", help="what the training saw")
    parser.add_argument("files", nargs="+", metavar="WEIGHTS=FILE")
    given = parser.parse_args()
    registry, classes = json.loads(REGISTRY.read_text(encoding="utf-8")), class_names(given.data)
    for word in given.files:
        name, _, path = word.partition("=")
        file = REGISTRY.parent / f"{name}.safetensors"
        if Path(path).resolve() != file:
            write_bytes(file, Path(path).read_bytes())
        registry["files"] = [other for other in registry["files"] if other["name"] != name] + [entry(name, file, classes)]
        print(f"{file.name}: {file.stat().st_size / 1e6:.1f} MB, sha256 {sha256_file(file)}")
    write_text(REGISTRY, to_json(registry))


def class_names(data: Sequence[str]) -> list[str]:
    """The classes that a training on these data draws: those of two pictures or more."""
    pairs = [word.partition("=") for word in data]
    pictures = together([open_class_pictures(name, Path(root)) for name, _, root in pairs])
    return sorted(name for category, name in pictures.categories.items() if len(pictures.members(category)) > 1)


def entry(name: str, file: Path, classes: Sequence[str]) -> dict[str, Any]:
    """What the registry says of one."""
    what, source = SAID[name]
    return {
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
        "training_classes": list(classes),
        "embedded": True,
    }


if __name__ == "__main__":
    main()
