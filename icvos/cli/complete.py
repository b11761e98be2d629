"""What a shell completes after an option: names, asked for when the key is pressed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

Completion = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def _names(known: Callable[[], Iterable[str]], *, many: bool = False, files: bool = False) -> Completion:
    """Complete names that begin as what is typed; of `many` the one after the last comma; where none does, maybe `files`."""

    def completed(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        before, comma, begun = incomplete.rpartition(",") if many else ("", "", incomplete)
        found = [CompletionItem(f"{before}{comma}{name}") for name in known() if name.startswith(begun)]
        return found or ([CompletionItem(incomplete, type="file")] if files else [])

    return completed


def _methods() -> list[str]:
    from icvos.registry import method_names

    return method_names()


def _sources() -> list[str]:
    from icvos.registry import source_names

    return source_names()


def _protocols() -> Iterable[str]:
    from icvos.protocol import PROTOCOLS

    return PROTOCOLS


def _weights() -> Iterable[str]:
    from icvos.weights import weight_files

    return weight_files()


def _sam() -> list[str]:
    from icvos.weights import model_names

    return [*model_names("sam2"), *model_names("sam_vit")]


methods = _names(_methods, many=True, files=True)
sources = _names(_sources, many=True)
protocols = _names(_protocols)
weights = _names(_weights)
sam = _names(_sam, files=True)
