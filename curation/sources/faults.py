"""What can be wrong with a clip's files: each check gives one finding a fault, and never stops at the first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from curation.sources.scan import VOID, MaskScan, unreadable
from icvos.errors import DataError, Finding
from icvos.files import beginning, kind_of
from icvos.masks import image_size, turned_fix
from icvos.names import MASKS, PICTURES, accents_note, data_in, differ_in_accents_alone, form_of, natural_key, order_doubt
from icvos.types import Clip, Encoding, Size

AGAIN = "fetch the sequence again"
_START_OF_JPEG = b"\xff\xd8"
_END_OF_JPEG = b"\xff\xd9"
_TAIL = 1024  # bytes: cameras may write something after the end
_NAMED = 5  # of many numbers, so many are named


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of one clip: its frames and masks, each in natural order."""

    name: str
    image_folder: Path
    mask_folder: Path
    images: tuple[Path, ...]
    masks: tuple[Path, ...]


def list_clip(name: str, image_folder: Path, mask_folder: Path) -> Listing:
    """The frames (.jpg, .jpeg) and masks (.png), in whatever case, in these folders, which need not be there."""
    return Listing(name, image_folder, mask_folder, data_in(image_folder, PICTURES), data_in(mask_folder, MASKS))


def unmatched(clip: Listing, *, every_frame: bool) -> list[Finding]:
    """Frames without masks and the reverse. Where masks lie on some frames only, as in LVOS, `every_frame` is false.

    A clip with a mask on its first frame and on no other has its truth hidden by its owners: that is one finding, `hidden-truth`.
    """
    if not clip.images:
        found = accents_note(clip.image_folder) or "no frames"
        return [Finding("no-frames", str(clip.image_folder), found, "*.jpg", "fetch the sequence, or take it off the list")]
    twice = [*same_frame(clip.images), *same_frame(clip.masks)]
    images, masks = ({path.stem: path for path in paths} for paths in (clip.images, clip.masks))
    accents = {mask: image for mask in masks.keys() - images.keys() if (image := _same_but_accents(mask, images.keys() - masks.keys()))}
    alone = [
        _lonely("mask-without-frame", masks[stem], "no frame", clip.image_folder / f"{stem}.jpg")
        for stem in sorted(masks.keys() - images.keys() - accents.keys())
    ]
    if len(images) > 1 and masks.keys() == {clip.images[0].stem}:
        expected = "masks on every frame" if every_frame else "masks on later frames too"
        fix = "it cannot be scored: take the sequence out of the tree"
        return [Finding("hidden-truth", str(clip.mask_folder), "a mask of the first frame only", expected, fix)]
    if not masks:
        return [Finding("no-masks", str(clip.mask_folder), "no masks", "*.png", AGAIN)]
    bare = sorted(images.keys() - masks.keys() - set(accents.values())) if every_frame else []
    alone += [_accents(masks[mask], images[image]) for mask, image in sorted(accents.items())]
    return twice + [_lonely("frame-without-mask", images[stem], "no mask", clip.mask_folder / f"{stem}.png") for stem in bare] + alone


def same_frame(paths: Sequence[Path]) -> list[Finding]:
    """Files of one stem and different endings (00000.jpg, 00000.JPG): nobody can say which of them is the frame."""
    first: dict[str, Path] = {}
    return [
        Finding("frame-twice", str(path), f"{twin.name} beside it", "one file a frame", "remove one of them")
        for path in paths
        if (twin := first.setdefault(path.stem, path)) != path
    ]


def _same_but_accents(stem: str, others: Iterable[str]) -> str | None:
    """The one of the others that looks like this name and is another."""
    return None if stem.isascii() else next((other for other in others if differ_in_accents_alone(stem, other)), None)


def _accents(mask: Path, image: Path) -> Finding:
    """A mask whose name looks like that of its frame, and is another."""
    found = f"accents written as {form_of(mask.stem)}, those of its frame {image.name} as {form_of(image.stem)}"
    return Finding("accents", str(mask), found, f"{image.stem}{mask.suffix}", "rename one of them as the other is called")


def order_faults(folder: Path, stems: Sequence[str]) -> list[Finding]:
    """What speaks against the order in which frames of these names follow one another, as one finding or none."""
    fix = "rename the frames so that one number counts up in the order of time"
    ordered = sorted(stems, key=natural_key)
    if list(stems) != ordered:
        earlier, later = next((one, other) for one, other in zip(stems, ordered, strict=True) if one != other)
        return [Finding("frame-order", str(folder), f"{earlier} before {later}", "frames in the order of their numbers", fix)]
    doubt, expected = order_doubt(stems), "names that differ in one number, or in numbers that grow together"
    return [Finding("frame-order", str(folder), doubt, expected, fix)] if doubt else []


def doubtful_orders(clips: Iterable[Clip]) -> list[Finding]:
    """What speaks against the order of the frames of these clips, whichever source they are of; one finding a clip at most."""
    each = {clip.key: clip for clip in clips}
    return [one for clip in each.values() for one in order_faults(clip.frames[0].image.parent, [frame.id for frame in clip.frames])]


def _lonely(code: str, path: Path, found: str, twin: Path) -> Finding:
    return Finding(code, str(path), found, str(twin), AGAIN)


