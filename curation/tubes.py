"""From clips and words to tubes: one a class and clip, the union of the class's objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from curation.labels import coco_category
from curation.rules import Candidate, LeftOut, judge
from curation.sources.coco import Coco
from icvos.types import Clip, Instance, Source, Tube


@dataclass(frozen=True, slots=True)
class Curated:
    """What the rules made of the sources: tubes in order of their ids, and everything left out with its reason."""

    tubes: tuple[Tube, ...]
    left_out: tuple[LeftOut, ...]


def curate(sources: Iterable[Source], pool: Coco) -> Curated:
    """Ask every rule of every class of every clip.

    Raises:
        DataError: a source or the support pool is not what it should be.
    """
    tubes: list[Tube] = []
    left_out: list[LeftOut] = []
    for source in sources:
        for clip in source.clips():
            for candidate in _candidates(clip, source.instances(clip), pool):
                if (refusal := judge(candidate)) or candidate.category is None:
                    left_out.extend([refusal] if refusal else [])
                else:
                    tubes.append(Tube(clip, candidate.category, candidate.ids))
    return Curated(tuple(sorted(tubes, key=lambda tube: tube.id)), tuple(left_out))


def _candidates(clip: Clip, instances: tuple[Instance, ...], pool: Coco) -> Iterator[Candidate]:
    groups: dict[str, list[Instance]] = {}
    for instance in instances:
        category = coco_category(instance.label) if instance.label else None
        # Two words for one class make one tube; words that are no class, and objects without a word, stay by themselves.
        groups.setdefault(category.name if category else f"\0{instance.label}", []).append(instance)
    for group in groups.values():
        label = group[0].label
        category = coco_category(label) if label else None
        supports = len(pool.candidates(category)[0]) if category else 0
        yield Candidate(clip, label, category, tuple(group), supports)
