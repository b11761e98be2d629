"""Options that several commands share, and how they become paths."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar, cast

import click

from icvos.cli import complete

if TYPE_CHECKING:
    from icvos.benchmark import Benchmark
    from icvos.errors import Finding
    from icvos.fewshot.release import ImageRelease
    from icvos.protocol import ScoringProtocol
    from icvos.scored import Release
    from icvos.settings import Settings
    from icvos.types import Clip

Command = TypeVar("Command", bound=Callable[..., Any])
FOLDER = click.Path(path_type=Path)


class _There(click.Path):
    """A path of what is read: that it is there is asked before anything else is done."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        from icvos.errors import UserInputError

        path = Path(str(super().convert(value, param, ctx)))
        if not path.exists():
            raise UserInputError("no such file or folder", path, fix="check the path")
        return path


THERE = _There(path_type=Path)


class Told(click.Option):
    """An option whose help is made when it is shown, of what there is then; making it may import what is slow."""

    def __init__(self, *names: Any, tell: Callable[[], str], **settings: Any) -> None:
        """As `click.Option`, with `tell` in the place of `help`."""
        super().__init__(*names, **settings)
        self.tell = tell

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """The option's line of the help."""
        self.help = self.tell()
        return super().get_help_record(ctx)


class Output(click.Path):
    """A place to write to, looked at before any work is done for it: never a device, a pipe or a socket."""

    def __init__(self, *, file: bool = False) -> None:
        super().__init__(path_type=Path)
        self.file = file  # no folder may be there

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """The path as it was given.

        Raises:
            UserInputError: nothing can be written there.
        """
        from icvos.files import output, output_file

        path = cast(Path, super().convert(value, param, ctx))
        (output_file if self.file else output)(path)
        return path


OUT, OUT_FILE = Output(), Output(file=True)

strict = click.option("--strict", is_flag=True, help="Refuse faulty clips and annotations instead of leaving them out.")
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
benchmark = click.option("--benchmark", type=FOLDER, help="The release's folder.  [default: ic-vos]")
pascal = click.option("--pascal", type=FOLDER, help="The folder of VOC 2012, of episodes of images.")


resolution = click.option("--resolution", metavar="480p|full", help="Of DAVIS, where its tree has both.  [default: 480p]")


class Where(NamedTuple):
    """What the options say of where the sources lie."""

    data: Path | None = None  # a folder with all of them
    davis: Path | None = None
    coco: Path | None = None
    pascal: Path | None = None  # of commands about images
    named: tuple[str, ...] = ()  # NAME=DIR


NOWHERE = Where()


def tell_coco_faults(findings: Sequence[Finding], root: Path) -> None:
    """Say on stderr how many entries of COCO's annotations are left out, and the first of them."""
    if findings:
        more = f"faulty annotations and images of COCO left out: {len(findings)}; first: {findings[0]}"
        click.echo(f"icvos: {more}; all: `icvos verify --source coco --coco {root}`", err=True)


def roots(command: Command) -> Command:
    """--data, --davis, --coco and --root, and --pascal where the command has it, handed over as one `Where`."""

    @wraps(command)
    def gathered(**given: Any) -> Any:
        where = Where(**{name: given.pop(name) for name in Where._fields if name in given})
        return command(**given, where=where)

    for option in (
        click.option("--root", "named", multiple=True, metavar="NAME=DIR", help="The folder of any other source."),
        click.option("--coco", type=FOLDER, help="The folder of COCO (annotations/ and val2017/ inside)."),
        click.option("--davis", type=FOLDER, help="The folder of DAVIS (JPEGImages/ and Annotations/ inside)."),
        click.option("--data", type=FOLDER, help="A folder with DAVIS/, MOSE/, LVOS/, COCO/ inside.  [default: $ICVOS_DATA]"),
    ):
        gathered = option(gathered)
    return cast(Command, gathered)


def compute(command: Command) -> Command:
    """--sam, --weights, --device, --precision, --objects-at-once, --compile and --offline, handed over as one `Compute`."""

    @wraps(command)
    def gathered(**given: Any) -> Any:
        from icvos.types import Compute

        chosen = Compute(**{name: given.pop(name) for name in names})
        return command(**given, compute=chosen)

    names = ("sam", "weights", "device", "precision", "objects_at_once", "compiled", "offline")
    for option in (
        click.option("--offline", is_flag=True, help="Download no weights."),
        click.option("--compile", "compiled", is_flag=True, help="Compile the model first; worth it for long runs on a GPU."),
        click.option("--objects-at-once", type=click.IntRange(1), default=16, show_default=True, help="Lower it where memory is short."),
        click.option("--precision", default="fp32", show_default=True, metavar="fp32|bf16", help="What the model computes in."),
        click.option("--device", default="auto", show_default=True, metavar="auto|cpu|cuda|cuda:N|mps", help="Where it computes."),
        click.option("--weights", metavar="FILE", help="Weights of your own: for --sam, or the prompt generator's."),
        click.option(
            "--sam",
            default="sam2_nano",
            show_default=True,
            metavar="NAME|FILE.yaml",
            shell_complete=complete.sam,
            help="The SAM 2 of methods that use one; for images the first SAM, too: sam_vit_h.",
        ),
    ):
        gathered = option(gathered)
    return cast(Command, gathered)


