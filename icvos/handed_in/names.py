"""Names of files as others write them: shown safely, cleaned, and recognised where they are nearly right."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from urllib.parse import unquote

from icvos.handed_in.limits import MOST_DEPTH
from icvos.names import differ_in_accents_alone, form_of, is_junk

_LONGEST = 160  # characters of a name in a message
_DRIVE = re.compile(r"^[A-Za-z]:")


def shown(name: str) -> str:
    """A foreign name as it may stand in a message: one line, nothing that a terminal would obey, not without end."""
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in name[: _LONGEST + 1])
    return safe if len(safe) <= _LONGEST else f"{safe[:_LONGEST]}…"


def is_left_behind(name: str) -> bool:
    """Whether the name of a zip's entry is that of something that is no data, or lies in a folder that is none, below the zip's top."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    climbs = name.startswith("/") or "\\" in name or ".." in parts or bool(_DRIVE.match(name))
    return not climbs and any(map(is_junk, parts))


def clean_parts(name: str) -> tuple[str, ...]:
    """Where the name of a zip's entry would lead if it stayed below the zip's top: no drive, root, ``..`` or invisible letter."""
    path = _DRIVE.sub("", name.partition("\0")[0]).replace("\\", "/")
    if not path.isprintable():
        path = "".join(c for c in path if c.isprintable())
    return tuple(part for part in path.split("/") if part not in ("", ".", ".."))


def unsafe(name: str) -> str:
    """Why the name of a zip's entry must not be used as a path; empty where nothing speaks against it."""
    path = name.removesuffix("/").removeprefix("./")  # as some programs begin every name
    parts = path.split("/")
    reasons = {
        f"a path of {len(parts)} folders": len(parts) > MOST_DEPTH,
        "a path from the root of a disk": path.startswith("/") or bool(_DRIVE.match(path)),
        "a path that climbs out": ".." in re.split(r"[/\\]", path),
        "a path with backslashes": "\\" in path,
        "a name with letters that cannot be seen": not path.isprintable(),
        "a path with empty parts": any(part in ("", ".") for part in parts),
    }
    return next((reason for reason, so in reasons.items() if so), "")


def key_of(name: str) -> str:
    """What is left of a name without case, form of accents, signs, leading zeros and %23: equal for names that people mix up."""
    letters = "".join(c for c in unicodedata.normalize("NFKC", unquote(name)).casefold() if c.isprintable())
    words = re.split(r"[^\w.]|_", unicodedata.normalize("NFKC", letters))
    return "-".join(re.sub(r"(?<!\d)0+(?=\d)", "", word) for word in words if word)


def recognised(name: str, keys: Mapping[str, list[str]]) -> str | None:
    """The one expected name that is meant, by `keys_of` the expected names; None where it is none or may be several."""
    meant = keys.get(key_of(name), [])
    return meant[0] if len(meant) == 1 else None


def told_apart(name: str, meant: str) -> tuple[str, str]:
    """A name that is nearly right, and the right one, as they may stand in a message: where they look the same, it says why not."""
    if differ_in_accents_alone(name, meant):
        return f"{shown(name)} (accents as {form_of(name)})", f"{shown(meant)} (accents as {form_of(meant)})"
    encoded = unquote(name) != name and unquote(name) == meant
    return f"{shown(name)} (percent-encoded)" if encoded else shown(name), meant


def keys_of(names: Iterable[str]) -> dict[str, list[str]]:
    """Expected names by their keys."""
    keys: dict[str, list[str]] = {}
    for name in names:
        keys.setdefault(key_of(name), []).append(name)
    return keys


def beginnings(name: str) -> list[str]:
    """What stands before each dot of a name, the longest first."""
    return [name[:place] for place in range(len(name) - 1, 0, -1) if name[place] == "."][:8]


def is_folder_name(name: str) -> bool:
    """Whether a method's name can be the folder of its runs: not hidden, without slashes, printable, not too long."""
    plain = bool(name) and not name.startswith(".") and name.isprintable() and not set(name) & set("/\\")
    return plain and len(name.encode(errors="replace")) <= 200
