"""Join a Ray cluster, or start Ray on this machine alone."""

import os
from typing import Any

import ray

__all__ = ['join']

#: How often Ray is started on a busy machine, where one of its processes can be later than another one waits for.
TRIES = 5


def join(address: str | None = None, log: bool = False, **options: Any) -> None:
    """Join the Ray cluster at ``address``, or the one that this machine is part of; else start Ray here alone.

    Args:
        address: as ``ray.init`` takes it; ``'local'`` joins none.
        log: whether what its processes print is printed here.
        options: of ``ray.init`` where Ray is started.
    """
    os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')  # a research tool sends no reports
    if address is None:
        try:
            ray.init('auto', log_to_driver=log)
            return
        except ConnectionError:
            address = 'local'
    own = options if address == 'local' else {}
    for left in reversed(range(TRIES)):
        try:
            ray.init(address, log_to_driver=log, **own)
            return
        except Exception as error:
            if not left or 'timed out during startup' not in str(error):
                raise
            ray.shutdown()
