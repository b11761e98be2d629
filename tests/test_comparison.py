"""Comparisons against loops written from the definitions and against SciPy, their properties, and the command line."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test
from toys import with_totals

from icvos.board import Leaderboard
from icvos.comparison import Comparison, compare, compare_files
from icvos.entries import Entry
from icvos.errors import DataError, UserInputError
from icvos.ranks import clip_sums, intervals_of_ranks, noise_groups, rank_intervals
from icvos.render.comparison import render_comparison
from icvos.results import Coverage, Result, Scores, TubeScores
from icvos.stats import cluster_interval, holm, resampled_means, sign_flip_p, smallest_p, variance_parts

Clips = list[list[list[float]]]  # for each clip, its tubes; for each tube, its draws
HOSTILE = "<script>x|y</script> [bold]\n`z`"


def result(
    name: str,
    clips: Sequence[Sequence[float | Sequence[float]]],
    *,
    first: float = 0.9,
    kind: str = "method",
    protocol: str = "native@1",
    digest: str = "d" * 64,
    weights: str = "none",
    present: int = 100,
) -> Result:
    """A run that scores J = x - 0.1 and F = x + 0.1 where `clips` say x, of a tube, or of each of its draws."""
    tubes = []
    for c, clip in enumerate(clips):
        for t, draws in enumerate(clip):
            values = draws if isinstance(draws, Sequence) else [draws]
            tubes.append(TubeScores(f"davis/c{c}/k{t}", "davis", f"c{c}", f"k{t}", 9, scores(float(np.mean(values)), first), {}))
            tubes[-1] = replace(tubes[-1], draws={f"s{d}": scores(value, first) for d, value in enumerate(values)})
    overall = scores(float(np.mean([tube.mean.JF for tube in tubes])), first) if tubes else scores(0.5, first)
    return Result(
        method={"name": name, "kind": kind, "weights": weights},
        benchmark={"name": "ic-vos", "version": "1", "digest": digest},
        protocol=protocol,
        environment={"icvos": "0.1.0"},
        coverage=Coverage(100, present),
        overall=overall,
        intervals={},
        support_spread=0.0,
        groups={},
        tubes=tuple(tubes),
    )


def scores(value: float, first: float) -> Scores:
    return Scores(value - 0.1, value + 0.1, value, value, value, 0.0, 0.0, first - 0.1, first + 0.1)


def shifted(clips: Clips | list[list[float]], by: float) -> list[list[float]]:
    return [[tube + by for tube in clip] for clip in clips]  # type: ignore[operator]


# Scores of two decimals, as many clips and tubes as chance gives.
numbers = st.integers(20, 60).map(lambda number: number / 100)
pairs_of_clips = st.lists(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=3), min_size=1, max_size=6)


def sides(clips: list[list[tuple[float, float]]]) -> tuple[list[list[float]], list[list[float]]]:
    first, second = ([[tube[side] for tube in clip] for clip in clips] for side in (0, 1))
    return first, second


# ---------------------------------------------------------------- p and intervals, from the definitions


def exact_p(hundredths: Sequence[int]) -> float:
    """All choices of signs, in whole numbers."""
    totals = [
        sum(sign * value for sign, value in zip(signs, hundredths, strict=True)) for signs in product((1, -1), repeat=len(hundredths))
    ]
    return sum(abs(total) >= abs(sum(hundredths)) for total in totals) / len(totals)


@given(pairs_of_clips)
@settings(deadline=None, max_examples=25)
def test_p_is_that_of_all_sign_flips_of_clips(clips: list[list[tuple[float, float]]]) -> None:
    first, second = sides(clips)
    found = compare([result("a", first), result("b", second)], resamples=99).pairs[0].differences["J&F"]
    assert found.p == exact_p([sum(round(100 * a) - round(100 * b) for a, b in clip) for clip in clips])
    assert found.value == pytest.approx(np.mean(list(chain(*first))) - np.mean(list(chain(*second))), abs=1e-12)


def test_p_is_scipys() -> None:
    rng = np.random.default_rng(2)
    sums = rng.normal(0.02, 0.1, (3, 9))
    exact = [permutation_test((row,), np.sum, permutation_type="samples", n_resamples=np.inf).pvalue for row in sums]
    assert sign_flip_p(sums).tolist() == pytest.approx(exact, abs=1e-12)
    many = rng.normal(0.01, 0.1, (1, 40))
    kwargs = {"permutation_type": "samples", "vectorized": True, "n_resamples": 9999, "random_state": rng}
    drawn = permutation_test((many[0],), lambda x, axis: np.sum(x, axis=axis), **kwargs).pvalue
    assert sign_flip_p(many)[0] == pytest.approx(drawn, abs=0.03)  # each has a Monte-Carlo error below 0.005


def test_drawn_flips_from_the_definition() -> None:
    values = np.random.default_rng(4).normal(0.02, 0.1, 15).round(6)
    signs = np.random.default_rng(7).integers(0, 2, (200, 15), np.int8)  # the same seed draws the same
    extreme = 0
    for row in signs:
        total = 0.0
        for bit, value in zip(row, values, strict=True):
            total += -value if bit else value
        extreme += abs(total) >= abs(sum(values)) - 1e-12
    assert sign_flip_p(values[None], resamples=200, seed=7).tolist() == [(extreme + 1) / 201]


def test_intervals_from_the_definition_and_scipys() -> None:
    clips = [[0.1, -0.2], [0.05], [0.3, 0.1, 0.0], [-0.1]]
    drawn, means = np.random.default_rng(3).integers(0, 4, (300, 4)), []
    for row in drawn:
        chosen = [tube for clip in row for tube in clips[clip]]
        means.append(sum(chosen) / len(chosen))
    sums, counts = np.array([[sum(clip) for clip in clips]]), np.array([len(clip) for clip in clips])
    assert resampled_means(sums, counts, resamples=300, seed=3)[0] == pytest.approx(means, abs=1e-9)
    found = compare([result("a", shifted(clips, 0.5)), result("b", shifted([[0 * t for t in c] for c in clips], 0.5))])
    by_clip = {f"davis/c{number}": clip for number, clip in enumerate(clips)}
    assert found.pairs[0].differences["J"].interval == pytest.approx(cluster_interval(by_clip), abs=1e-9)


def test_ranks_in_every_resample_from_the_definition() -> None:
    rng = np.random.default_rng(1)
    runs = [result(name, [[x] for x in rng.uniform(0.3, 0.7, 6).round(2)]) for name in "abc"]
    ranks: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for row in np.random.default_rng(5).integers(0, 6, (400, 6)):
        means = [round(sum(run.tubes[clip].mean.JF for clip in row) / 6, 4) for run in runs]
        for place, mean in enumerate(means):
            ranks[place].append(1 + sum(other > mean for other in means))
    ordered = [sorted(found) for found in ranks.values()]
    expected = tuple((found[9], found[390]) for found in ordered)  # 0.025 and 0.975 of 399, outwards
    assert intervals_of_ranks(clip_sums(runs, "J&F"), resamples=400, seed=5) == expected


def test_many_clips_take_little_memory_and_the_same_flips_in_parts() -> None:
    sums = np.random.default_rng(0).normal(0, 0.1, (2, 3000))
    import tracemalloc

    tracemalloc.start()
    p = sign_flip_p(sums, resamples=999)
    means = resampled_means(sums, np.ones(3000, np.int64), resamples=999)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ((p > 0) & (p <= 1)).all() and means.shape == (2, 999) and peak < 60e6


@given(st.lists(st.floats(0, 1), max_size=6))
@settings(max_examples=30)
def test_holm_from_its_definition(p: list[float]) -> None:
    for test, corrected in enumerate(holm(p)):
        smaller = [(len(p) - place) * value for place, value in enumerate(sorted(p)) if value <= p[test]]
        assert corrected == min(1.0, max(smaller))


# ---------------------------------------------------------------- properties


@given(pairs_of_clips)
@settings(deadline=None, max_examples=15)
def test_a_result_does_not_differ_from_itself(clips: list[list[tuple[float, float]]]) -> None:
    first, _ = sides(clips)
    pair = compare([result("a", first), result("b", first)], resamples=99).pairs[0]
    for found in pair.differences.values():
        assert (found.value, found.p, found.corrected) == (0, 1, 1)
        assert found.interval == (None if len(clips) < 2 else (0, 0))
    assert (pair.wins, pair.ties, pair.losses) == (0, len(pair.gaps), 0)
    assert (pair.variance.clips, pair.variance.error_of_draws) == (None if len(clips) < 2 else 0, None)


@given(pairs_of_clips)
@settings(deadline=None, max_examples=15)
def test_swapping_negates(clips: list[list[tuple[float, float]]]) -> None:
    runs = [result(name, side) for name, side in zip("ab", sides(clips), strict=True)]
    there, back = compare(runs, resamples=99), compare(runs[::-1], resamples=99)
    for by, found in there.pairs[0].differences.items():
        other = back.pairs[0].differences[by]
        assert (found.value, found.p) == (-other.value, other.p)
        assert found.interval is None or found.interval == pytest.approx([-end for end in reversed(other.interval or ())], abs=1e-12)
    assert (there.pairs[0].wins, there.pairs[0].losses) == (back.pairs[0].losses, back.pairs[0].wins)
    assert {gap.tube: gap.value for gap in there.pairs[0].gaps} == {gap.tube: -gap.value for gap in back.pairs[0].gaps}
    assert [row.rank for row in there.standings] == [row.rank for row in back.standings][::-1]
    assert [row.noise_group for row in there.standings] == [row.noise_group for row in back.standings][::-1]


@given(st.lists(st.lists(st.tuples(numbers, numbers, numbers), min_size=1, max_size=2), min_size=2, max_size=15), st.randoms())
@settings(deadline=None, max_examples=10)
def test_neither_the_order_of_results_nor_of_tubes_matters(clips: list[list[tuple[float, ...]]], random: Any) -> None:
    runs = [result(name, [[tube[side] for tube in clip] for clip in clips]) for side, name in enumerate("abc")]
    expected = render_comparison(compare(runs, resamples=99), "json")
    mixed = [replace(run, tubes=tuple(random.sample(run.tubes, len(run.tubes)))) for run in random.sample(runs, 3)]
    assert render_comparison(compare(mixed, resamples=99), "json") == expected


@given(st.lists(st.lists(numbers, min_size=1, max_size=3), min_size=1, max_size=40), st.sampled_from([0.01, 0.2]))
@settings(deadline=None, max_examples=15)
def test_a_constant_shift_has_the_smallest_possible_p(clips: list[list[float]], shift: float) -> None:
    if len(clips) > 13:
        clips = [*clips, *[[0.5]] * 20]  # so many that no draw of flips has all signs alike
    found = compare([result("a", shifted(clips, shift)), result("b", clips)])
    assert {row.p for row in found.pairs[0].differences.values()} == {found.smallest_p} == {smallest_p(len(clips))}
    assert found.pairs[0].differences["F"].interval == (None if len(clips) < 2 else pytest.approx((shift, shift), abs=1e-8))
    assert found.pairs[0].wins == found.tubes and found.exact == (len(clips) <= 13)


# ---------------------------------------------------------------- what is said


@pytest.mark.parametrize(("clips", "least"), [(1, 1.0), (2, 0.5), (5, 0.0625), (13, 2 / 8192), (14, 1e-4), (2000, 1e-4)])
def test_smallest_p(clips: int, least: float) -> None:
    assert smallest_p(clips) == least


def test_five_clips_are_said_to_be_too_few_and_six_are_not() -> None:
    def notes(clips: int) -> str:
        level = [[0.3 + i / 50] for i in range(clips)]
        return " ".join(compare([result("a", shifted(level, 0.1)), result("b", level)]).notes)

    assert "with 5 clips the smallest possible p is 0.0625: no difference, however large, can be told from noise at 0.05" in notes(5)
    assert "smallest possible" not in notes(6)
    assert "with 1 clip the smallest possible p is 1" in notes(1)
    runs = [result(name, [[0.3 + place / 10]] * 6) for place, name in enumerate("abc")]
    assert "p is 0.03125 (2 times that with Holm's correction, 0.0625)" in " ".join(compare(runs).notes)


def test_contamination_is_said() -> None:
    runs = [result("a", [[0.5], [0.4]]), result("b", [[0.4], [0.3]])]
    runs[1].method["training_clips"] = ["davis/c1", "davis/elsewhere"]
    assert "b: contaminated, 1 of 2 clips seen in training" in compare(runs).notes


def test_gaps_wins_and_ties() -> None:
    pair = compare([result("a", [[0.5, 0.6], [0.7]]), result("b", [[0.6, 0.4], [0.70001]])], by="F").pairs[0]
    assert [(gap.tube, round(gap.value, 5)) for gap in pair.gaps] == [
        ("davis/c0/k1", 0.2),
        ("davis/c1/k0", -0.00001),
        ("davis/c0/k0", -0.1),
    ]
    assert (pair.wins, pair.ties, pair.losses) == (1, 1, 1)


def test_losses_add_up_in_both_ways() -> None:
    runs = [result("a", [[0.5, 0.6], [0.7]], first=0.8), result("b", [[0.6, 0.4], [0.3]], first=0.2)]
    oracle = result("oracle-first-frame", [[0.7, 0.9], [0.6]], first=0.9, kind="ceiling")
    found = compare([*runs, oracle])
    assert found.oracle == "oracle-first-frame" and [row.label for row in found.standings] == ["a", "b"]
    loss = found.standings[0].loss
    assert (loss.on_first, loss.afterwards) == (pytest.approx(0.2), pytest.approx(0.2))  # 1 - 0.8, then 0.8 - mean 0.6
    assert (loss.propagation, loss.first_frame) == (pytest.approx(1 - 2.2 / 3), pytest.approx(2.2 / 3 - 0.6))
    of_tube = found.standings[0].losses["davis/c1/k0"]
    assert (of_tube.propagation, of_tube.first_frame) == (pytest.approx(0.4), pytest.approx(-0.1))  # better than the oracle
    for row in found.standings:
        for scored, part in [(row.scores["J&F"], row.loss), *((tube.mean.JF, row.losses[tube.id]) for tube in row.result.tubes)]:
            assert part.on_first + part.afterwards == pytest.approx(1 - scored)
            assert (part.propagation or 0) + (part.first_frame or 0) == pytest.approx(1 - scored)
    assert compare(runs, oracle=oracle, by="J").standings[1].loss.on_first == pytest.approx(0.9)  # J on frame 0 is 0.1


def test_without_an_oracle_that_is_said() -> None:
    runs = [result("a", [[0.5]]), result("b", [[0.4]])]
    found = compare(runs)
    assert found.oracle is None and found.standings[0].loss.propagation is None
    assert any(note.startswith("no oracle-first-frame result is given, so propagation error is not known") for note in found.notes)
    oracles = [result("oracle-first-frame", [[0.9]], kind="ceiling", weights=weights) for weights in ("small", "large")]
    assert any("there are 2 oracle-first-frame results" in note for note in compare([*runs, *oracles]).notes)
    assert compare([*runs, *oracles], oracle=oracles[1]).oracle == "oracle-first-frame"


def test_an_oracle_of_other_weights_is_said() -> None:
    oracle = result("oracle-first-frame", [[0.9]], kind="ceiling", weights="sam2_nano " + "ab" * 32)
    runs = [result("a", [[0.5]], weights=f"mine {'cd' * 32} on sam2_nano {'ab' * 32}"), result("b", [[0.4]], weights="sam2_large")]
    notes = compare(runs, oracle=oracle).notes
    assert "propagation error is that of the oracle's weights (sam2_nano abababababab), which these did not use: b" in notes


def test_components_of_variance() -> None:
    clips = {"x": [[0.5, 0.7]], "y": [[0.2, 0.4], [0.6, 0.6]]}
    # Draws: variances 0.02, 0.02, 0. Clip means 0.6 and 0.45, of which draws alone make (0.02/2 + (0.02/2 + 0)/4) / 2.
    between, draws = variance_parts(clips)
    assert draws == pytest.approx(0.04 / 3)
    assert between == pytest.approx(0.15**2 / 2 - (0.01 + 0.0025) / 2)
    assert variance_parts({"x": [[0.5], [0.7]]}) == (None, None)
    rng = np.random.default_rng(0)
    made = {f"c{c}": [(ease + rng.normal(0, 0.05, 5)).tolist() for _ in range(1 + c % 2)] for c, ease in enumerate(rng.normal(0, 0.2, 900))}
    between, draws = variance_parts(made)
    assert (between, draws) == (pytest.approx(0.04, rel=0.1), pytest.approx(0.0025, rel=0.1))


def test_variances_of_a_difference_are_paired_draw_by_draw() -> None:
    one = [[[0.5, 0.7]], [[0.2, 0.4], [0.6, 0.65]]]
    other = [[[draw - 0.1 for draw in tube] for tube in clip] for clip in one]
    found = compare([result("a", one), result("b", other)])
    assert found.standings[0].variance.draws == pytest.approx(np.sqrt((0.02 + 0.02 + 0.00125) / 3))
    assert found.pairs[0].variance.draws == pytest.approx(0) and found.pairs[0].variance.clips == pytest.approx(0)
    assert found.standings[0].variance.error_of_draws == pytest.approx(np.sqrt(0.01 + 0.01 + 0.000625) / 3)


# ---------------------------------------------------------------- several methods


def level(value: float, clips: int = 8, noise: int = 0) -> list[list[float]]:
    """Clips around a value; `noise` moves them so that the mean stays about."""
    return [[value + 0.02 * clip / clips + (0.05 * (-1) ** (clip + noise) if noise else 0)] for clip in range(clips)]


@pytest.fixture
def field() -> list[Result]:
    """Two that nobody can tell apart, one clearly below, a floor and a ceiling."""
    return [
        result("low", level(0.3)),
        result("near", level(0.6, noise=1)),
        result("top", level(0.605)),
        result("empty", level(0.15), kind="floor"),
        result("identity", level(0.8), kind="ceiling"),
    ]


def test_groups_within_noise(field: list[Result]) -> None:
    found = compare(field)
    assert [(row.label, row.rank, row.noise_group) for row in found.standings] == [("top", 1, 1), ("near", 2, 1), ("low", 3, 2)]
    assert [row.rank_interval for row in found.standings] == [(1, 2), (1, 2), (3, 3)]
    assert [(pair.first, pair.second) for pair in found.pairs] == [("top", "near"), ("near", "low")]
    corrected = [pair.differences["J&F"].corrected for pair in found.pairs]
    assert corrected == holm([pair.differences["J&F"].p for pair in found.pairs]) and corrected[1] == 2 * 2 / 256
    assert "left out, being floors or ceilings: empty, identity (give one and a method to compare these two)" in found.notes


def test_the_worse_of_two_that_print_alike_is_in_the_second_group_in_either_order() -> None:
    runs = [result(name, [[value + clip / 50] for clip in range(8)]) for name, value in (("worse", 0.5), ("better", 0.500001))]
    assert [(row.rank, row.noise_group) for row in compare(runs).standings] == [(1, 2), (1, 1)]
    assert [(row.rank, row.noise_group) for row in compare(runs[::-1]).standings] == [(1, 1), (1, 2)]


def test_floors_are_compared_where_there_are_no_methods(field: list[Result]) -> None:
    assert [row.label for row in compare(field[3:]).standings] == ["empty", "identity"]
    assert [row.label for row in compare([field[0], *field[3:]]).standings] == ["identity", "low", "empty"]


def test_the_board_says_the_same(field: list[Result]) -> None:
    rows = Leaderboard.collect(field).rank()
    found = compare(field)
    assert [(row.label, row.rank, row.rank_interval, row.noise_group) for row in rows[:3]] == [
        (row.label, row.rank, row.rank_interval, row.noise_group) for row in found.standings
    ]
    assert {(row.rank_interval, row.noise_group) for row in rows[3:]} == {(None, None)}
    board = Leaderboard.collect(field)
    assert "| rank | method | noise group |" in board.render() and "| 2 [1, 2] | near [2] | 1 |" in board.render()
    assert "noise group & J" in board.render("latex")
    assert ",rank_low,rank_high,noise_group," in board.render("csv") and "method,2,1,2,1,near," in board.render("csv")
    data = json.loads(board.render("json"))["rows"]
    assert [(row["rank_interval"], row["noise_group"]) for row in data[:3]] == [([1, 2], 1), ([1, 2], 1), ([3, 3], 2)]
    assert data[3]["noise_group"] is None


def test_the_board_of_a_group_or_of_other_tubes_has_no_noise_groups(field: list[Result]) -> None:
    grouped = [replace(run, groups={"class": {"dog": run.overall}}) for run in field]
    assert {row.noise_group for row in Leaderboard.collect(grouped).rank(group="class=dog")} == {None}
    other = Leaderboard.collect([*field, result("other", level(0.4, clips=3))])
    assert {row.noise_group for row in other.rank()} == {None} and "noise group" not in other.render()
    assert other.notes == ("runs on other tubes or draws, so methods are not tested against one another",)
    assert noise_groups(field[:1]) is rank_intervals(field[:1]) is None


def test_ranks_by_decay_are_turned(field: list[Result]) -> None:
    def decaying(run: Result, decay: float) -> Result:
        return replace(
            run,
            overall=replace(run.overall, J_decay=decay),
            tubes=tuple(replace(t, mean=replace(t.mean, J_decay=decay)) for t in run.tubes),
        )

    rows = Leaderboard.collect([decaying(field[0], 0.3), decaying(field[2], 0.1)]).rank("J_decay")
    assert [(row.label, row.rank_interval) for row in rows] == [("top", (1, 1)), ("low", (2, 2))]


# ---------------------------------------------------------------- refusals


def test_refuses_what_cannot_be_paired() -> None:
    a, b = result("a", [[0.5, 0.4]]), result("b", [[0.5, 0.4]])
    with pytest.raises(UserInputError, match="nothing to compare: found one result: a, expected two or more"):
        compare([a])
    with pytest.raises(UserInputError, match="no results"):
        compare([])
    with pytest.raises(UserInputError, match="one method twice"):
        compare([a, a])
    with pytest.raises(UserInputError, match="different releases"):
        compare([a, replace(b, benchmark={**b.benchmark, "digest": "e" * 64})])
    with pytest.raises(UserInputError, match="different releases"):
        compare([a, b], oracle=replace(b, benchmark={**b.benchmark, "digest": "e" * 64}))
    with pytest.raises(UserInputError, match=r"different protocols.*--protocol native@1 or --protocol paper-512@1"):
        compare([a, replace(b, protocol="paper-512@1")])
    with pytest.raises(UserInputError, match="did you mean J&F"):
        compare([a, b], by="JF")
    with pytest.raises(DataError, match=r"results of other tubes.*: c: found 1 tubes, and davis/c0/k1 not as in a"):
        compare([a, result("c", [[0.5]])])
    with pytest.raises(DataError, match="davis/c0/k0, davis/c0/k1 not as in a"):
        compare([a, result("c", [[[0.5, 0.6], [0.5, 0.6]]])])  # of two draws
    with pytest.raises(DataError, match="found no tubes"):
        compare([a, result("c", [])])


def broken_tubes(**changes: Any) -> Result:
    run = result("b", [[0.5], [0.4]])
    return replace(run, tubes=(run.tubes[0], replace(run.tubes[1], **changes)))


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"mean": scores(float("nan"), 0.5)}, "nan"),
        ({"draws": {"s0": scores(float("inf"), 0.5)}}, "inf"),
        ({"draws": {}}, "no draw of the tube davis/c1/k0"),
        ({"id": "davis/c0/k0"}, "the tube davis/c0/k0 more than once"),
        ({"clip": 3}, "the name 3 of a tube"),
    ],
)
def test_refuses_what_is_no_score_or_no_tube(changes: dict[str, Any], found: str) -> None:
    with pytest.raises(DataError, match=f"unusable result: b: found .*{found}"):
        compare([result("a", [[0.5], [0.4]]), broken_tubes(**changes)])


# ---------------------------------------------------------------- formats and the command line


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Run folders: a and b under two protocols, a hostile name, an oracle; and one on another release elsewhere."""
    clips = [[0.5, 0.45], [0.3], [0.6], [0.2], [0.7]]
    for name, shift, kind in (
        ("a", 0.1, "method"),
        ("b", 0.0, "method"),
        (HOSTILE, -0.1, "method"),
        ("oracle-first-frame", 0.15, "ceiling"),
    ):
        for protocol in ("native@1", "paper-512@1"):
            folder = tmp_path / "runs" / (name if name.isidentifier() else name[:3].strip("<")) / "results"
            run = result(name, shifted(clips, shift), kind=kind, protocol=protocol, present=99)
            with_totals(run).save(folder / f"{protocol}.json")
    with_totals(result("other", clips, digest="e" * 64)).save(tmp_path / "other/results/native@1.json")
    with_totals(result("fewer", clips[1:])).save(tmp_path / "fewer/results/native@1.json")
    with_totals(result("lone", [[0.4]])).save(tmp_path / "lone/1/native@1.json")
    with_totals(result("lonely", [[0.6]])).save(tmp_path / "lone/2/native@1.json")
    return tmp_path / "runs"


