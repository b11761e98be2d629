"""`icvos compare` of results on images: against loops from the definitions, its properties, what it refuses, and the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toys import with_totals

from icvos.errors import DataError, UserInputError
from icvos.fewshot.comparison import ImageComparison, compare_images, image_files
from icvos.fewshot.pairs import Rows, paired, paired_folds
from icvos.fewshot.release import ImageManifest, ImageRelease
from icvos.fewshot.results import read_counts, save, summarise
from icvos.fewshot.scoring import Counts, EpisodeCounts, summarise_counts
from icvos.render.image_comparison import render_images_compared
from icvos.stats import holm

CLASSES = ("airplane", "bicycle", "bird")
PIXELS = 100


def episode(number: int, category: str, picture: int, inter: int, union: int) -> EpisodeCounts:
    counts = Counts(inter, union, PIXELS - union, PIXELS - inter)
    return EpisodeCounts(f"pascal/p{picture}/{category}#e{number}", category, f"p{picture}", counts)


# (fold, seed, class, picture, what each of two methods intersects, and how much more it unites)
sides = st.tuples(st.integers(0, 40), st.integers(0, 40))
drawn_episodes = st.lists(
    st.tuples(st.integers(0, 1), st.integers(0, 1), st.sampled_from(CLASSES), st.integers(0, 3), sides, sides), min_size=1, max_size=9
)


def two_methods(drawn: Sequence[Any]) -> tuple[Rows, Rows]:
    methods: tuple[dict[tuple[int, int], list[EpisodeCounts]], ...] = ({}, {})
    for number, (fold, seed, category, picture, *both) in enumerate(drawn):
        for rows, (inter, more) in zip(methods, both, strict=True):
            rows.setdefault((fold, seed), []).append(episode(number, category, picture, inter, inter + more))
    return methods[0], methods[1]


# ---------------------------------------------------------------- from the definitions


def slow_scores(weighted: Sequence[tuple[int, int, EpisodeCounts, int]]) -> tuple[float, float]:
    """(fold, seed, episode, how often) -> mIoU and FB-IoU, the mean over seeds and then over folds."""
    of_folds = []
    for fold in sorted({fold for fold, *_ in weighted}):
        of_seeds = []
        for seed in sorted({seed for f, seed, _, _ in weighted if f == fold}):
            rows = [(row, times) for f, s, row, times in weighted if (f, s) == (fold, seed) and times]
            if not rows:
                continue
            ious = []
            for name in sorted({row.category for row, _ in rows}):
                inter = sum(times * row.counts.intersection for row, times in rows if row.category == name)
                ious.append(inter / max(1, sum(times * row.counts.union for row, times in rows if row.category == name)))
            both = [sum(times * row.counts[column] for row, times in rows) for column in range(4)]
            of_seeds.append((sum(ious) / len(ious), (both[0] / max(1, both[1]) + both[2] / max(1, both[3])) / 2))
        of_folds.append(np.mean(of_seeds, axis=0))
    miou, fb = np.mean(of_folds, axis=0)
    return float(miou), float(fb)


def listed(rows: Rows) -> list[tuple[int, int, EpisodeCounts]]:
    return [(*key, row) for key in sorted(rows) for row in rows[key]]


def slow_p(first: Rows, second: Rows) -> list[float]:
    """All choices of pictures whose counts change hands."""
    a, b = listed(first), listed(second)
    pictures = sorted({row.picture for *_, row in a})
    gaps = []
    for choice in product((False, True), repeat=len(pictures)):
        turned = dict(zip(pictures, choice, strict=True))
        one = [(*x[:2], y[2] if turned[x[2].picture] else x[2], 1) for x, y in zip(a, b, strict=True)]
        two = [(*x[:2], x[2] if turned[x[2].picture] else y[2], 1) for x, y in zip(a, b, strict=True)]
        gaps.append(np.subtract(slow_scores(one), slow_scores(two)))
    return [float(np.mean([abs(gap[k]) >= abs(gaps[0][k]) - 1e-9 for gap in gaps])) for k in range(2)]


@settings(max_examples=40, deadline=None)
@given(drawn_episodes)
def test_differences_and_p_are_those_of_the_definition(drawn: list[Any]) -> None:
    first, second = two_methods(drawn)
    found = paired_folds(first, second, resamples=99)
    scores = [slow_scores([(*row, 1) for row in listed(rows)]) for rows in (first, second)]
    rows = list(found.differences.values())
    assert [(row.first, row.second) for row in rows] == [pytest.approx(pair, abs=1e-12) for pair in zip(*scores, strict=True)]
    assert [row.p for row in rows] == slow_p(first, second) == [row.corrected for row in rows]
    for fold, differences in found.folds.items():
        alone = [{key: side[key] for key in side if key[0] == fold} for side in (first, second)]
        assert [row.p for row in differences.values()] == pytest.approx(slow_p(*alone), abs=1e-12)
    ious = [[row.counts.iou for *_, row in listed(side)] for side in (first, second)]
    won = [round(a, 4) - round(b, 4) for a, b in zip(*ious, strict=True)]
    assert (found.wins, found.ties, found.losses) == (sum(x > 0 for x in won), sum(x == 0 for x in won), sum(x < 0 for x in won))


def test_intervals_are_those_of_the_definition() -> None:
    rng = np.random.default_rng(5)
    drawn = [
        (fold, seed, CLASSES[rng.integers(3)], int(rng.integers(4)), *rng.integers(0, 40, (2, 2)).tolist())
        for fold in (0, 2)
        for seed in (0, 1)
        for _ in range(6)
    ]
    first, second = two_methods(drawn)
    found, gaps = paired_folds(first, second, resamples=60, seed=3), {}
    for fold in (0, 2):
        alone = [[one for one in listed(rows) if one[0] == fold] for rows in (first, second)]
        pictures = sorted({row.picture for *_, row in alone[0]})
        gaps[fold] = []
        for draw in np.random.default_rng((3, fold)).integers(0, len(pictures), (60, len(pictures))):
            often = {name: list(draw).count(place) for place, name in enumerate(pictures)}
            one, two = (slow_scores([(*row, often[row[2].picture]) for row in rows]) for rows in alone)
            gaps[fold].append(np.subtract(one, two))
        ends = np.quantile(gaps[fold], (0.025, 0.975), axis=0)
        assert found.folds[fold]["mIoU"].interval == pytest.approx(tuple(ends[:, 0]), abs=1e-9)
    ends = np.quantile(np.mean(list(gaps.values()), axis=0), (0.025, 0.975), axis=0)
    assert found.differences["FB-IoU"].interval == pytest.approx(tuple(ends[:, 1]), abs=1e-9)


def test_methods_that_are_alike_are_rarely_told_apart() -> None:
    """Of pairs that differ by chance alone about one in twenty has p below 0.05."""
    rng, told = np.random.default_rng(0), 0
    for _ in range(100):
        drawn = [(0, 0, CLASSES[n % 3], n // 2, *rng.integers(0, 40, (2, 2)).tolist()) for n in range(24)]
        told += paired_folds(*two_methods(drawn), resamples=199).differences["mIoU"].p < 0.05
    assert 1 <= told <= 11


# ---------------------------------------------------------------- properties


@settings(max_examples=20, deadline=None)
@given(drawn_episodes)
def test_a_method_does_not_differ_from_itself(drawn: list[Any]) -> None:
    first, _ = two_methods(drawn)
    found = paired_folds(first, first, resamples=99)
    for row in (*found.differences.values(), *(row for rows in found.folds.values() for row in rows.values())):
        assert (row.value, row.p, row.corrected) == (0, 1, 1) and row.interval in (None, (0, 0))
    assert (found.wins, found.losses, found.ahead, found.behind) == (0, 0, (), ())


@settings(max_examples=20, deadline=None)
@given(drawn_episodes, st.randoms(use_true_random=False))
def test_swapping_negates_and_order_does_not_matter(drawn: list[Any], random: Any) -> None:
    first, second = two_methods(drawn)
    there, back = paired_folds(first, second, resamples=99), paired_folds(second, first, resamples=99)
    for by, row in there.differences.items():
        other = back.differences[by]
        assert (row.value, row.p) == (-other.value, other.p)
        assert row.interval is None or row.interval == pytest.approx([-end for end in reversed(other.interval or ())], abs=1e-12)
    assert (there.wins, there.losses) == (back.losses, back.wins)
    assert [gap.episode for gap in there.ahead] == [gap.episode for gap in back.behind]
    mixed = [{key: random.sample(rows[key], len(rows[key])) for key in sorted(rows, reverse=True)} for rows in (first, second)]
    assert paired_folds(*mixed, resamples=99) == there


def test_one_shot_against_five_is_paired_by_ids_and_nothing_else() -> None:
    one = [episode(number, CLASSES[number % 3], number, 10 + number, 40) for number in range(6)]
    five = [episode(number, CLASSES[number % 3], number, 14 + number, 40) for number in range(6)]
    row = paired(five, one).differences["mIoU"]
    assert row.first == summarise_counts(five).miou and row.value == pytest.approx(0.1) and row.p == 2 / 2**6
    assert row.interval == pytest.approx((0.1, 0.1))
    for other in (one[1:], [*one[:-1], replace(one[-1], category="bird", picture="p9")], []):
        with pytest.raises(DataError, match="results of other episodes cannot be paired"):
            paired(one, other)
    with pytest.raises(DataError, match="found no episodes"):
        paired([], [])


# ---------------------------------------------------------------- files


def rows_of(level: int, seed: int, count: int = 8) -> list[EpisodeCounts]:
    noise = np.random.default_rng(seed).integers(0, 5, count).tolist()
    return [episode(number, CLASSES[number % 3], number, level + noise[number], 60) for number in range(count)]


def write(
    folder: Path, name: str, level: int, *, fold: int = 0, seed: int = 0, shots: int = 1, digest: str = "d", count: int = 8, **card: Any
) -> Path:
    """A run's result with its counts, as `icvos fewshot` leaves them."""
    given = {"benchmark": "pascal5i", "fold": fold, "shots": shots, "seed": seed, "protocol": "native", "source": "pascal", "pool": "val"}
    manifest = ImageManifest(name=f"pascal5i-fold{fold}", episodes=count, classes=CLASSES, **given)
    release = ImageRelease(folder, manifest, {}, (), f"{fold}{seed}{digest}".ljust(64, "0"), None)
    rows = rows_of(level, 10 * fold + seed, count)
    return save(summarise(rows, release, {"name": name, "kind": "method", **card}), rows, folder / "results")


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Methods a, b and c on two folds with two seeds, a floor, and a hostile name."""
    monkeypatch.chdir(tmp_path)
    for fold, seed in product((0, 1), (0, 1)):
        folder = Path(f"runs/fold{fold}-seed{seed}")
        for name, level in (("a", 30), ("b", 20), ("c", 10)):
            write(folder / name, name, level, fold=fold, seed=seed)
        write(folder / "floor", "floor", 1, fold=fold, seed=seed, kind="floor")
    return tmp_path / "runs"


def compared(*paths: Path | str, **words: Any) -> ImageComparison:
    return compare_images(image_files([Path(path) for path in paths]), **words)


def test_folds_and_seeds_of_a_method_are_put_together_from_any_files(runs: Path) -> None:
    found = compared(*sorted(runs.glob("*/b")), *sorted(runs.glob("*/a")))
    assert [row.label for row in found.standings] == ["b", "a"] and [row.rank for row in found.standings] == [2, 1]
    assert (found.folds, found.seeds, found.pictures, found.episodes) == ((0, 1), (0, 1), 8, 32)
    (pair,) = found.pairs
    assert pair.differences["mIoU"].value == pytest.approx(-10 / 60) and pair.differences["mIoU"].p == 2 / 2**8
    assert found.exact and found.smallest_p == 2 / 2**8 and list(pair.folds) == [0, 1] and pair.losses == 32
    other = compared(*(runs / name for name in ("fold1-seed1", "fold0-seed0", "fold1-seed0", "fold0-seed1")))
    assert render_images_compared(other, "json") == render_images_compared(compared(runs), "json")


def test_several_are_ranked_and_floors_left_out(runs: Path) -> None:
    found = compared(runs, by="FB-IoU")
    assert [(row.label, row.rank, row.rank_interval, row.noise_group) for row in found.standings] == [
        ("a", 1, (1, 1), 1),
        ("b", 2, (2, 2), 2),
        ("c", 3, (3, 3), 3),
    ]
    p = [pair.differences["FB-IoU"].p for pair in found.pairs]
    assert [pair.differences["FB-IoU"].corrected for pair in found.pairs] == holm(p) == [4 / 2**8] * 2
    assert any("floors or ceilings: floor " in note for note in found.notes)
    floors = compared(*sorted(runs.glob("*/floor")), *sorted(runs.glob("*/c")))
    assert [row.label for row in floors.standings] == ["floor", "c"]


def test_who_has_other_folds_is_left_out_and_told(runs: Path) -> None:
    write(runs / "fold0-seed0/d", "d", 25)
    found = compared(runs)
    assert [row.label for row in found.standings] == ["a", "b", "c"]
    assert "left out, being of other folds or seeds than 4 results of fold 0, 1, seed 0, 1: d: 1 result of fold 0, seed 0" in found.notes
    with pytest.raises(UserInputError, match=r"methods of other folds or seeds cannot be paired: found a: 4 results.*; d: 1 result"):
        compared(*sorted(runs.glob("*/a")), runs / "fold0-seed0/d")


def test_too_few_pictures_prove_nothing(tmp_path: Path) -> None:
    paths = [write(tmp_path / name, name, level, count=1) for name, level in (("a", 30), ("b", 20))]
    found = compared(*paths)
    assert found.standings[0].rank_interval is None and found.pairs[0].differences["mIoU"].interval is None
    assert "with 1 picture the smallest possible p is 1: no difference" in found.notes[0]


def test_counts_are_read_as_they_were_written(tmp_path: Path) -> None:
    assert read_counts(write(tmp_path, "a", 30)) == rows_of(30, 0)


Break = Callable[[Path], object]


def text_of(change: Callable[[str], str]) -> Break:
    def broken(folder: Path) -> None:
        path = next(folder.rglob("*.episodes.csv"))
        path.write_text(change(path.read_text()))

    return broken


@pytest.mark.parametrize(
    ("broken", "words", "code", "sentence"),
    [
        (lambda b: next(b.rglob("*.csv")).unlink(), (), 3, "no counts of episodes to pair: b/results"),
        (text_of(lambda text: text.replace(",60,", ",61,", 1)), (), 3, "counts of episodes that are not the result's: b/results"),
        (text_of(lambda text: text.rsplit("\n", 2)[0] + "\n"), (), 3, "not the result's: b/results/pascal5i-1shot-e8@1.json: found 7"),
        (text_of(lambda text: text.replace("p7/", "p8/")), (), 3, "other episodes cannot be paired: b: found 8 episodes, and pascal/p7/"),
        (text_of(lambda text: text.replace(",60,", ",2,")), (), 3, "an intersection of"),
        (text_of(lambda text: text.replace(",60,", f",{10**30},")), (), 3, "cannot read the counts"),
        (text_of(lambda text: text.replace("pascal/", "")), (), 3, "cannot read the counts"),
        (lambda b: write(b, "b", 20, digest="e"), (), 2, "different releases cannot be compared: fold 0, seed 0: found a on "),
        (lambda b: write(b, "b", 20, seed=1), ("--protocol", "pascal5i-1shot-e8@1"), 2, "other folds or seeds cannot be paired: found a"),
        (lambda b: write(b / "more", "b", 20, shots=5), (), 2, "choose --protocol pascal5i-1shot-e8@1 or --protocol pascal5i-5shot-e8@1"),
        (lambda b: write(b / "more", "b", 20), (), 2, "one method twice on a fold: b (none)"),
        (lambda b: write(b, "a", 20), (), 2, "one method twice on a fold: a (none)"),
        (lambda b: None, ("--by", "J&F"), 2, "unknown score to compare by: J&F; known: FB-IoU, mIoU"),
        (lambda b: None, ("--by", "MIoU"), 2, "did you mean mIoU"),
        (lambda b: None, ("--protocol", "pascal5i-1sht-e8@1"), 2, "did you mean pascal5i-1shot-e8@1"),
        (lambda b: None, ("--oracle", "a"), 2, "--oracle measures propagation"),
        (lambda b: None, ("empty",), 3, "no results: empty"),
        (lambda b: None, ("nowhere",), 2, "no such folder: nowhere"),
    ],
)  # fmt: skip
def test_bad_input_is_answered_with_one_sentence(
    icvos: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    broken: Break,
    words: tuple[str, ...],
    code: int,
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    write(Path("a"), "a", 30)
    write(Path("b"), "b", 20)
    broken(Path("b"))
    said = icvos("compare", "a", "b", *words)
    assert said.code == code and sentence in said.err and said.out == "" and "Traceback" not in said.err


def test_one_method_is_not_enough(icvos: Callable[..., Any], runs: Path) -> None:
    said = icvos("compare", *runs.glob("*/a"), *runs.glob("*/a"))
    assert said.code == 2 and "nothing to compare: found one method: a" in said.err


def test_images_and_clips_do_not_mix(icvos: Callable[..., Any], runs: Path, clips: Mapping[str, Path]) -> None:
    said = icvos("compare", runs, *clips.values())
    assert said.code == 2 and "images and clips cannot be compared: found 16 results on images" in said.err
    images = icvos("compare", runs, *clips.values(), "--protocol", "pascal5i-1shot-e8@1")
    assert images.code == 0 and images.out.startswith("3 methods in mIoU")
    assert icvos("compare", runs.parent, "--protocol", "native@1").out.startswith("x less y in J&F")


@pytest.fixture
def clips(tmp_path: Path) -> dict[str, Path]:
    from icvos.results import Coverage, Result, Scores, TubeScores

    made = {}
    for name, value in (("x", 0.5), ("y", 0.4)):
        scores = Scores(*[value] * 9)
        tube = TubeScores("davis/c/dog", "davis", "c", "dog", 3, scores, {"s0": scores})
        benchmark = {"name": "ic-vos", "version": "1", "digest": "d" * 64}
        card = {"name": name, "kind": "method"}
        made[name] = tmp_path / "clips" / name / "native@1.json"
        result = Result(card, benchmark, "native@1", {"icvos": "1"}, Coverage(3, 3), scores, {}, 0.0, {}, (tube,))
        with_totals(result).save(made[name])
    return made


def test_the_command_line_shows_two(icvos: Callable[..., Any], runs: Path) -> None:
    said = icvos("compare", *runs.glob("*/a"), *runs.glob("*/b"))
    assert said.code == 0 and said.err == ""
    for words in (
        "a less b in mIoU under pascal5i-1shot-e8@1, fold 0, 1, seed 0, 1: 8 pictures, 32 episodes",
        "(all 256; the smallest possible is 0.007812)",
        "a wins on 32, ties on 0, loses on 0 episodes, each by its IoU.",
        "+16.67 [+16.67, +16.67] │ 0.0078 │",
        "Largest gains of a",
        "pascal/p0/airplane#e0",
    ):
        assert words in " ".join(said.out.split())  # lines are broken by how wide the terminal is
    data = json.loads(icvos("compare", *runs.glob("*/a"), *runs.glob("*/b"), "--by", "FB-IoU", "--json").out)
    assert data["format"] == "icvos-image-comparison/1" and data["by"] == "FB-IoU" and data["folds"] == [0, 1]
    assert data["test"] == {"exact": True, "resamples": 9999, "smallest_p": 2 / 2**8}
    assert data["pairs"][0]["folds"]["1"]["mIoU"]["value"] == pytest.approx(1 / 6) and len(data["pairs"][0]["ahead"]) == 5
    assert [len(row["signatures"]) for row in data["standings"]] == [4, 4]


def test_names_of_others_are_escaped(icvos: Callable[..., Any], runs: Path) -> None:
    for folder in runs.iterdir():
        fold, seed = int(folder.name[4]), int(folder.name[-1])
        write(folder / "x", "<b>[red]x|y", 40, fold=fold, seed=seed)
    said = icvos("compare", runs)
    assert said.code == 0 and "<b>[red]x|y" in said.out and "4 methods in mIoU" in said.out
    written = icvos("compare", runs, "--format", "markdown").out
    assert r"&lt;b&gt;\[red\]x\|y" in written and "## Where the numbers come from" in written
