"""What others hand in: packed into one zip, checked without the truth, scored as any run is."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from icvos.aggregate import score as score_store
from icvos.benchmark import Benchmark, tube_id
from icvos.categories import BY_ID
from icvos.errors import Finding, UserInputError
from icvos.files import atomic_file, sha256_file, to_json
from icvos.handed_in.layout import Layout, laid_out, limits_of
from icvos.handed_in.masks import STRICT, EpisodeMasks, Leniency, Rules, Wanted
from icvos.handed_in.records import card_findings, parsed
from icvos.kernels import kernel_named
from icvos.parallel import in_processes
from icvos.protocol import ScoringProtocol, protocol_named
from icvos.results import Result
from icvos.scoring import TubeTable, jobs_of, refuse, useful_workers
from icvos.store import PREDICTIONS, RUN, PredictionStore, RunFile, RunKey, packed_entry, read_run_file
from icvos.types import MethodCard

NATIVE = protocol_named("native@1")
HANDED_IN = "masks handed in"  # in a key, where no code made them


@dataclass(frozen=True, slots=True)
class Pack:
    """What `pack` made."""

    path: Path
    bytes: int
    sha256: str
    episodes: int
    masks: int


@dataclass(frozen=True, slots=True)
class _Checked:
    """What was found in one episode."""

    episode: str
    findings: tuple[Finding, ...]


def check(
    path: Path,
    benchmark: Benchmark,
    *,
    protocol: ScoringProtocol = NATIVE,
    leniency: Leniency = STRICT,
    workers: int | None = None,
    own: bool = False,
    on_event: Callable[[int], None] = lambda episodes: None,
) -> list[Finding]:
    """Every fault of a submission, in the order in which it lies on disk; nothing is written, and no truth is needed.

    Args:
        path: a folder of masks, a run's folder, or a zip of either.
        benchmark: the release; its sources need not be on this machine.
        protocol: which frames are scored, and in what other size masks may come.
        leniency: which faults are let pass.
        workers: processes; by default all cores where there is enough to do.
        own: it is the user's own run, in whose folder anything may lie beside the predictions.
        on_event: called with the number of episodes that were looked at.

    Raises:
        UserInputError: there is nothing at `path`.
    """
    run = read_run(path, benchmark)
    store = PredictionStore(path, run.key if run else None)
    findings = _about_run(run, benchmark)
    with closing(store.tree()) as root:
        layout = laid_out(root, benchmark)
    findings.extend((*(() if own else layout.beside), *layout.findings))
    if layout.lost:
        return findings
    wanted = wanted_of(benchmark, protocol)
    jobs, pixels = jobs_of(benchmark.episode_ids, lambda episode_id: _pixels(wanted[tube_id(episode_id)]))
    found: dict[str, tuple[Finding, ...]] = {}
    checks = _Checks(store, layout, wanted, protocol, leniency)
    for checked in chain.from_iterable(in_processes(checks, jobs, workers or useful_workers(pixels))):
        found[checked.episode] = checked.findings
        on_event(1)
    tubes = {tube: [name for name in found if tube_id(name) == tube] for tube in wanted}
    return findings + [finding for names in tubes.values() for name in names for finding in found[name]]


def score(
    path: Path,
    benchmark: Benchmark,
    *,
    protocol: ScoringProtocol = NATIVE,
    leniency: Leniency = STRICT,
    workers: int | None = None,
    card: Mapping[str, Any] | None = None,
    on_event: Callable[[TubeTable], None] = lambda table: None,
) -> tuple[Result, list[TubeTable]]:
    """Check a submission and score it: the result that the run has which it was packed from, to the byte.

    `card` describes the method where the submission does not.

    Raises:
        UserInputError: there is nothing at `path`.
        SubmissionError: the submission has faults; all are listed, those that `check` finds.
        DataError: the truth on disk is not the release's.
    """
    run = read_run(path, benchmark)
    findings = _about_run(run, benchmark)
    store = PredictionStore(path, run.key if run else None)
    with closing(store.tree()) as root:
        findings.extend(laid_out(root, benchmark).beside)
    card = (run.card if run else None) or card
    return score_store(
        store, benchmark, protocol=protocol, leniency=leniency, workers=workers, card=card, findings=findings, on_event=on_event
    )


def pack(
    path: Path,
    benchmark: Benchmark,
    out: Path,
    *,
    card: Mapping[str, Any] | None = None,
    leniency: Leniency = STRICT,
    workers: int | None = None,
    on_event: Callable[[int], None] = lambda episodes: None,
) -> Pack:
    """Check a run or a folder of masks, then pack what is scored of it, and nothing of this machine, into the zip `out`.

    The same masks and card give the same bytes. `card` describes the method where there is no `run.json`.

    Raises:
        UserInputError: there is nothing at `path`, or a card is given where there is one already, or none at all.
        SubmissionError: there are faults; all are listed, and nothing is written.
    """
    run = read_run(path, benchmark)
    if bool(run) == bool(card):
        fix = "leave --method-name and --card out" if run else "give --method-name, or --card"
        raise UserInputError("a run says itself which method it is" if run else "which method made these masks?", path, fix=fix)
    findings = check(path, benchmark, leniency=leniency, workers=workers, own=True, on_event=on_event)
    refuse(path, [*findings, *(card_findings(card, "card") if card else ())])
    key = run.key if run else None
    said = {"key": asdict(key or _key_of(card or {}, benchmark)), "card": run.card if run else card}
    episodes = masks = 0
    with atomic_file(out) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(packed_entry(RUN), to_json(said))
        for episode_id, files in _scored_files(PredictionStore(path, key), benchmark):
            if files:
                archive.writestr(packed_entry(f"{PREDICTIONS}/{episode_id}.zip"), _zipped(files))
                episodes, masks = episodes + 1, masks + len(files)
    return Pack(out, out.stat().st_size, sha256_file(out), episodes, masks)


def read_card(path: Path, method_name: str | None) -> dict[str, Any]:
    """The card in a JSON file, with all its fields, for a method of this name if one is given.

    Raises:
        UserInputError: there is no such file, or it has another name.
        SubmissionError: it is no card; all faults are listed.
    """
    try:
        data, findings = parsed(path.read_bytes(), str(path), "card")
    except OSError as error:
        raise UserInputError("cannot read the card", path, error.strerror or str(error), "a JSON file", "check --card") from error
    if method_name and data.setdefault("name", method_name) != method_name and not findings:
        raise UserInputError("two names for one method", path, repr(data["name"]), method_name, "leave --method-name out")
    refuse(path, findings or card_findings(data, str(path)))
    return asdict(MethodCard(**data))


def read_run(path: Path, benchmark: Benchmark) -> RunFile | None:
    """What a submission says of itself, if anything.

    Raises:
        UserInputError: there is nothing at `path`.
    """
    if not path.exists():
        raise UserInputError("no such folder or file", path, expected="a run, a folder of masks or a zip of either", fix="check the path")
    return read_run_file(path, limits_of(benchmark))


def wanted_of(benchmark: Benchmark, protocol: ScoringProtocol) -> dict[str, Wanted]:
    """What each tube asks of its episodes, by its id, from the release's own files alone."""
    found = {}
    for clip in benchmark.manifest.clips:
        for tube in clip.tubes:
            annotated = zip(clip.frames[: protocol.max_frames], tube.mask_sha256, strict=False)
            scored = tuple(frame for frame, digest in annotated if digest)
            found[f"{clip.source}/{clip.name}/{BY_ID[tube.class_id].slug}"] = Wanted(clip.size, clip.frames, scored)
    return found


