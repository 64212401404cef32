"""Transfers that are stopped and resumed, in one call."""

from gatys_norm import transfer


def run_transfer(config, on_progress=None, checkpoint=None, stop_at_multiples_of=(), on_plan=None):
    """Run a transfer, from a checkpoint if there is one; returns the `TransferResult`."""
    run = transfer.Transfer(config)
    if checkpoint is not None:
        run.restore(checkpoint)
    if on_plan is not None:
        on_plan(run.plan)
    return run.run(on_progress, stop_at_multiples_of)
