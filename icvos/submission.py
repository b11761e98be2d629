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

from icvos.benchmark import tube_id
from icvos.errors import Finding, UserInputError
from icvos.files import AnyPath, atomic_file, sha256_file, to_json
from icvos.handed_in.asked import Asked, Asks
from icvos.handed_in.layout import Layout, laid_out
from icvos.handed_in.masks import STRICT, EpisodeMasks, Leniency, Rules
from icvos.handed_in.records import card_findings, parsed
from icvos.kernels import kernel_named
from icvos.names import NotData
from icvos.parallel import in_processes
from icvos.protocol import ScoringProtocol
from icvos.scored import Release, Scored, score_store
from icvos.scoring import jobs_of, refuse, useful_workers
from icvos.store import PREDICTIONS, RUN, PredictionStore, RunFile, RunKey, packed_entry, read_run_file
from icvos.types import MethodCard

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
    path: AnyPath,
    benchmark: Asks,
    *,
    protocol: ScoringProtocol | None = None,
    leniency: Leniency = STRICT,
    workers: int | None = None,
    own: bool = False,
    on_event: Callable[[int], None] = lambda episodes: None,
) -> list[Finding]:
    """Every fault of a submission, in the order in which it lies on disk; nothing is written, and no truth is needed.

    Args:
        path: a folder of masks, a run's folder, or a zip of either.
        benchmark: the release, of clips or of images; its sources need not be on this machine.
        protocol: which frames are scored, and in what other size masks may come; by default native@1. Images have their release's own.
        leniency: which faults are let pass.
        workers: processes; by default all cores where there is enough to do.
        own: it is the user's own run, in whose folder anything may lie beside the predictions.
        on_event: called with the number of episodes that were looked at.

    Raises:
        UserInputError: there is nothing at `path`, or a protocol is given for images.
    """
    path = Path(path)
    asked = benchmark.asked(protocol)
    run = read_run(path, asked)
    store = PredictionStore(path, run.key if run else None)
    findings = _about_run(run, asked)
    with closing(store.tree()) as root:
        layout = laid_out(root, asked)
    findings.extend((*(() if own else layout.beside), *layout.findings))
    if layout.lost:
        return findings
    jobs, pixels = jobs_of(asked.episode_ids, lambda episode_id: asked.of(episode_id).pixels)
    found: dict[str, list[Finding]] = {tube: [] for tube in asked.tubes}  # those of a tube come one after the other
    for checked in chain.from_iterable(in_processes(_Checks(store, layout, asked, leniency), jobs, workers or useful_workers(pixels))):
        found[tube_id(checked.episode)].extend(checked.findings)
        on_event(1)
    return findings + [finding for tube in found.values() for finding in tube]


def score(
    path: AnyPath,
    benchmark: Release,
    *,
    protocol: ScoringProtocol | None = None,
    leniency: Leniency = STRICT,
    workers: int | None = None,
    card: Mapping[str, Any] | None = None,
    on_event: Callable[[int], None] = lambda episodes: None,
) -> Scored:
    """Check a submission and score it: the result that the run has which it was packed from, to the byte.

    `card` describes the method where the submission does not. `on_event` is called with the number of episodes that were scored.

    Raises:
        UserInputError: there is nothing at `path`, or a protocol is given for images.
        SubmissionError: the submission has faults; all are listed, those that `check` finds.
        DataError: the truth on disk is not the release's.
    """
    path = Path(path)
    asked = benchmark.asked(protocol)
    run = read_run(path, asked)
    findings = _about_run(run, asked)
    store = PredictionStore(path, run.key if run else None)
    with closing(store.tree()) as root:
        findings.extend(laid_out(root, asked).beside)
    card = (run.card if run else None) or card
    return score_store(
        store, benchmark, protocol=protocol, leniency=leniency, workers=workers, card=card, findings=findings, on_event=on_event
    )


