"""What the record of a run holds, read by name."""

from gatys_norm.record import running_iterations, term_value


def row(size, iteration, **terms):
    return {"size": size, "iteration": iteration, "evaluations": 1, "loss": 2.0} | terms


def test_iterations_are_counted_over_all_sizes():
    history = [row(64, 0), row(64, 10), row(64, 25), row(128, 0), row(128, 5), row(256, 0)]
    assert running_iterations(history) == [0, 10, 25, 25, 30, 30]


def test_without_rows_there_are_no_iterations():
    assert running_iterations([]) == []


def test_a_term_is_found_next_to_the_loss():
    assert term_value(row(64, 0, **{"style/conv1_2": 3.5}), "style/conv1_2") == 3.5