def _about_run(run: RunFile | None, benchmark: Benchmark) -> list[Finding]:
    """What is wrong with what a submission says of itself."""
    findings = list(run.findings) if run else []
    if run and run.key and run.key.digest != benchmark.digest:
        found = f"{run.key.release}#{run.key.digest[:12]}"
        findings.append(
            Finding("release", run.where, found, benchmark.label, "give its own with --benchmark, or run the method on this one")
        )
    return findings


def _pixels(wanted: Wanted) -> int:
    return len(wanted.scored) * wanted.size[0] * wanted.size[1]


@dataclass(frozen=True, slots=True)
class _Checks:
    """Gives, once a process, the function that checks one clip's episodes."""

    store: PredictionStore
    layout: Layout
    wanted: Mapping[str, Wanted]
    protocol: ScoringProtocol
    leniency: Leniency

    def __call__(self) -> Callable[[Sequence[str]], list[_Checked]]:
        root, rules = self.store.tree(self.layout.limits), Rules(self.protocol, self.leniency, kernel_named("numpy"))

        def checked(episode_id: str) -> _Checked:
            wanted = self.wanted[tube_id(episode_id)]
            with closing(EpisodeMasks(episode_id, root, self.layout, wanted, rules)) as masks:
                for frame_id in wanted.scored:
                    data = masks.read(frame_id)
                    if data is not None:
                        masks.decode(data, frame_id)
                return _Checked(episode_id, tuple(masks.findings))

        return lambda episode_ids: [checked(episode_id) for episode_id in episode_ids]


def _scored_files(store: PredictionStore, benchmark: Benchmark) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Each episode's PNGs of scored frames, by frame, sorted by episode."""
    wanted, rules = wanted_of(benchmark, NATIVE), Rules(NATIVE, Leniency(allow_missing=True), kernel_named("numpy"))
    with closing(store.tree()) as root:
        layout = laid_out(root, benchmark)
        for episode_id in sorted(benchmark.episode_ids):
            asked = wanted[tube_id(episode_id)]
            with closing(EpisodeMasks(episode_id, root, layout, asked, rules)) as masks:
                read = ((frame_id, masks.read(frame_id)) for frame_id in asked.scored)
                yield episode_id, {frame_id: data for frame_id, data in read if data is not None}


def _zipped(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for frame_id, data in files.items():
            archive.writestr(packed_entry(f"{frame_id}.png"), data)
    return stream.getvalue()


def _key_of(card: Mapping[str, Any], benchmark: Benchmark) -> RunKey:
    """The key of masks that no run here made."""
    release = f"{benchmark.manifest.name}@{benchmark.manifest.version}"
    said = MethodCard(**card)
    return RunKey(release, benchmark.digest, said.name, said.version, HANDED_IN, said.weights, said.precision)