def test_two_on_the_command_line(icvos: Callable[..., Any], runs: Path) -> None:
    said = icvos("compare", runs / "a", runs / "b", "--protocol", "native@1")
    assert said.code == 0 and said.err == ""
    for words in (
        "a less b in J&F, ic-vos@1#dddddddddddd under native@1: 5 clips, 6 tubes",
        "+10.00 [+10.00, +10.00]",
        "a wins on 6, ties on 0",
        "0.0625",
    ):
        assert words in said.out
    assert "no oracle-first-frame result is given" in " ".join(said.out.split()) and "1 of 54 masks missing" in said.out
    back = icvos("compare", runs / "b", runs / "a/results/native@1.json", "--protocol", "native@1", "--oracle", runs / "ora", "--by", "J")
    assert back.code == 0 and "b less a in J" in back.out and "-10.00 [-10.00, -10.00]" in back.out
    assert "propagation error" in back.out and "no oracle" not in back.out


def test_several_on_the_command_line_escape_names(icvos: Callable[..., Any], runs: Path) -> None:
    said = icvos("compare", runs, "--protocol", "native@1")
    assert said.code == 0 and "3 methods in J&F" in said.out and "<script>x|y</script> [bold] `z`" in said.out
    written = icvos("compare", runs, "--protocol", "native@1", "--format", "markdown")
    assert written.code == 0 and r"&lt;script&gt;x\|y&lt;/script&gt; \[bold\] \`z\`" in written.out
    assert written.out == icvos("compare", *sorted(runs.iterdir(), reverse=True), "--protocol", "native@1", "--format", "markdown").out
    for block in written.out.split("\n\n"):
        if block.startswith("|"):
            assert len({line.replace(r"\|", "").count("|") for line in block.splitlines()}) == 1


