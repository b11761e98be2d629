"""The board as text: one small function for each format, from a board, a score and a group to the whole file."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from icvos.render.csv import render_csv
from icvos.render.html import render_html
from icvos.render.json import render_json
from icvos.render.latex import render_latex
from icvos.render.markdown import render_markdown

if TYPE_CHECKING:
    from icvos.board import Leaderboard

Renderer: TypeAlias = "Callable[[Leaderboard, str, str | None], str]"

RENDERERS: dict[str, Renderer] = {
    "markdown": render_markdown,
    "html": render_html,
    "json": render_json,
    "csv": render_csv,
    "latex": render_latex,
}
