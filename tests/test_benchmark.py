"""A release on disk: what it says, what it refuses, and that nothing in it can climb out of its folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from icvos.benchmark import EPISODES, MANIFEST, ROOTS, Benchmark, EpisodeRecord, Manifest, plain_name, tube_id, write_release
from icvos.errors import DataError, IcvosError, UserInputError

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def release(toy_release: Path, tmp_path: Path) -> Path:
    """A copy of the toy release that a test may break."""
    return Path(shutil.copytree(toy_release, tmp_path / "R"))


def change_manifest(release: Path, change: Change) -> None:
    manifest = json.loads((release / MANIFEST).read_text())
    change(manifest)
    (release / MANIFEST).write_text(json.dumps(manifest))


def change_episode(release: Path, line: int, change: Change) -> None:
    lines = (release / EPISODES).read_text().splitlines()
    episode = json.loads(lines[line - 1])
    change(episode)
    lines[line - 1] = json.dumps(episode)
    (release / EPISODES).write_text("\n".join(lines) + "\n")


def refusal(release: Path, kind: type[IcvosError] = DataError) -> str:
    with pytest.raises(kind) as caught:
        Benchmark.open(release)
    return str(caught.value)


def set_in(*path: str | int, to: object) -> Change:
    def change(record: dict[str, Any]) -> None:
        at: Any = record
        for step in path[:-1]:
            at = at[step]
        at[path[-1]] = to

    return change


def test_an_opened_release_is_what_was_frozen(release: Path, toy_data: Path) -> None:
    benchmark = Benchmark.open(release)
    assert list(benchmark.tubes) == ["davis/rex/dog", "davis/tom/cat", "davis/tom/person"]
    assert benchmark.episode_ids == tuple(f"{tube}#s{draw}" for tube in benchmark.tubes for draw in range(5))
    assert [episode.id for episode in benchmark.episodes] == list(benchmark.episode_ids)
    episode = benchmark.episodes[14]
    assert (tube_id(episode.id), episode.draw, episode.tube.instances) == ("davis/tom/person", "s4", (2,))
    frame = episode.tube.clip.frames[3]
    assert frame.image == toy_data / "DAVIS/JPEGImages/480p/tom/00003.jpg"
    assert frame.mask == toy_data / "DAVIS/Annotations/480p/tom/00003.png"
    assert frame.read_image().shape == (*episode.tube.clip.size, 3)
    support = episode.supports[0]
    assert support.category.name == "person"
    assert support.read_mask().shape == support.read_image().shape[:2] == (60, 80)
    assert support.read_mask().sum() > 1024


def test_a_frame_that_was_exchanged_is_never_read(release: Path, toy_data: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(toy_data / "DAVIS", tmp_path / "DAVIS"))
    shutil.copy(other / "JPEGImages/480p/rex/00001.jpg", other / "JPEGImages/480p/rex/00002.jpg")
    shutil.copy(other / "Annotations/480p/rex/00001.png", other / "Annotations/480p/rex/00002.png")
    tube = Benchmark.open(release, {"davis": other}).tubes["davis/rex/dog"]
    with pytest.raises(DataError, match=r"not the file that the release names: .*rex/00002\.jpg"):
        tube.clip.frames[2].read_image()
    with pytest.raises(DataError, match=r"not the file that the release names: .*rex/00002\.png"):
        list(tube.masks())


# Names and paths out of a stranger's manifest


HOSTILE_NAMES = ["", ".", "..", "../x", "a/b", "/etc", "a\\b", "a#b", "{}", "a{b}", "a\0b", "a\nb", "\x1b[2J", "\ud800"]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_name_is_no_plain_name(name: str) -> None:
    with pytest.raises(ValueError, match="plain name"):
        plain_name(name)


@pytest.mark.parametrize("name", ["bear", "3Zf4NFzn", "bike packing", "日本", "a.b-c_d", "00000", "..."])
def test_a_harmless_name_stays_as_it_is(name: str) -> None:
    assert plain_name(name) == name


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize(
    "field", [("name",), ("version",), ("clips", 0, "name"), ("clips", 0, "source"), ("clips", 0, "frames", 0)], ids=str
)
def test_a_hostile_name_is_refused_with_its_field(release: Path, field: tuple[str | int, ...], name: str) -> None:
    change_manifest(release, set_in(*field, to=name))
    said = refusal(release)
    assert "a release with a wrong field" in said
    assert f"{release / MANIFEST}, {'.'.join(map(str, field))}: found" in said


@pytest.mark.parametrize(
    "path", ["../{}", "a/../../{}", "/etc/{}", "a\\{}", "./{}", "a//{}", "{}/..", "a\0/{}", "a\n/{}", "{}/", "x", "{}{}"]
)
@pytest.mark.parametrize("field", [("clips", 0, "image"), ("clips", 0, "tubes", 0, "mask")], ids=str)
def test_a_path_that_climbs_out_or_is_no_pattern_is_refused(release: Path, field: tuple[str | int, ...], path: str) -> None:
    change_manifest(release, set_in(*field, to=path))
    said = refusal(release)
    assert ".".join(map(str, field)) in said
    assert "no path below" in said or "must hold {} once" in said


@pytest.mark.parametrize("path", ["../x.jpg", "/etc/passwd", "a\\x.jpg", "", "a/./x.jpg", "x\0.jpg"])
def test_a_support_that_climbs_out_is_refused_with_its_line(release: Path, path: str) -> None:
    change_episode(release, 3, set_in("supports", 0, "file", to=path))
    assert f"{release / EPISODES}, line 3, supports.0.file: found" in refusal(release)


# Corrupt files


@pytest.mark.parametrize("content", ["", "{", '{"format": "icvos-release/1",\n  oops}', "[1, 2", '"text"', "null", "[]"])
def test_a_corrupt_manifest_is_told_with_its_path(release: Path, content: str) -> None:
    (release / MANIFEST).write_text(content)
    said = refusal(release)
    assert str(release / MANIFEST) in said
    assert "oops" not in content or "line 2" in said


def test_a_release_of_another_format_is_told_so(release: Path) -> None:
    change_manifest(release, set_in("format", to="icvos-release/9"))
    assert "not a release of this format" in refusal(release)
    assert "found icvos-release/9, expected icvos-release/1" in refusal(release)


@pytest.mark.parametrize("line", ["{", "", "nonsense", "[" * 100_000, "[]", '{"id": 5}', "\xff"])
def test_a_corrupt_episode_is_told_with_its_line(release: Path, line: str) -> None:
    lines = (release / EPISODES).read_text().splitlines()
    lines[6] = line
    (release / EPISODES).write_bytes("\n".join(lines).encode("latin-1"))
    assert f"{release / EPISODES}, line 7" in refusal(release)


def test_a_missing_list_of_episodes_is_a_fault_of_the_data(release: Path) -> None:
    (release / EPISODES).unlink()
    assert "no such file" in refusal(release)


@pytest.mark.parametrize(
    "change",
    [
        set_in("extra", to=1),
        set_in("clips", 0, "extra", to=1),
        set_in("clips", 0, "tubes", 0, "extra", to=1),
        set_in("sources", "davis", "extra", to="x"),
        set_in("draws", to=0),
        set_in("clips", 0, "frames", to=[]),
        set_in("clips", 0, "size", to=[0, 40]),
        set_in("clips", 0, "size", to=[24]),
        set_in("clips", 0, "size", to=[24, 1 << 20]),
        set_in("clips", 0, "image_sha256", 0, to="0" * 63),
        set_in("clips", 0, "image_sha256", 0, to="G" * 64),
        set_in("clips", 0, "tubes", 0, "objects", to=[]),
        set_in("clips", 0, "tubes", 0, "objects", to=[0]),
        set_in("clips", 0, "tubes", 0, "objects", to=[255]),
        set_in("clips", 0, "tubes", 0, "class_id", to=12),
        set_in("clips", 0, "tubes", 0, "class_name", to="cat"),
        set_in("clips", 0, "tubes", 0, "encoding", to="rgb"),
        lambda manifest: manifest.pop("seed"),
        lambda manifest: manifest["clips"][0]["frames"].append("00099"),
        lambda manifest: manifest["clips"][0]["tubes"][0]["mask_sha256"].pop(),
        lambda manifest: manifest["clips"][0]["frames"].__setitem__(1, manifest["clips"][0]["frames"][0]),
        lambda manifest: manifest["clips"].append(manifest["clips"][0]),
        lambda manifest: manifest["clips"][1]["tubes"].append(manifest["clips"][1]["tubes"][0]),
        lambda manifest: manifest["sources"].pop("coco"),
        lambda manifest: manifest["sources"].pop("davis"),
    ],
)
def test_a_manifest_that_does_not_hold_together_is_refused(release: Path, change: Change) -> None:
    change_manifest(release, change)
    said = refusal(release)
    assert "a release with a wrong field" in said
    assert str(release / MANIFEST) in said


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (set_in("extra", to=1), "extra"),
        (set_in("supports", to=[]), "supports"),
        (set_in("supports", 0, "extra", to=1), "supports.0.extra"),
        (set_in("supports", 0, "sha256", to="x"), "supports.0.sha256"),
        (set_in("supports", 0, "size", to=[60, 81]), "run lengths of 4800 pixels for a mask of 60 x 81"),
        (set_in("supports", 0, "counts", to="!"), "in run lengths"),
        (set_in("supports", 0, "counts", to=""), "run lengths of 0 pixels"),
        (set_in("supports", 0, "counts", to="ü"), "ascii"),
        (set_in("id", to="davis/rex/dog#s9"), "#s0 to #s4"),
        (set_in("id", to="davis/rex/cat#s1"), "without its tube"),
        (set_in("id", to="davis/rex/dog"), "without its tube"),
        (set_in("id", to="../../dog#s1"), "without its tube"),
        (set_in("id", to="davis/rex/dog#s0"), "stands twice"),
    ],
)
def test_an_episode_that_does_not_hold_together_is_refused_with_its_line(release: Path, change: Change, words: str) -> None:
    change_episode(release, 2, change)
    said = refusal(release)
    assert f"{release / EPISODES}, line 2" in said
    assert words in said


@pytest.mark.parametrize("kept", [0, 1, 14])
def test_a_list_of_episodes_that_breaks_off_is_refused(release: Path, kept: int) -> None:
    lines = (release / EPISODES).read_text().splitlines(keepends=True)
    (release / EPISODES).write_text("".join(lines[:kept]))
    said = refusal(release)
    assert "episodes are missing" in said
    assert f"found {kept}, without davis/" in said
    assert "expected 15: 5 a tube" in said


def test_the_digest_stands_for_both_files_and_for_nothing_else(release: Path) -> None:
    before = Benchmark.open(release)
    (release / ROOTS).unlink()
    assert Benchmark.open(release).digest == before.digest
    assert before.label == f"davis@1#{before.digest[:12]}"
    change_manifest(release, set_in("seed", to="other"))
    after = Benchmark.open(release)
    assert after.digest != before.digest
    lines = (release / EPISODES).read_text().splitlines(keepends=True)
    (release / EPISODES).write_text("".join(reversed(lines)))
    assert Benchmark.open(release).digest not in {before.digest, after.digest}


# Where the sources lie


def test_a_folder_that_is_not_there_is_the_users_error_and_one_without_a_release_the_datas(tmp_path: Path) -> None:
    assert "no such folder" in refusal(tmp_path / "nowhere", UserInputError)
    said = refusal(tmp_path, DataError)
    assert "found no manifest.json" in said
    assert "icvos build" in said


def test_without_remembered_roots_the_question_is_where(release: Path, toy_data: Path) -> None:
    (release / ROOTS).unlink()
    benchmark = Benchmark.open(release)
    assert len(benchmark.episode_ids) == 15  # needs no data
    with pytest.raises(UserInputError, match=r"where is davis\?.*--root davis=DIR"):
        _ = benchmark.tubes
    roots = {"davis": toy_data / "DAVIS", "coco": toy_data / "COCO"}
    assert len(Benchmark.open(release, roots).episodes) == 15


def test_a_root_that_is_gone_is_named(release: Path, tmp_path: Path) -> None:
    (release / ROOTS).write_text(json.dumps({"davis": str(tmp_path / "gone")}))
    with pytest.raises(UserInputError, match=r"no such folder: .*gone: expected the data of davis"):
        _ = Benchmark.open(release).tubes


@pytest.mark.parametrize("content", ["{", "[]", '"x"', '{"davis": 5}', '{"davis": null}'])
def test_broken_remembered_roots_are_told(release: Path, content: str) -> None:
    (release / ROOTS).write_text(content)
    assert str(release / ROOTS) in refusal(release)


# Writing


def opened(release: Path) -> tuple[Manifest, tuple[EpisodeRecord, ...]]:
    benchmark = Benchmark.open(release)
    return benchmark.manifest, benchmark.records


def test_the_same_arguments_give_the_same_bytes(release: Path, tmp_path: Path) -> None:
    manifest, records = opened(release)
    for name in ("A", "B"):
        write_release(tmp_path / name, manifest, records, Benchmark.open(release).roots)
    for file in (MANIFEST, EPISODES, ROOTS):
        assert (tmp_path / "A" / file).read_bytes() == (tmp_path / "B" / file).read_bytes() == (release / file).read_bytes()


def test_no_path_of_this_machine_stands_in_a_release(release: Path, toy_data: Path) -> None:
    assert str(toy_data) in (release / ROOTS).read_text()
    for file in (MANIFEST, EPISODES):
        assert str(toy_data) not in (release / file).read_text()


@pytest.mark.parametrize(
    ("field", "value", "values"),
    [
        ("seed", "other", "found icvos, expected other"),
        ("version", "2", "found 1, expected 2"),
        ("name", "mine", "found davis, expected mine"),
    ],
)
def test_the_folder_of_another_release_is_left_alone_and_the_field_named(release: Path, field: str, value: str, values: str) -> None:
    manifest, records = opened(release)
    before = (release / MANIFEST).read_bytes()
    with pytest.raises(UserInputError, match=f"another release, `{field}` differs") as caught:
        write_release(release, manifest.model_copy(update={field: value}), records, {})
    assert values in str(caught.value)
    assert "--out" in str(caught.value)
    assert (release / MANIFEST).read_bytes() == before


def test_other_supports_are_another_release(release: Path) -> None:
    manifest, records = opened(release)
    moved = [record.model_copy(update={"supports": records[(place + 1) % 5].supports}) for place, record in enumerate(records[:5])]
    with pytest.raises(UserInputError, match="another release, `episodes` differs"):
        write_release(release, manifest, [*moved, *records[5:]], {})


@pytest.mark.parametrize("lost", [MANIFEST, EPISODES, ROOTS])
def test_a_release_that_was_half_written_is_completed(release: Path, lost: str) -> None:
    manifest, records = opened(release)
    roots, digest = Benchmark.open(release).roots, Benchmark.open(release).digest
    (release / lost).unlink()
    (release / ".manifest.json.0123.partial").write_text("left by a killed process")
    assert write_release(release, manifest, records, roots).digest == digest


def test_a_folder_with_other_files_and_a_file_are_not_written_to(release: Path, tmp_path: Path) -> None:
    manifest, records = opened(release)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.tex").write_text("x")
    with pytest.raises(UserInputError, match=r"holds other files: .*mine: found thesis\.tex, expected an empty folder"):
        write_release(tmp_path / "mine", manifest, records, {})
    with pytest.raises(UserInputError, match=r"not a folder: .*thesis\.tex"):
        write_release(tmp_path / "mine/thesis.tex", manifest, records, {})
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]
