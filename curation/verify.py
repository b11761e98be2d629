"""Do COCO's annotations on this disk still give the masks that a release froze?"""

from __future__ import annotations

from curation.sources.coco import Coco
from icvos.benchmark import SUPPORT_SOURCE, Benchmark, SupportRecord
from icvos.errors import DataError, Finding
from icvos.types import RLE


def verify_supports(benchmark: Benchmark) -> list[Finding]:
    """Every frozen support whose annotations are gone, or whose union is another mask now; each support once."""
    split = benchmark.manifest.sources[SUPPORT_SOURCE].version
    try:
        pool = Coco(benchmark.root(SUPPORT_SOURCE), split or None)
    except DataError as error:
        return [Finding("annotations", error.where, error.found, error.expected, error.fix)]
    supports = {(support.image_id, support.annotations): support for record in benchmark.records for support in record.supports}
    return [finding for support in supports.values() if (finding := _compare(pool, support))]


def _compare(pool: Coco, support: SupportRecord) -> Finding | None:
    where = f"{pool.path}, image {support.image_id}"
    mask = pool.mask_of(support.image_id, support.annotations)
    if mask is None:
        return Finding(
            "missing-annotation", where, "not all there", f"annotations {list(support.annotations)}", "fetch the annotations again"
        )
    if mask != RLE(support.size, support.counts):
        return Finding("changed-annotation", where, "another mask", "the mask that the release froze", "fetch the annotations again")
    return None
