import pytest

from ste_ray.core.preparing.ledger import few_examples


@pytest.mark.parametrize(
    ("train", "test", "tested", "warning"),
    [
        (20, 5, True, ""),
        (19, 5, True, "few examples: 19 to train on"),
        (20, 4, True, "few examples: 4 to test on"),
        (0, 0, True, "few examples: 0 to train on, 0 to test on"),
        (20, 0, False, ""),
        (19, 0, False, "few examples: 19 to train on"),
    ],
)
def test_too_few_examples_are_told(train, test, tested, warning):
    assert few_examples(train, test, tested) == warning
