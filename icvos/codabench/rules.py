"""Codabench's published rules for a competition bundle (yaml version 2), and every way in which a bundle breaks them.

The fields and their kinds: https://docs.codabench.org/latest/Organizers/Benchmark_Creation/Yaml-Structure/. The programs and
data: .../Competition-Bundle-Structure/. The lengths, unique keys and the order of phases are what the platform's own
unpacker refuses (https://github.com/codalab/codabench, apps `competitions` and `leaderboards`).
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

COMPETITION = "competition.yaml"
METADATA = "metadata.yaml"


def _moment(value: object) -> object:
    """A date as YAML reads it, or as text, as a moment without a zone."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    return value.replace(tzinfo=None) if isinstance(value, datetime) else value


def inside(path: str) -> str:
    """A path below the bundle's root.

    Raises:
        ValueError: it is absolute, or climbs out.
    """
    if not path or path.startswith("/") or "\\" in path or ".." in path.split("/"):
        raise ValueError(f"{path!r} is no path inside the bundle")
    return path


Index = Annotated[int, Field(ge=0)]
Inside = Annotated[str, AfterValidator(inside)]
Moment = Annotated[datetime, BeforeValidator(_moment)]
Key = Annotated[str, Field(min_length=1, max_length=36)]


class _Part(BaseModel):
    """An unknown key is a finding: Codabench passes over it without a word."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Page(_Part):
    """A page of the competition."""

    title: Annotated[str, Field(min_length=1)]
    file: Inside


class Phase(_Part):
    """When submissions are taken, and for which tasks."""

    index: Index | None = None
    name: Annotated[str, Field(min_length=1, max_length=256)]
    description: str = ""
    start: Moment
    end: Moment | None = None
    tasks: Annotated[list[Index], Field(min_length=1)]
    max_submissions: Index | None = None
    max_submissions_per_day: Index | None = None
    auto_migrate_to_this_phase: bool = False
    execution_time_limit: Annotated[int, Field(gt=0)] = 600
    hide_output: bool = False
    hide_prediction_output: bool = False
    hide_score_output: bool = False
    starting_kit: Inside | None = None
    public_data: Inside | None = None
    accepts_only_result_submissions: bool = False


class Task(_Part):
    """What is asked: a task by its key on the platform, or its programs and data."""

    index: Index
    key: str | None = None
    name: Annotated[str, Field(max_length=256)] = ""
    description: str = ""
    is_public: bool = False
    input_data: Inside | None = None
    reference_data: Inside | None = None
    scoring_program: Inside | None = None
    ingestion_program: Inside | None = None
    ingestion_only_during_scoring: bool = False

    @model_validator(mode="after")
    def _whole(self) -> Task:
        if not self.key and not (self.name and self.scoring_program):
            raise ValueError("a task needs a name and a scoring_program, or a key")
        return self


class Solution(_Part):
    """A submission that comes with the bundle."""

    index: Index
    tasks: Annotated[list[Index], Field(min_length=1)]
    path: Inside
    name: str = ""
    description: str = ""


class Column(_Part):
    """A column of a leaderboard."""

    title: Key
    key: Key
    index: Index
    sorting: Literal["asc", "desc"] = "desc"
    computation: Literal["sum", "avg", "min", "max", "avg_rank"] | None = None
    computation_indexes: list[Index] | None = None
    precision: Index = 2
    hidden: bool = False

    @model_validator(mode="after")
    def _computed_from_others(self) -> Column:
        if (self.computation is None) != (not self.computation_indexes):
            raise ValueError("computation and computation_indexes go together")
        if self.index in (self.computation_indexes or ()):
            raise ValueError("a column cannot be computed from itself")
        return self


class Board(_Part):
    """A leaderboard."""

    index: Index | None = None
    title: Annotated[str, Field(min_length=1, max_length=64)]
    key: Key
    columns: Annotated[list[Column], Field(min_length=1)]
    submission_rule: Literal["Add", "Add_And_Delete", "Add_And_Delete_Multiple", "Force_Last", "Force_Latest_Multiple", "Force_Best"] = (
        "Add"
    )
    hidden: bool = False


class Competition(_Part):
    """The whole of `competition.yaml`."""

    version: Literal[2, "2"]
    title: Annotated[str, Field(min_length=1, max_length=256)]
    description: str = ""
    image: Inside
    terms: Inside
    pages: Annotated[list[Page], Field(min_length=1)]
    phases: Annotated[list[Phase], Field(min_length=1)]
    tasks: Annotated[list[Task], Field(min_length=1)]
    leaderboards: Annotated[list[Board], Field(min_length=1)]
    solutions: list[Solution] = []
    registration_auto_approve: bool = False
    docker_image: Annotated[str, Field(min_length=1)] = "codalab/codalab-legacy:py37"
    make_programs_available: bool = False
    make_input_data_available: bool = False
    queue: str | None = None
    enable_detailed_results: bool = False
    show_detailed_results_in_submission_panel: bool = True
    show_detailed_results_in_leaderboard: bool = True
    contact_email: str | None = None
    reward: str | None = None
    auto_run_submissions: bool = True
    can_participants_make_submissions_public: bool = True
    forum_enabled: bool = True
    competition_type: Literal["competition", "benchmark"] = "competition"
    fact_sheet: dict[str, Any] | None = None