def gaps(clip: Listing) -> list[Finding]:
    """Numbers between the first frame and the last of which neither frame nor mask is there, as one finding."""
    stems = {path.stem for path in (*clip.images, *clip.masks) if path.stem.isdecimal()}
    numbers = {int(stem) for stem in stems}
    missing = sorted(set(range(min(numbers), max(numbers) + 1)) - numbers) if numbers else []
    if not missing:
        return []
    width = len(next(iter(stems)))
    named = ", ".join(f"{number:0{width}d}" for number in missing[:_NAMED]) + (", …" if len(missing) > _NAMED else "")
    return [Finding("gap", str(clip.image_folder), f"no frame {named} ({len(missing)} missing)", "numbers without a gap", AGAIN)]


def collisions(paths: Iterable[Path]) -> list[Finding]:
    """Names that differ in nothing but their case: one file where a file system does not tell them apart."""
    seen: dict[Path, Path] = {}
    findings = []
    for path in sorted(paths):
        twin = seen.setdefault(path.with_name(path.name.casefold()), path)
        if twin != path:
            fix = "rename one, or keep the tree where case counts"
            findings.append(Finding("case-collision", str(path), f"{twin.name} beside it", "names that differ in more than case", fix))
    return findings


def image_faults(images: Iterable[Path]) -> tuple[Size | None, list[Finding]]:
    """The size of the first frame that can be read, and the frames of a clip that cannot, are cut off or have another size."""
    size, findings = None, []
    for image in images:
        try:
            found = image_size(image)
            kind = kind_of(beginning(image))
            if kind == "a JPEG" and not _has_end(image):
                raise DataError("cannot read the image", image, "a JPEG without its end", "a whole JPEG", AGAIN)
            if kind != "a JPEG":
                found_name, fix = f"{kind or 'another picture'} called {image.suffix}", "fetch it again, or store it as a JPEG"
                findings.append(Finding("format", str(image), found_name, "a JPEG, as its name says", fix))
        except DataError as error:
            findings.append(unreadable(error))
            continue
        size = size or found
        if found != size:
            fix = turned_fix(image, size) or AGAIN
            findings.append(Finding("size", str(image), f"{found}", f"{size}, as the first frame", fix))
    return size, findings


def _has_end(image: Path) -> bool:
    """A header says nothing of the rest of the file; a download of a JPEG that broke off lacks the end. Other formats have none."""
    with image.open("rb") as stream:
        if stream.read(len(_START_OF_JPEG)) != _START_OF_JPEG:
            return True
        length = stream.seek(0, 2)
        stream.seek(max(0, length - _TAIL))
        return _END_OF_JPEG in stream.read()


def mask_faults(
    clip: Listing, scans: Sequence[MaskScan | DataError], size: Size | None, encoding: Encoding, named: Mapping[int, str] | None
) -> Iterator[Finding]:
    """Masks that cannot be read, have another size, are stored in another way, or show objects that `named` does not have (if given)."""
    usual, images = _usual_palette(scans), {image.stem: image for image in clip.images}
    for path, mask in zip(clip.masks, scans, strict=True):
        if isinstance(mask, DataError):
            yield unreadable(mask)
            continue
        if size and mask.size != size:
            fix = (turned_fix(images[path.stem], mask.size) if path.stem in images else "") or AGAIN
            yield Finding("size", str(path), f"{mask.size}", f"{size}, as the frames", fix)
        if encoding == "ids":
            yield from _colour_faults(path, mask, usual)
        if named is not None and (unnamed := set(mask.values) - {VOID} - set(named)):
            found, known = (", ".join(map(str, sorted(ids))) or "none" for ids in (unnamed, named))
            fix = "fetch the sequence again, or name them in the label list"
            yield Finding("unnamed-object", str(path), f"ids {found}", f"{known}, as the label list names", fix)


def _usual_palette(scans: Iterable[MaskScan | DataError]) -> bytes:
    """The palette that most masks of the clip have; of those that are as frequent, the first in order of their bytes."""
    counts = Counter(mask.palette for mask in scans if isinstance(mask, MaskScan) and mask.palette)
    return min(counts, key=lambda palette: (-counts[palette], palette), default=b"")


def _colour_faults(path: Path, mask: MaskScan, usual: bytes) -> Iterator[Finding]:
    """Grey masks, whose values may be brightness; and palettes in which a value has another colour than in the clip's other masks."""
    if not mask.palette:
        yield Finding("mode", str(path), "a grey PNG", "a palette PNG, whose values are ids", AGAIN)
        return
    for value in (0, *mask.values):
        found, expected = (_colour(palette, value) for palette in (mask.palette, usual))
        if found is None or (expected is not None and found != expected):
            said = f"{_text(expected)}, as in the clip's other masks" if expected else "a colour"
            yield Finding("palette", str(path), f"value {value} painted {_text(found)}", said, AGAIN)
    if _colour(mask.palette, 0) == _colour(usual, 0) != (0, 0, 0):
        yield Finding("palette", str(path), f"background painted {_text(_colour(usual, 0))}", "black", AGAIN)


def _colour(palette: bytes, value: int) -> tuple[int, ...] | None:
    return tuple(palette[3 * value : 3 * value + 3]) if 3 * value + 3 <= len(palette) else None


def _text(colour: tuple[int, ...] | None) -> str:
    return "in no colour" if colour is None else str(colour)
