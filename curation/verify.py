"""Do COCO's annotations on this disk still give the masks that a release froze?"""

from __future__ import annotations

from curation.sources.coco import Coco
from icvos.benchmark import SUPPORT_SOURCE, Benchmark, SupportRecord
from icvos.errors import DataError, Finding, UserInputError
from icvos.types import RLE


def verify_supports(benchmark: Benchmark) -> list[Finding]:
    """Every frozen support whose annotations are gone, or whose union is another mask now; each support once."""
    split = benchmark.manifest.sources[SUPPORT_SOURCE].version
    supports = {(support.image_id, support.annotations): support for record in benchmark.records for support in record.supports}
    root = benchmark.root(SUPPORT_SOURCE)
    try:
        pool = Coco(root, split or None)
        pool.load()
    except (DataError, UserInputError) as error:  # without the annotation file there is nothing to say of single supports
        found = error.found or "no such file"
        return [Finding("annotations", error.where, f"{error.what}: {found}", error.expected or "COCO's annotations", error.fix)]
    return [finding for support in supports.values() if (finding := _compare(pool, support))]


def _compare(pool: Coco, support: SupportRecord) -> Finding | None:
    where = f"{pool.path}, image {support.image_id}"
    try:
        mask = pool.mask_of(support.image_id, support.annotations)
    except DataError as error:
        return Finding("malformed-annotation", error.where, error.found, "polygons or run lengths", error.fix)
    if mask is None:
        return Finding(
            "missing-annotation", where, "not all there", f"annotations {list(support.annotations)}", "fetch the annotations again"
        )
    if mask != RLE(support.size, support.counts):
        return Finding("changed-annotation", where, "another mask", "the mask that the release froze", "fetch the annotations again")
    return None