def release(name_of: str) -> Callable[[Command], Command]:
    """What every release is asked: --out, --name, --release-version, --seed, --shots, --support-split and --min-support-area."""

    def add(command: Command) -> Command:
        for option in (
            click.option("--min-support-area", type=click.IntRange(1), default=1024, show_default=True, help="Of a support, in pixels."),
            click.option("--support-split", help="COCO's split for supports.  [default: val2017, or val2014]"),
            click.option("--shots", type=click.IntRange(1), default=1, show_default=True, help="Supports an episode."),
            click.option("--seed", default="icvos", show_default=True, help="Names the draw of supports."),
            click.option("--release-version", default="1", show_default=True, callback=plain_name, help="The release's version."),
            click.option("--name", callback=plain_name, help=f"The release's name.  [default: {name_of}]"),
            click.option("--out", type=OUT, help="Where the release goes.  [default: ic-vos]"),
        ):
            command = option(command)
        return command

    return add


def rules(command: Command) -> Command:
    """--sources, --labels, --min-area and --min-length: which clips, what their objects are, and the numbers in the rules."""
    for option in (
        click.option("--min-length", type=click.IntRange(1), help="Annotated frames that show the class, at least.  [default: 5]"),
        click.option("--min-area", type=click.FloatRange(0, 100), help="Percent of the first frame, at least.  [default: 0.05]"),
        click.option("--labels", type=THERE, multiple=True, metavar="FILE", help="What objects are, as CSV; may be given again."),
        click.option("--sources", shell_complete=complete.sources, help="The video data sets, separated by commas.  [default: davis]"),
    ):
        command = option(command)
    return command


def width() -> int:
    """The columns of the terminal, 80 where there is none."""
    from shutil import get_terminal_size

    return get_terminal_size((80, 24)).columns


def settings() -> Settings:
    """What `icvos.toml` in the current folder says."""
    from icvos.settings import load_settings

    return load_settings(Path())


def source_list(sources: str) -> list[str]:
    """``davis, mose`` as names, each once."""
    return list(dict.fromkeys(part.strip() for part in sources.split(",") if part.strip()))


def chosen_roots(names: Iterable[str], where: Where) -> dict[str, Path]:
    """Where these sources lie by the options alone: one a source goes before --data.

    Raises:
        UserInputError: an entry of --root is not NAME=DIR of a known source, or there is no such data folder.
    """
    from icvos.errors import UserInputError
    from icvos.settings import folder_of, roots_below

    names = list(names)
    chosen = roots_below(where.data, {name: folder_of(name) for name in names}) if where.data else {}
    ones = {"davis": where.davis, "davis2016": where.davis, "coco": where.coco, "pascal": where.pascal}
    chosen |= {name: root for name, root in ones.items() if root and name in names}
    for entry in where.named:
        name, equals, root = entry.partition("=")
        if not (name and equals and root):
            raise UserInputError("not a root", entry, expected="NAME=DIR", fix="write --root davis=/data/DAVIS")
        _check_source(name, names)
        chosen[name] = Path(root)
    return chosen


def _check_source(name: str, asked: Sequence[str]) -> None:
    from curation.sources.catalogue import ENTRIES
    from icvos.errors import UserInputError, did_you_mean
    from icvos.registry import source_names

    known = {*asked, *ENTRIES, *source_names()}
    if name not in known:
        raise UserInputError("unknown source", f"--root {name}=", fix=did_you_mean(name, known))


def all_roots(names: Iterable[str], where: Where) -> dict[str, Path]:
    """Where these sources lie by the options, and for those that the options leave out by the environment and `icvos.toml`.

    Raises:
        UserInputError: an option cannot be used, or a data folder that is needed is not there.
    """
    from icvos.settings import known_roots

    names = list(names)
    chosen = chosen_roots(names, where)
    roots = known_roots(name for name in names if name not in chosen) | chosen
    return {name: root.absolute() if root.is_dir() else root for name, root in roots.items()}  # whatever becomes the working folder


