import pytest
import torch

from backend.networks import Condition


def test_rows_are_taken_joined_and_counted() -> None:
    cond = Condition.of_labels(torch.arange(5))
    assert len(cond) == 5
    assert cond[1:4].labels is not None
    assert cond[1:4].labels.tolist() == [1, 2, 3]  # type: ignore[union-attr]
    chosen = cond[torch.tensor([4, 0, 0])]
    assert (len(chosen), chosen.labels.tolist()) == (3, [4, 0, 0])  # type: ignore[union-attr]
    kept = cond[torch.tensor([True, False, False, True, False])]
    assert (len(kept), kept.labels.tolist()) == (2, [0, 3])  # type: ignore[union-attr]
    both = Condition.join([cond[:2], cond[3:]])
    assert (len(both), both.labels.tolist()) == (4, [0, 1, 3, 4])  # type: ignore[union-attr]


def test_an_unconditional_batch_has_a_size_and_nothing_else() -> None:
    none = Condition.none(4)
    assert (len(none), len(none[1:]), len(Condition.join([none, none]))) == (4, 3, 8)
    assert len(none[torch.tensor([True, False, True, True])]) == 3
    assert none.labels is None
    assert none.to("cpu").labels is None


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(ValueError, match="labels has 3 rows for a batch of 2"):
        Condition(2, {"labels": torch.arange(3)})
    labelled = Condition.of_labels(torch.arange(2))
    for pair in ([labelled, Condition.none(2)], [Condition.none(2), labelled]):
        with pytest.raises(ValueError, match="same parts"):
            Condition.join(pair)
