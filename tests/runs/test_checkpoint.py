"""What a checkpoint may say of strips. tests/cli/test_bad_input.py holds what it may not."""

from gatys_norm.network import memory
from gatys_norm.network import strips as network_strips
from gatys_norm.record import StripsRecord
from gatys_norm.runs import checkpoint


def test_the_strips_of_every_plan_are_accepted():
    for strips in memory.CHOICES:
        checkpoint.check_strips(strips._asdict())
    assert set(StripsRecord.__annotations__) == set(memory.Strips._fields)
    assert checkpoint.LEAST_ROWS == network_strips.ROW_STEP
