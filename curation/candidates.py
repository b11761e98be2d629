"""What a person is asked about: every tube that the files allow, with what the rules warn of, as one file.

`candidates.json` stands between `icvos build --candidates DIR` and `icvos review DIR`. Its sha256 names the set: decisions carry
it, so that those of another set are told apart. `roots.json` beside it says where the sources lie on this machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from icvos.benchmark import Name, Pattern, Sha256, Side
from icvos.categories import BY_ID
from icvos.errors import DataError, UserInputError
from icvos.files import AnyPath, json_fault, parse_json, read_data, to_json, write_text
from icvos.places import read_roots, write_roots
from icvos.types import Clip, Encoding, Frame, Tube

CANDIDATES = "candidates.json"
DECISIONS = "decisions.jsonl"  # beside them, what reviewers say of them


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Warned(_Record):
    """What a rule is not sure of, for a person to decide."""

    rule: str
    reason: str


class CandidateTube(_Record):
    """One class of one clip."""

    id: str  # source/clip/class, as the tube's
    source: Name
    clip: Name
    class_id: int
    objects: tuple[int, ...] = Field(min_length=1)
    size: tuple[Side, Side]
    encoding: Encoding
    frames: tuple[Name, ...] = Field(min_length=1)
    annotated: tuple[bool, ...]  # which frames have a mask
    image: Pattern  # below the source's root, {} for the frame's id
    mask: Pattern
    content: Sha256  # of the clip's masks and first picture: another one means that the clip has changed
    warnings: tuple[Warned, ...] = ()

    def tube(self, root: Path) -> Tube:
        """The tube itself, of the tree at `root`."""
        frames = tuple(
            Frame(name, root / self.image.replace("{}", name), root / self.mask.replace("{}", name) if there else None)
            for name, there in zip(self.frames, self.annotated, strict=True)
        )
        return Tube(Clip(self.source, self.clip, self.size, frames, self.encoding), BY_ID[self.class_id], self.objects)


class CandidateFile(_Record):
    """The file."""

    format: Literal["icvos-candidates/1"]
    rules: dict[str, str]
    tubes: tuple[CandidateTube, ...]


@dataclass(frozen=True)
class CandidateSet:
    """The file, opened."""

    path: Path  # the folder
    tubes: tuple[CandidateTube, ...]  # in order of their ids
    rules: Mapping[str, str]
    digest: str  # sha256 of candidates.json
    roots: Mapping[str, Path]

    @classmethod
    def open(cls, folder: AnyPath, roots: Mapping[str, AnyPath] | None = None) -> CandidateSet:
        """Read the set in `folder`; `roots` overrides where sources lie.

        Raises:
            UserInputError: there is none.
            DataError: it cannot be read.
        """
        folder = Path(folder)
        path = folder / CANDIDATES
        if not path.is_file():
            error = DataError if folder.exists() else UserInputError
            raise error("no candidates here", folder, expected=CANDIDATES, fix="make them with `icvos build --candidates DIR`")
        data = read_data(path)
        try:
            content = CandidateFile.model_validate(parse_json(data, path))
        except ValidationError as error:
            raise DataError("not a file of candidates", path, json_fault(error), "icvos-candidates/1", "make it again") from error
        known = read_roots(folder) | {name: Path(root) for name, root in (roots or {}).items()}
        return cls(folder, content.tubes, content.rules, hashlib.sha256(data).hexdigest(), known)

    def root(self, source: str) -> Path:
        """Where a source lies.

        Raises:
            UserInputError: nobody said so.
        """
        if source not in self.roots:
            raise UserInputError("nobody said where the data is", source, fix="say --root NAME=DIR")
        return self.roots[source]


def write_candidates(
    folder: AnyPath, tubes: Sequence[CandidateTube], rules: Mapping[str, str], roots: Mapping[str, AnyPath]
) -> CandidateSet:
    """Write a set; the same tubes and rules give the same bytes, in whatever order they come.

    Raises:
        UserInputError: the folder holds decisions about other candidates, which would lose what they are about; or it cannot be
            written.
    """
    folder = Path(folder)
    content = CandidateFile(format="icvos-candidates/1", rules=dict(sorted(rules.items())), tubes=tuple(sorted(tubes, key=lambda t: t.id)))
    text, path = to_json(content.model_dump(mode="json")), folder / CANDIDATES
    if (folder / DECISIONS).exists() and path.exists() and read_data(path) != text.encode():
        fix = "give another folder, or move these away first"
        raise UserInputError("decisions about other candidates are here", folder, expected="a folder without decisions", fix=fix)
    write_text(path, text)
    write_roots(folder, {name: Path(root) for name, root in roots.items()})
    return CandidateSet.open(folder)
