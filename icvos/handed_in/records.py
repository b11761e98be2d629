"""A run's key and a method's card as others wrote them, in JSON: every fault found, nothing taken for what it should be."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from typing import Any

from icvos.cards import card_faults
from icvos.errors import Finding, did_you_mean
from icvos.files import json_fault
from icvos.handed_in.limits import MOST_ITEMS, MOST_RUN_FILE_BYTES, MOST_TEXT
from icvos.handed_in.names import is_folder_name, shown
from icvos.types import MethodCard


def parsed(data: bytes, where: str, code: str) -> tuple[dict[str, Any], list[Finding]]:
    """The JSON object in these bytes, and what is wrong with it as a whole: then the object is empty."""
    found = ""
    if len(data) > MOST_RUN_FILE_BYTES:
        found = f"more than the {MOST_RUN_FILE_BYTES:,} bytes that are read"
    else:
        try:
            value = json.loads(data)
            if isinstance(value, dict):
                return value, []
            found = _said(value)
        except (ValueError, RecursionError) as error:
            found = json_fault(error)
    return {}, [Finding(code, where, shown(found), "one JSON object", "write the file again")]


def key_findings(record: type, data: Any, where: str) -> list[Finding]:
    """What keeps `data` from being a record of this class, whose fields are all text."""
    if not isinstance(data, Mapping):
        return [Finding("run", where, _said(data), "an object with the fields of a run's key", "run the method again with this version")]
    known = {field.name: field for field in fields(record)}
    findings = [
        Finding("run", f"{where}.{name}", _said(data.get(name)), f"text of at most {MOST_TEXT:,} letters", "run the method again")
        for name, field in known.items()
        if (name in data or field.default is MISSING) and not _is_text(data.get(name))
    ]
    return findings + list(_unknown(data, known, where, "run"))


def card_findings(data: Any, where: str) -> list[Finding]:
    """What keeps `data` from being a method's card: fields of another type, unknown or without end, a name that names no folder."""
    if not isinstance(data, Mapping):
        return [Finding("card", where, _said(data), "an object with the fields of a card", "see `icvos schema card`")]
    faults = {(fault.field, fault.found): fault for fault in card_faults(data)}.values()
    findings = [Finding("card", f"{where}.{fault.field}", shown(fault.found), fault.expected, fault.fix) for fault in faults]
    for field in fields(MethodCard):
        value = data.get(field.name, "")
        texts = [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else []
        if len(texts) > MOST_ITEMS or not all(_is_text(text) for text in texts if isinstance(text, str)):
            expected = f"at most {MOST_ITEMS:,} texts of at most {MOST_TEXT:,} letters that can be written as UTF-8"
            findings.append(Finding("card", f"{where}.{field.name}", _said(value), expected, "shorten it"))
    name = data.get("name", "")
    if isinstance(name, str) and name.strip() and not is_folder_name(name):
        findings.append(Finding("card", f"{where}.name", _said(name), "a name without slashes, of letters that can be seen", "rename it"))
    return findings + list(_unknown(data, {field.name for field in fields(MethodCard)}, where, "card"))


def _unknown(data: Mapping[Any, Any], known: Any, where: str, code: str) -> Iterator[Finding]:
    for name in sorted(set(data) - set(known)):
        yield Finding(code, f"{where}.{shown(name)}", "a field that is not known", "those of this version", did_you_mean(name[:200], known))


def _is_text(value: Any) -> bool:
    """Whether a value is text that can be written down again: half of a surrogate pair cannot."""
    return isinstance(value, str) and len(value) <= MOST_TEXT and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _said(value: Any) -> str:
    """A JSON value in a few words."""
    if isinstance(value, str) and len(value) > 200:
        return f"a text of {len(value):,} letters"
    if isinstance(value, list | tuple | Mapping):
        return f"{'an object' if isinstance(value, Mapping) else 'a list'} of {len(value):,}"
    return "nothing" if value is None else shown(repr(value))
