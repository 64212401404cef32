"""TFP's L-BFGS is TFP's own, and its import brings little else."""

import sys

import pytest
import tensorflow_probability as tfp
from helpers.programs import run_new

from gatys_norm.optimizers import stock

CODE = """
import sys
from gatys_norm.optimizers import stock

print("tensorflow_probability" in sys.modules, "tf_keras" in sys.modules)
import tensorflow_probability as tfp

print(tfp.optimizer.lbfgs_minimize is stock.lbfgs_minimize)
print(tfp.optimizer.linesearch.hager_zhang is stock.hager_zhang)
print(float(tfp.distributions.Normal(0.0, 1.0).cdf(0.0)))
"""


def test_it_is_that_of_tfp_where_tfp_is_loaded_already():
    assert stock.lbfgs_minimize is tfp.optimizer.lbfgs_minimize
    assert stock.hager_zhang is tfp.optimizer.linesearch.hager_zhang


@pytest.mark.slow
def test_it_is_that_of_tfp_where_tfp_is_loaded_later_and_works():
    finished = run_new(sys.executable, "-c", CODE)
    assert finished.stdout.splitlines() == ["False False", "True", "True", "0.5"], finished.stderr
