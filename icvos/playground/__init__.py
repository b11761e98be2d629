"""The embedded sample: small trees in DAVIS's and COCO's layout, made on the user's machine, nothing downloaded.

`make_playground` cuts objects out of photographs that scikit-image's wheel carries, along outlines drawn for icvos, and
sets them in motion over brick, grass and gravel. The truth is exact: every mask is drawn by what draws its picture. It is
there to try things, to test and to teach; a figure measured on it says nothing about a method's rank.

The photographs and their licences:

- ``chelsea.png``, the cat Chelsea: CC0, Stefan van der Walt
- ``astronaut.png``, Eileen Collins: public domain, NASA
- ``camera.png``, the camera man: CC0, Lav Varshney
- ``coffee.png``, an espresso cup: CC0, Rachel Michetti, by courtesy of Pikolo Espresso Bar
- ``motorcycle_left.png``, ``motorcycle_right.png``: the stereo pair of the Middlebury 2014 benchmark, CC0, Nera Nesic,
  Porter Westling, Xi Wang, York Kitajima, Greg Krathwohl and Daniel Scharstein
- ``brick.png``, ``gravel.png``: CC0, CC0Textures; ``grass.png``: CC0, linolafett
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from icvos.errors import DataError, UserInputError
from icvos.files import AnyPath, is_temporary, read_json, sweep, to_json, write_text

__all__ = ["VERSION", "make_playground"]

VERSION = 1  # of the trees' content; another version is made anew
_STAMP = "playground.json"


def make_playground(root: AnyPath, *, seed: int = 0) -> None:
    """Makes the embedded sample under `root`: ``root/DAVIS`` with seven clips and ``root/COCO`` with 26 support images.

    The clips (240 x 427, 24 to 40 frames, DAVIS 2017 layout, object ids in palette PNGs, labels in
    ``davis_semantics.json``): ``brick-roll`` (a thing that is no COCO class), ``cat-garden`` (grows), ``cat-pair`` (two of
    one class), ``cup-slide`` (leaves the frame), ``film-crew`` (a motorcycle and a person), ``late-guest`` (a person, and a
    cat that comes later), ``pillar-walk`` (a person passes behind a pillar). The supports (``val2017`` and
    ``annotations/instances_val2017.json``): at least five usable images each of person, motorcycle, cat and cup, and, for
    rules to refuse, one crowd and one object that is too small. People and motorcycles are shown from other photographs or
    in other settings than in the clips.

    The same seed gives the same bytes on one installation. ``playground.json`` is written last: a tree that has it, and all
    its files, is kept as it is; an interrupted one is made again over what is there.

    Args:
        root: the folder, made if need be.
        seed: decides the camera's sway, the noise and the exposure of the supports; not what the clips show.

    Raises:
        UserInputError: `root` holds some other DAVIS or COCO tree, or cannot be written.
        DataError: scikit-image was installed without its photographs.
    """
    root = Path(root)
    from icvos.playground.coco_tree import write_coco
    from icvos.playground.davis_tree import write_davis

    stamp = root / _STAMP
    content = {"icvos_playground": VERSION, "seed": seed}
    if _is_complete(root, content):
        return
    _refuse_strangers(root)
    stamp.unlink(missing_ok=True)
    sweep(path for tree in ("DAVIS", "COCO") for path in (root / tree).rglob(".*.partial"))
    write_davis(root / "DAVIS", seed)
    write_coco(root / "COCO", seed)
    write_text(stamp, to_json(content))


def _files() -> Iterator[str]:
    from icvos.playground.coco_tree import coco_paths
    from icvos.playground.davis_tree import davis_paths

    yield from (f"DAVIS/{path}" for path in davis_paths())
    yield from (f"COCO/{path}" for path in coco_paths())


def _is_complete(root: Path, content: dict[str, int]) -> bool:
    try:
        if read_json(root / _STAMP) != content:
            return False
    except DataError:
        return False
    return all((root / path).is_file() for path in _files())


def _refuse_strangers(root: Path) -> None:
    """The user's own data sets are never written into."""
    ours = set(_files())
    for tree in ("DAVIS", "COCO"):
        for path in sorted((root / tree).rglob("*")):
            name = path.relative_to(root).as_posix()
            if path.is_file() and name not in ours and not is_temporary(path.name):
                fix = "choose an empty folder for the playground"
                raise UserInputError("folder in use", root, found=name, expected="nothing, or an earlier playground", fix=fix)
