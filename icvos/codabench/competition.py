"""`competition.yaml`, the pages and the logo: what people see of a competition."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any

from icvos.codabench.plan import Plan
from icvos.codabench.scoring import TEMPLATES
from icvos.render.markdown import code, escape
from icvos.render.page import page_environment
from icvos.render.text import one_line

if TYPE_CHECKING:
    from icvos.benchmark import Benchmark

LOGO = "logo.png"
SCORING_PROGRAM, REFERENCE_DATA, STARTING_KIT = "scoring_program.zip", "reference_data.zip", "starting_kit.zip"
PAGES = ("overview", "data", "evaluation", "terms")
# In the order of the board, the first ranks: title, key in scores.json, decimals. Scores lie in [0, 1], and more is better.
COLUMNS = (("J&F", "jf", 4), ("J", "j", 4), ("F", "f", 4), ("J, first frame", "j_first", 4), ("coverage", "coverage", 4))
START = "2025-01-01 00:00:00"  # past, so that submissions are taken as soon as the organiser publishes


def competition(plan: Plan) -> dict[str, Any]:
    """What `competition.yaml` holds: one phase without an end, one task, one leaderboard."""
    return {
        "version": 2,
        "title": plan.title,
        "description": f"In-context video object segmentation: {plan.tubes} tubes in {plan.clips} clips, {plan.episodes} episodes.",
        "image": LOGO,
        "terms": "pages/terms.md",
        "registration_auto_approve": False,
        "docker_image": plan.docker_image,
        "make_programs_available": True,
        "make_input_data_available": False,
        "enable_detailed_results": True,
        "pages": [{"title": name.capitalize(), "file": f"pages/{name}.md"} for name in PAGES[:-1]],
        "tasks": [
            {
                "index": 0,
                "name": f"Follow every class ({plan.protocol.id})",
                "description": "Masks of every episode against the truth.",
                "scoring_program": SCORING_PROGRAM,
                "reference_data": REFERENCE_DATA,
            }
        ],
        "phases": [
            {
                "index": 0,
                "name": "Benchmark",
                "description": "Hand in the masks of every episode.",
                "start": START,
                "tasks": [0],
                "max_submissions_per_day": 5,
                "max_submissions": 100,
                "execution_time_limit": plan.time_limit,
                "starting_kit": STARTING_KIT,
                "accepts_only_result_submissions": True,
            }
        ],
        "leaderboards": [
            {
                "title": "Results",
                "key": "main",
                "submission_rule": "Force_Best",
                "columns": [
                    {"title": title, "key": key, "index": index, "sorting": "desc", "precision": precision}
                    for index, (title, key, precision) in enumerate(COLUMNS)
                ],
            }
        ],
    }


def pages(plan: Plan, benchmark: Benchmark) -> Iterator[tuple[str, str]]:
    """The name and the markdown of every page, and of the starting kit's README; foreign words are escaped."""
    from markupsafe import Markup

    environment = page_environment(TEMPLATES)
    environment.filters |= {
        "md": lambda words: Markup(escape(one_line(words))),
        "code": lambda words: Markup(code(str(words))),
        "megabytes": lambda size: f"{size / 1e6:.1f} MB",
    }
    for name in (*PAGES, "README"):
        yield name, environment.get_template(f"{name.lower()}.md.j2").render(plan=plan, benchmark=benchmark, columns=COLUMNS)


def logo() -> bytes:
    """A PNG: an object and its mask, three times, each a step further; drawn here, so that nobody else's picture is used."""
    from PIL import Image, ImageDraw

    side, scale = 400, 3  # drawn larger, then shrunk: Pillow draws edges without smoothing
    picture = Image.new("RGB", (side * scale, side * scale), "#14181c")
    draw = ImageDraw.Draw(picture)
    for step, (frame, shape) in enumerate((("#242b33", "#7a4a1f"), ("#2c343d", "#b8662a"), ("#363d45", "#f0a45c"))):
        left, top = (30 + 60 * step) * scale, (50 + 75 * step) * scale
        draw.rounded_rectangle((left, top, left + 220 * scale, top + 150 * scale), 14 * scale, fill=frame)
        x, y = left + (40 + 35 * step) * scale, top + 30 * scale
        draw.ellipse((x, y, x + 90 * scale, y + 90 * scale), fill=shape, outline="#ffffff", width=4 * scale)
    stream = BytesIO()
    picture.resize((side, side), Image.Resampling.LANCZOS).save(stream, "png")
    return stream.getvalue()
