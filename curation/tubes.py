"""From clips and words to tubes: one a class and clip, the union of the class's objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from curation.labels import coco_category
from curation.rules import Candidate, LeftOut, judge
from curation.sources.coco import Coco
from curation.sources.scan import ClipScan, scan, unreadable_masks
from curation.sources.tree import OnProgress, Tree
from icvos.errors import DataError, Finding
from icvos.types import Clip, Instance, Source, Tube


@dataclass(frozen=True, slots=True)
class Curated:
    """What the rules made of the sources: tubes in order of their ids, and everything left out with its reason."""

    tubes: tuple[Tube, ...]
    left_out: tuple[LeftOut, ...]


def curate(sources: Iterable[Source], pool: Coco, on_progress: OnProgress = lambda done, total: None) -> Curated:
    """Ask every rule of every class of every clip. Masks are scanned first, on all cores, as far as no index has them.

    Raises:
        DataError: a source or the support pool is not what it should be, or masks cannot be read (all such are listed).
    """
    findings: list[Finding] = []
    tubes: list[Tube] = []
    left_out: list[LeftOut] = []
    for source in sources:
        if isinstance(source, Tree):
            source.index(on_progress)
        for clip in source.clips():
            try:
                scanned = scan(clip)
            except DataError as error:
                findings.extend(error.findings)
                continue
            for candidate in _candidates(clip, scanned, source.instances(clip), pool):
                if (refusal := judge(candidate)) or candidate.category is None:
                    left_out.extend([refusal] if refusal else [])
                else:
                    tubes.append(Tube(clip, candidate.category, candidate.ids))
    if findings:
        raise unreadable_masks(findings)
    return Curated(tuple(sorted(tubes, key=lambda tube: tube.id)), tuple(left_out))


def _candidates(clip: Clip, scanned: ClipScan, instances: tuple[Instance, ...], pool: Coco) -> Iterator[Candidate]:
    groups: dict[str, list[Instance]] = {}
    for instance in instances:
        category = coco_category(instance.label) if instance.label else None
        # Two words for one class make one tube; words that are no class, and objects without a word, stay by themselves.
        groups.setdefault(category.name if category else f"\0{instance.label}", []).append(instance)
    for group in groups.values():
        label = group[0].label
        category = coco_category(label) if label else None
        supports = len(pool.candidates(category)[0]) if category else 0
        yield Candidate(clip, label, category, tuple(group), supports, scanned)