def source_roots(names: Iterable[str], where: Where) -> dict[str, Path]:
    """The same as `all_roots`, for commands that cannot go on without one of them.

    Raises:
        UserInputError: there is no such source, or nobody said where it lies.
    """
    from icvos.errors import UserInputError, did_you_mean
    from icvos.registry import source_names

    names, known = list(names), [*source_names(), "coco"]
    for name in names:
        if name not in known:
            raise UserInputError("unknown source", name, fix=did_you_mean(name, known))
    roots = all_roots(names, where)
    if missing := [name for name in names if name not in roots]:
        fix = f"say --data DIR or --root {missing[0]}=DIR, or set ICVOS_DATA"
        raise UserInputError("nobody said where the data is", ", ".join(missing), fix=fix)
    return roots


def open_benchmark(path: Path | None, where: Where = NOWHERE) -> Benchmark:
    """The release that a command is about. Its sources lie where options say, else where they were when it was built,
    else where environment and settings say.

    Raises:
        UserInputError: there is no release.
        DataError: it is corrupt.
    """
    from icvos.benchmark import Benchmark

    return _placed_clips(Benchmark.open(path or settings().benchmark), where)


def _placed_clips(release: Benchmark, where: Where) -> Benchmark:
    from dataclasses import replace

    return replace(release, roots=located(release.manifest.sources, release.roots, where))


def note(said: object) -> None:
    """Tell a note, unless it is empty: something that is no fault and that people should know."""
    if said:
        click.echo(f"note: {said}", err=True)


def note_not_data(roots: Iterable[Path]) -> None:
    """Tell once what lies in these folders of data and is none."""
    from icvos.names import NONE_LEFT, not_data_below

    note(sum(map(not_data_below, dict.fromkeys(roots)), NONE_LEFT))


def note_orders(clips: Iterable[Clip]) -> None:
    """Tell of clips whose frames' order in time is not certain: the first of them, and how many there are."""
    from curation.sources.faults import doubtful_orders

    if found := doubtful_orders(clips):
        note(f"{found[0]}{f' (and in {len(found) - 1} more clips)' if len(found) > 1 else ''}")


def _placed_images(release: ImageRelease, where: Where) -> ImageRelease:
    from dataclasses import replace

    source = release.manifest.source
    known: dict[str, Path] = {source: release.place} if release.place else {}
    return replace(release, place=located((source,), known, where).get(source))


def open_images(path: Path, where: Where = NOWHERE) -> ImageRelease:
    """The release of images at `path`. Its pictures lie where options say, else where they did when it was frozen, else where
    environment and settings say.

    Raises:
        UserInputError: there is no release, or its pictures lie in none of these places.
        DataError: it is corrupt.
    """
    from icvos.errors import UserInputError
    from icvos.fewshot.release import ImageRelease

    release = _placed_images(ImageRelease.open(path), where)
    source = release.manifest.source
    if not release.root.is_dir():
        fix = f"say --{source} DIR or --data DIR, or set ICVOS_DATA"
        raise UserInputError("the pictures of the release are not here", path, f"no folder {release.root}", "the data set's folder", fix)
    return release


def chosen_protocol(name: str | None) -> ScoringProtocol | None:
    """The protocol that was named, if one was.

    Raises:
        UserInputError: there is none of this name.
    """
    from icvos.protocol import protocol_named

    return None if name is None else protocol_named(name)


def open_release(path: Path | None, where: Where | None = None) -> Release:
    """The release that a command is about, of clips or of images; without `where` nothing is asked of where its sources lie.

    Raises:
        UserInputError: there is no release.
        DataError: it is corrupt.
    """
    from icvos.benchmark import Benchmark
    from icvos.scored import open_release as opened

    release = opened(path or settings().benchmark)
    if where is None:
        return release
    return _placed_clips(release, where) if isinstance(release, Benchmark) else _placed_images(release, where)


def located(sources: Iterable[str], known: Mapping[str, Path], where: Where) -> dict[str, Path]:
    """Where sources lie by the options, else where they were `known` to, else by the environment and `icvos.toml`.

    Raises:
        UserInputError: an option cannot be used, or a data folder that is needed is not there.
    """
    from icvos.settings import located as place

    names = list(sources)
    return place(names, known, chosen_roots(names, where))


def plain_name(ctx: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """A name that may stand in a release, if one was given.

    Raises:
        UserInputError: it may not.
    """
    from icvos.benchmark import plain_name
    from icvos.errors import UserInputError

    try:
        return None if value is None else plain_name(value)
    except ValueError as error:
        raise UserInputError(
            "not a plain name", parameter.opts[0], repr(value), "letters, digits, dots and dashes", "choose another"
        ) from error


def shard(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int]:
    """``i/n`` as two numbers, 1 <= i <= n."""
    part, slash, parts = (value or "1/1").partition("/")
    if not (slash and part.isdecimal() and parts.isdecimal() and 1 <= int(part) <= int(parts)):
        raise click.BadParameter(f"found {value}, expected i/n with 1 <= i <= n, as in 1/4")
    return int(part), int(parts)