def test_json_has_every_tube_and_reads_back(icvos: Callable[..., Any], runs: Path) -> None:
    data = json.loads(icvos("compare", runs, "--protocol", "native@1", "--json").out)
    assert data["format"] == "icvos-comparison/1" and data["test"] == {"exact": True, "resamples": 9999, "smallest_p": 0.0625}
    assert [len(pair["tubes"]) for pair in data["pairs"]] == [6, 6] and data["oracle"] == "oracle-first-frame"
    assert data["pairs"][0]["differences"]["F"]["value"] == pytest.approx(0.1)
    assert set(data["standings"][0]["losses"]["davis/c0/k0"]) == {"on_first", "afterwards", "propagation", "first_frame"}


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("runs/a/results/native@1.json", "runs/a/results/../results/native@1.json"), 2, "found one result: a"),
        (("runs/a", "runs/b"), 2, "results of different protocols cannot be compared"),
        (("runs/a", "runs/b", "--protocol", "natve@1"), 2, "did you mean native@1"),
        (("runs/b", "other", "--protocol", "native@1"), 2, "results on different releases of the benchmark cannot be compared"),
        (("runs/a", "runs/b", "--protocol", "native@1", "--oracle", "other"), 2, "different releases"),
        (("runs/a", "runs/b", "--protocol", "native@1", "--oracle", "runs"), 2, "not one oracle: runs"),
        (("runs/a", "fewer", "--protocol", "native@1"), 3, "results of other tubes or draws cannot be compared: fewer"),
        (("runs/a", "runs/b", "--protocol", "native@1", "--oracle", "fewer"), 3, "results of other tubes"),
        (("runs/a", "runs/b", "--protocol", "native@1", "--by", "G"), 2, "unknown score to compare by: G"),
        (("runs/a", "nowhere"), 2, "no such folder: nowhere"),
        (("runs/a", "empty"), 3, "no results: empty"),
        (("runs/a", "nan.json"), 3, "incomplete result file: nan.json"),
        ((), 2, "Missing argument"),
    ],
)
def test_bad_input_is_answered_with_one_sentence(
    icvos: Callable[..., Any], runs: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], code: int, sentence: str
) -> None:
    monkeypatch.chdir(runs.parent)
    Path("empty").mkdir()
    broken = Path("runs/b/results/native@1.json").read_text()
    Path("nan.json").write_text(broken.replace('"J": 0.4', '"J": NaN'))
    said = icvos("compare", *words)
    assert said.code == code and sentence in said.err and "Traceback" not in said.err


def test_one_clip_is_compared_and_said_to_prove_nothing(icvos: Callable[..., Any], runs: Path) -> None:
    said = icvos("compare", runs.parent / "lone")
    assert said.code == 0 and "with 1 clip the smallest possible p is 1" in said.out and "-20.00 " in said.out


def test_files_are_compared_as_results_are(runs: Path) -> None:
    paths = [runs / name / "results/native@1.json" for name in ("a", "b")]
    found = compare_files(paths)
    assert isinstance(found, Comparison)
    assert render_comparison(found, "json") == render_comparison(compare(map(Entry.load, paths)), "json")