def pack(
    path: AnyPath,
    benchmark: Asks,
    out: AnyPath,
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
    path = Path(path)
    out = Path(out)
    asked = benchmark.asked()
    run = read_run(path, asked)
    if bool(run) == bool(card):
        fix = "leave --method-name and --card out" if run else "give --method-name, or --card"
        raise UserInputError("a run says itself which method it is" if run else "which method made these masks?", path, fix=fix)
    findings = check(path, benchmark, leniency=leniency, workers=workers, own=True, on_event=on_event)
    refuse(path, [*findings, *(card_findings(card, "card") if card else ())])
    key = run.key if run else None
    said = {"key": asdict(key or _key_of(card or {}, asked)), "card": run.card if run else card}
    episodes = masks = 0
    with atomic_file(out) as stream, zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(packed_entry(RUN), to_json(said))
        for episode_id, files in _scored_files(PredictionStore(path, key), asked):
            if files:
                archive.writestr(packed_entry(f"{PREDICTIONS}/{episode_id}.zip"), _zipped(files))
                episodes, masks = episodes + 1, masks + len(files)
    return Pack(out, out.stat().st_size, sha256_file(out), episodes, masks)


def read_card(path: AnyPath, method_name: str | None) -> dict[str, Any]:
    """The card in a JSON file, with all its fields, for a method of this name if one is given.

    Raises:
        UserInputError: there is no such file, or it has another name.
        SubmissionError: it is no card; all faults are listed.
    """
    path = Path(path)
    try:
        data, findings = parsed(path.read_bytes(), str(path), "card")
    except OSError as error:
        raise UserInputError("cannot read the card", path, error.strerror or str(error), "a JSON file", "check --card") from error
    if method_name and data.setdefault("name", method_name) != method_name and not findings:
        raise UserInputError("two names for one method", path, repr(data["name"]), method_name, "leave --method-name out")
    refuse(path, findings or card_findings(data, str(path)))
    return asdict(MethodCard(**data))


def read_run(path: AnyPath, asked: Asked) -> RunFile | None:
    """What a submission says of itself, if anything.

    Raises:
        UserInputError: there is nothing at `path`.
    """
    path = Path(path)
    if not path.exists():
        raise UserInputError("no such folder or file", path, expected="a run, a folder of masks or a zip of either", fix="check the path")
    return read_run_file(path, asked.limits)


def not_data(path: Path, benchmark: Asks) -> NotData:
    """What lies in a submission and is no data: never read, never a fault.

    Raises:
        UserInputError: there is nothing at `path`.
    """
    asked = benchmark.asked()
    run = read_run(path, asked)
    return PredictionStore(path, run.key if run else None).not_data(asked.limits)


def _about_run(run: RunFile | None, asked: Asked) -> list[Finding]:
    """What is wrong with what a submission says of itself."""
    findings = list(run.findings) if run else []
    if run and run.key and run.key.digest != asked.digest:
        found = f"{run.key.release}#{run.key.digest[:12]}"
        findings.append(Finding("release", run.where, found, asked.label, "give its own with --benchmark, or run the method on this one"))
    return findings


@dataclass(frozen=True, slots=True)
class _Checks:
    """Gives, once a process, the function that checks one clip's episodes."""

    store: PredictionStore
    layout: Layout
    asked: Asked
    leniency: Leniency

    def __call__(self) -> Callable[[Sequence[str]], list[_Checked]]:
        root, rules = self.store.tree(self.layout.limits), Rules(self.asked.protocol, self.leniency, kernel_named("numpy"))

        def checked(episode_id: str) -> _Checked:
            wanted = self.asked.of(episode_id)
            with closing(EpisodeMasks(episode_id, root, self.layout, wanted, rules)) as masks:
                for frame_id in wanted.scored:
                    data = masks.read(frame_id)
                    if data is not None:
                        masks.decode(data, frame_id)
                return _Checked(episode_id, tuple(masks.findings))

        return lambda episode_ids: [checked(episode_id) for episode_id in episode_ids]


def _scored_files(store: PredictionStore, asked: Asked) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Each episode's PNGs of scored frames, by frame, sorted by episode."""
    rules = Rules(asked.protocol, Leniency(allow_missing=True), kernel_named("numpy"))
    with closing(store.tree()) as root:
        layout = laid_out(root, asked)
        for episode_id in sorted(asked.episode_ids):
            wanted = asked.of(episode_id)
            with closing(EpisodeMasks(episode_id, root, layout, wanted, rules)) as masks:
                read = ((frame_id, masks.read(frame_id)) for frame_id in wanted.scored)
                yield episode_id, {frame_id: data for frame_id, data in read if data is not None}


def _zipped(files: Mapping[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for frame_id, data in files.items():
            archive.writestr(packed_entry(f"{frame_id}.png"), data)
    return stream.getvalue()


def _key_of(card: Mapping[str, Any], asked: Asked) -> RunKey:
    """The key of masks that no run here made."""
    said = MethodCard(**card)
    return RunKey(asked.release, asked.digest, said.name, said.version, HANDED_IN, said.weights, said.precision)
