"""Bad files, door by door: nothing of one runs, and one clear error names it.

    battery.py      what happens when a file goes through a door, and the table of all of it
    spoils.py       what can be wrong with any file, and with what ``torch.save`` or safetensors wrote
    the others      a kind of file each: a good one, what spoils it, the doors it comes in by

``python -m bad_inputs`` in ``tests/`` tries every file at every door and prints the table.
"""

from . import (
    checkpoints,
    features,
    image_lists,
    images,
    initial_prompts,
    masks,
    pointers,
    prompt_files,
    results,
    weights,
    zoo,
)

__all__ = ['KINDS']

KINDS = (
    prompt_files.KIND,
    checkpoints.KIND,
    pointers.KIND,
    weights.TORCH,
    weights.SAFE,
    weights.NUMPY,
    zoo.KIND,
    initial_prompts.NUMPY,
    initial_prompts.SAFE,
    features.KIND,
    image_lists.TABLE,
    image_lists.FOLDERS,
    image_lists.LIST,
    image_lists.SPLIT,
    image_lists.NAMED,
    image_lists.RECORD,
    images.KIND,
    masks.KIND,
    masks.PHOTOGRAPH,
    results.RESULT,
    results.RESULTS,
    results.TRIALS,
    results.KEPT,
    results.PROMPT,
)
