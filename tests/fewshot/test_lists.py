"""Folds and lists: ours are the field's, read without running what a pickle asks for, and rebuilt from annotations."""

from __future__ import annotations

import os
import pickle
from collections import Counter
from pathlib import Path

import pytest
from trees import make_coco

from icvos.categories import CATEGORIES
from icvos.errors import DataError, UserInputError
from icvos.fewshot.folds import BENCHMARKS, FOLDS, fold_classes, voc_id
from icvos.fewshot.lists import read_coco_list, read_lists, read_pascal_list
from icvos.fewshot.pools import CocoPool
from icvos.training.episodes import fold_categories


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_folds_part_the_classes(benchmark: str) -> None:
    folds = [fold_classes(benchmark, fold) for fold in range(FOLDS)]
    assert len({one for part in folds for one in part}) == sum(map(len, folds)) == (80 if benchmark == "coco20i" else 20)


def test_a_network_for_the_domain_shift_has_seen_none_of_its_classes() -> None:
    for fold in range(FOLDS):
        assert set(fold_classes("coco2pascal", fold)) <= set(fold_classes("coco20i", fold))


def test_folds_are_those_of_training() -> None:
    ids = [one.id for one in CATEGORIES]
    for fold in range(FOLDS):
        assert [one.id for one in fold_classes("coco20i", fold)] == list(fold_categories("coco", ids, fold)[1])
        assert [voc_id(one) for one in fold_classes("pascal5i", fold)] == list(fold_categories("pascal", range(1, 21), fold)[1])


def test_unknown_folds_are_refused() -> None:
    with pytest.raises(UserInputError, match="did you mean coco20i"):
        fold_classes("coco20", 0)
    with pytest.raises(UserInputError, match="no such fold"):
        fold_classes("coco20i", 4)


def test_all_of_pascals_lists_are_our_folds(sample_data: Path) -> None:
    for split in ("val", "trn"):
        for fold in range(FOLDS):
            path = sample_data / f"lists/hsnet/splits/pascal/{split}/fold{fold}.txt"
            listed = read_pascal_list(path, fold)
            ours = sorted(f"{stem}__{voc_id(category):02d}" for category, stems in listed.items() for stem in stems)
            assert ours == sorted(path.read_text().split())
            assert tuple(sorted(listed, key=voc_id)) == fold_classes("pascal5i", fold)


def test_all_of_cocos_val_lists_are_our_folds(sample_data: Path) -> None:
    splits = sample_data / "lists/hsnet/splits"
    listed = read_lists("coco20i", splits)
    assert set(listed) == set(CATEGORIES)
    for fold in range(FOLDS):
        theirs = pickle.loads((splits / f"coco/val/fold{fold}.pkl").read_bytes())
        assert {CATEGORIES[place] for place, names in theirs.items() if names} == set(fold_classes("coco20i", fold))
        for place, names in theirs.items():
            if names:
                assert Counter(names) == Counter(f"val2014/{stem}.jpg" for stem in listed[CATEGORIES[place]])


def test_cocos_lists_are_rebuilt_from_annotations(sample_data: Path) -> None:
    """All pictures of val2014 whose annotations are here, every class of each: in the list if 2,048 painted pixels show it."""
    listed = read_lists("coco20i", sample_data / "lists/hsnet/splits")
    theirs = {(category, int(stem[-12:])) for category, stems in listed.items() for stem in stems}
    of_val = {int(line.split(",")[0]) for line in (sample_data / "coco/coco2017_to_2014.csv").read_text().split() if "val2014" in line}
    ours = {
        (category, int(stem))
        for split in ("val2017", "train2017")
        for category, stems in CocoPool(sample_data / "coco", split).members.items()
        for stem in stems
        if int(stem) in of_val
    }
    assert len(of_val) == 107
    assert ours == {pair for pair in theirs if pair[1] in of_val}
    assert len(ours) == 278


def test_what_is_painted_later_hides_what_was_there(tmp_path: Path) -> None:
    root = make_coco(tmp_path / "coco", {1: [("dog", 0, 0, 60, 60), ("cat", 0, 0, 60, 40)], 2: [("dog", 0, 0, 60, 60)]})
    pool = CocoPool(root)
    members = {category.name: stems for category, stems in pool.members.items()}
    assert members == {"dog": ["000000000002"], "cat": ["000000000001"]}
    labels = pool.labels("000000000001")
    assert (labels[:40, :60] == 17).all() and (labels[40:60, :60] == 18).all() and not labels[:, 60:].any()


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("bomb",)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (pickle.dumps({0: [_Bomb()]}), "asks for"),
        (pickle.dumps(Counter()), "asks for collections.Counter"),
        (pickle.dumps({0: ["val2014/COCO_val2014_000000000001.jpg"]})[:-9], "not a list that may be read"),
        (b"", "not a list that may be read"),
        (pickle.dumps([1]), "found list"),
        (pickle.dumps({1: ["val2014/COCO_val2014_000000000001.jpg"]}), "class 1"),
        (pickle.dumps({0: ["../../etc/passwd"]}), "class 0"),
        (pickle.dumps({"0": []}), "class '0'"),
        (pickle.dumps({0: "val2014"}), "class 0"),
    ],
)
def test_a_pickle_that_is_no_list_is_refused_unread(content: bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fold0.pkl").write_bytes(content)
    with pytest.raises(DataError, match=said):
        read_coco_list(tmp_path / "fold0.pkl", 0)
    assert not (tmp_path / "bomb").exists()


def test_a_line_that_is_none_of_the_fold_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fold0.txt").write_text("2007_000033__01\n2007_000061__06\n")
    with pytest.raises(DataError, match=r"line 2: found '2007_000061__06'"):
        read_pascal_list(tmp_path / "fold0.txt", 0)
