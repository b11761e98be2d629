"""From clips and words to tubes: one a class and clip, the union of the class's objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from curation.candidates import Warned
from curation.label_files import Label, LabelBook, agreed, in_words, unknown_labels
from curation.labels import coco_category
from curation.rules import FILES, Candidate, LeftOut, Rule, Verdict, judge, latecomers, rules_with, verdicts
from curation.sources.coco import Coco
from curation.sources.faults import image_faults
from curation.sources.scan import ClipScan, scan
from curation.sources.tree import OnProgress, Tree, faulty_clips, whole_clips
from icvos.errors import DataError, Finding, UserInputError, did_you_mean
from icvos.files import map_files
from icvos.registry import instances_of
from icvos.types import Clip, Instance, Source, Tube

NO_LABELS = LabelBook()


@dataclass(frozen=True, slots=True)
class Curated:
    """What the rules made of the sources: tubes in order of their ids, and everything left out with its reason."""

    tubes: tuple[Tube, ...]
    left_out: tuple[LeftOut, ...]
    warnings: Mapping[str, tuple[Warned, ...]] = field(default_factory=dict)  # tube id -> what a person should look at
    faults: tuple[Finding, ...] = ()  # of the files of clips that are left out for these


@dataclass(frozen=True, slots=True)
class Explained:
    """One candidate and what each rule says of it."""

    name: str
    objects: tuple[int, ...]
    verdicts: tuple[Verdict, ...]
    tube: str | None  # its id, where it may be a tube

    @property
    def refused(self) -> bool:
        """Whether some rule leaves it out."""
        return any(verdict.passed is False for verdict in self.verdicts)


def curate(
    sources: Iterable[Source],
    pool: Coco,
    book: LabelBook = NO_LABELS,
    rules: Sequence[Rule] | None = None,
    on_progress: OnProgress = lambda done, total: None,
) -> Curated:
    """Ask every rule of every class of every clip. Masks are scanned first, on all cores, as far as no index has them.

    A clip that lacks a mask or a frame, or has one that cannot be read or is of another size, is left out as a whole, with its reason.

    Args:
        sources: the video data sets.
        pool: where supports come from.
        book: labels that go before the sources' own words.
        rules: by default those with the default numbers.
        on_progress: told of a source's clips that were scanned, and of all that it has.

    Raises:
        DataError: a source or the support pool is not what it should be, or labels name clips or objects that are not there; the error
            lists all of these.
    """
    rules = rules_with() if rules is None else rules
    tubes: list[Tube] = []
    left_out: list[LeftOut] = []
    warnings: dict[str, tuple[Warned, ...]] = {}
    faulty: dict[str, Sequence[Finding]] = {}  # clip -> what is wrong with its files
    for candidate in _all_candidates(sources, pool, book, on_progress, faulty):
        if (refusal := judge(candidate, rules)) or candidate.category is None:
            left_out.extend([refusal] if refusal else [])
        else:
            tube = Tube(candidate.clip, candidate.category, candidate.ids)
            tubes.append(tube)
            warnings[tube.id] = _warnings(candidate)
    clips = {tube.clip.key: tube.clip for tube in tubes}.values()
    for clip, (_, found) in zip(clips, map_files(lambda clip: image_faults(frame.image for frame in clip.frames), clips), strict=True):
        if faults := [fault for fault in found if fault.code != "format"]:  # a picture is what it holds, whatever its name says
            faulty[clip.key] = faults
    left_out += [LeftOut(key, "", FILES, in_short(faults)) for key, faults in sorted(faulty.items())]
    whole = [tube for tube in tubes if tube.clip.key not in faulty]
    all_faults = tuple(fault for _, faults in sorted(faulty.items()) for fault in faults)
    return Curated(tuple(sorted(whole, key=lambda tube: tube.id)), tuple(left_out), warnings, all_faults)


def in_short(faults: Sequence[Finding]) -> str:
    """The first of these faults in words, and how many more there are."""
    return f"{faults[0]}" + (f" (and {len(faults) - 1} more faults)" if len(faults) > 1 else "")


def explain(
    sources: Sequence[Source], pool: Coco, clip: str, book: LabelBook = NO_LABELS, rules: Sequence[Rule] | None = None
) -> list[Explained]:
    """Every rule's verdict on every class of one clip, called ``name`` or ``source/name``.

    Raises:
        UserInputError: no source has such a clip.
        DataError: labels name objects that it does not have, or its files are faulty.
    """
    rules = rules_with() if rules is None else rules
    found: list[Candidate] = []
    known: set[str] = set()
    for source in sources:
        for name, faults in faulty_clips(source).items():
            known |= {name, f"{source.name}/{name}"}
            if clip in (name, f"{source.name}/{name}"):
                raise DataError("a clip whose files are faulty", f"{source.name}/{name}", in_short(faults), fix="mend it", findings=faults)
        for one in whole_clips(source):
            known |= {one.key, one.name}
            if clip in (one.key, one.name):
                rows = book.of_clip(one.source, one.name)
                instances = instances_of(source, one)
                there = {(one.source, one.name): _there(one, instances, rows)}
                _refuse_unknown(unknown_labels(book.only(one.source, one.name), there, [one.source]))
                found.extend(_candidates(scan(one), instances, pool, rows))
    if clip not in known:
        raise UserInputError("no such clip", clip, expected="a clip of the sources", fix=did_you_mean(clip, known))
    return [_explained(candidate, rules) for candidate in found]


def stated_rules(rules: Iterable[Rule], book: LabelBook = NO_LABELS) -> dict[str, str]:
    """What a release says of how its tubes were chosen: each rule with its numbers, and the sha256 of the labels if any."""
    return {rule.name: rule.summary for rule in rules} | ({"labels": f"sha256 {book.digest}"} if book.rows else {})


def _explained(candidate: Candidate, rules: Sequence[Rule]) -> Explained:
    tube = Tube(candidate.clip, candidate.category, candidate.ids).id if candidate.category else None
    return Explained(candidate.name, candidate.ids, verdicts(candidate, rules), tube)


def _all_candidates(
    sources: Iterable[Source], pool: Coco, book: LabelBook, on_progress: OnProgress, faulty: dict[str, Sequence[Finding]]
) -> Iterator[Candidate]:
    """The candidates of all clips but the `faulty`, which are added there; at the end, labels of what no clip has are refused."""
    labelled = book.by_clip()
    objects: dict[tuple[str, str], tuple[int, ...]] = {}
    names: list[str] = []
    for source in sources:
        names.append(source.name)
        if isinstance(source, Tree):
            source.index(on_progress)
        for name, faults in faulty_clips(source).items():
            faulty[f"{source.name}/{name}"] = faults
            objects[source.name, name] = tuple(labelled.get((source.name, name), {}))  # nobody can say that they are not there
        for clip in whole_clips(source):
            key = (clip.source, clip.name)
            if key in objects:
                fix = "rename one of the folders, or leave one of the sources out"
                raise DataError("two clips of the same source and name", clip.key, "twice", "once", fix)
            rows = labelled.get(key, {})
            try:
                shown = scan(clip)
            except DataError as error:
                faulty[clip.key] = error.findings
                objects[key] = tuple(rows)
                continue
            instances = instances_of(source, clip)
            objects[key] = _there(clip, instances, rows)
            yield from _candidates(shown, instances, pool, {i: rows[i] for i in rows if i in objects[key]})
    _refuse_unknown(unknown_labels(book, objects, names))


def check_labels(book: LabelBook, sources: Iterable[Source]) -> None:
    """Refuse labels of clips and objects that these sources do not have; masks are read only for objects that no list has.

    Raises:
        DataError: there are such labels; the error lists all of them.
    """
    labelled, names = book.by_clip(), []
    objects: dict[tuple[str, str], tuple[int, ...]] = {}
    for source in sources:
        names.append(source.name)
        for name in faulty_clips(source):
            objects[source.name, name] = tuple(labelled.get((source.name, name), {}))
        for clip in whole_clips(source):
            rows = labelled.get((clip.source, clip.name), {})
            instances = instances_of(source, clip) if rows else ()
            objects[clip.source, clip.name] = _there(clip, instances, rows)
    _refuse_unknown(unknown_labels(book, objects, names))


def unnamed(sources: Iterable[Source], book: LabelBook = NO_LABELS, everything: bool = False) -> Iterator[tuple[Clip, tuple[int, ...]]]:
    """The clips that have objects without a name, with the ids of these; all clips and objects where `everything` is asked for.

    An object has a name where the source gives it a word or the book a row; all masks of a clip are searched for objects.
    """
    for source in sources:
        for clip in whole_clips(source):
            words = {instance.id: instance.label for instance in instances_of(source, clip)}
            named = {number for number, word in words.items() if word} | set(book.of_clip(clip.source, clip.name))
            there = scan(clip).objects
            if wanted := tuple(number for number in there if everything or number not in named):
                yield clip, wanted


def _there(clip: Clip, instances: Iterable[Instance], rows: Mapping[int, object]) -> tuple[int, ...]:
    """The ids of a clip's objects: labelled ones that are on no first frame and in no list may come later."""
    listed = {instance.id for instance in instances}
    return tuple(sorted({*listed, *scan(clip).objects} if rows.keys() - listed else listed))


