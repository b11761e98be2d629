"""Names: what is meant by one that nobody knows."""

from __future__ import annotations

import pytest

from icvos.errors import did_you_mean
from icvos.registry import method_names


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("emty", "did you mean empty or identity?"),
        ("orcale", "did you mean oracle-first-frame?"),
        ("suport", "did you mean support-shape?"),
        (
            "xyz",
            "known: amnet, centre-box, dcsam, dcsam-mask, empty, full-frame, hdmnet, identity, naive-sam2, oracle-first-frame, "
            "pfenet, support-shape, vrp_sam, vrp_sam-mask",
        ),
    ],
)
def test_the_closest_names_are_suggested_or_all_are_listed(name: str, sentence: str) -> None:
    assert did_you_mean(name, method_names()) == sentence