def _refuse_unknown(findings: Sequence[Finding]) -> None:
    if findings:
        raise DataError("labels of what is not there", findings[0].where, f"{len(findings)}", "none", f"first: {findings[0]}", findings)


def _candidates(shown: ClipScan, instances: Iterable[Instance], pool: Coco, rows: Mapping[int, tuple[Label, ...]]) -> Iterator[Candidate]:
    words = {instance.id: instance.label for instance in instances}
    # A person's label goes before the source's word, and makes an instance of an object that the source does not list.
    words |= {number: theirs[0].class_name if agreed(theirs) else None for number, theirs in rows.items()}
    quarrels = {number: theirs for number, theirs in rows.items() if not agreed(theirs)}
    nameless = tuple(number for number, word in sorted(words.items()) if word is None and number not in quarrels)
    groups: dict[str, list[Instance]] = {}
    for number, word in sorted(words.items()):
        category = coco_category(word) if word else None
        # Two words for one class make one tube; words that are no class, and objects without a word, stay by themselves.
        own = f"\0{number}" if number in quarrels else f"\0{word}"
        groups.setdefault(category.name if category else own, []).append(Instance(number, word))
    for group in groups.values():
        label = group[0].label
        category = coco_category(label) if label else None
        supports = len(pool.candidates(category)[0]) if category else 0
        # Objects that somebody calls the class are of it perhaps, so the class is not sure to be whole without them.
        disputed = [
            f"object {number} {in_words(theirs)}"
            for number, theirs in quarrels.items()
            if number == group[0].id or (category and category.name in {row.class_name for row in theirs})
        ]
        yield Candidate(shown.clip, label, category, tuple(group), supports, shown, "; ".join(disputed), nameless)


def _warnings(candidate: Candidate) -> tuple[Warned, ...]:
    late = [f"object {number} is first seen on frame {frame}" for number, frame in latecomers(candidate).items()]
    warned = [Warned(rule="first-frame", reason=", ".join(late))] if late else []
    if candidate.unnamed:
        objects = ", ".join(map(str, candidate.unnamed))
        warned.append(Warned(rule="named", reason=f"object {objects} has no name, and may be of the class too"))
    return tuple(warned)
