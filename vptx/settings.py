"""Settings of a config that MMEngine would pass over, or fail on without a word about them."""

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from mmengine.config import Config
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner
from torch import nn

__all__ = ['check_config', 'check_options', 'check_save_best', 'check_unserved', 'misspelt_keys', 'misspelt_settings']

#: Read off the config by MMEngine and by the tools, besides what a Runner takes.
_OTHERS = (
    'activation_checkpointing',
    'compile',
    'custom_imports',
    'efficient_conv_bn_eval',
    'find_unused_parameters',
    'frozen_from',
    'model_wrapper_cfg',
    'runner_type',
    'strategy',
    'sync_bn',
    'tta_model',
    'tta_pipeline',
)
#: Of studies: tools/experiment.py and tools/sweep.py.
_STUDIES = ('final', 'grid', 'method_grid', 'variants')
_RUNNER = [name for name in inspect.signature(Runner.__init__).parameters if name not in ('self', 'cfg')]
#: Long enough that a name of the user's own is not near one by chance.
_CHECKED = [name for name in (*_RUNNER, *_OTHERS, *_STUDIES) if len(name) > 5 and not name.endswith('_pipeline')]
_NUMBER = re.compile(r'[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?')


def check_config(config: Config) -> None:
    """Check what MMEngine reads while it builds a Runner, before any hook is asked.

    Raises:
        ValueError: ``custom_hooks`` that are no list of dicts, or a number of the optimizer, of a schedule or of a loop
            that is written as text.
    """
    hooks = config.get('custom_hooks')
    if hooks is not None and (not isinstance(hooks, (list, tuple)) or any(isinstance(hook, str) for hook in hooks)):
        raise ValueError(f"custom_hooks is a list of dicts: write custom_hooks=[dict(type='...', ...)], not {hooks!r}")
    for name in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'auto_scale_lr'):
        for path, text in _numbers_as_text(config.get(name), name):
            raise ValueError(f'{path}={text!r} is text: write the number, {path}={text}')


def _numbers_as_text(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        yield path, value
    elif isinstance(value, (Mapping, list, tuple)):
        for name, part in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _numbers_as_text(part, f'{path}.{name}')


def check_options(config: Config, options: Iterable[str], where: str = '--cfg-options') -> None:
    """Check paths of settings: the first part of each is a key of the config, or one that is read.

    Args:
        config: which they are for.
        options: paths, such as ``'optim_wrapper.optimizer.lr'``.
        where: they come from.

    Raises:
        ValueError: a key that nothing reads (offers the nearest).
    """
    read = [*config.keys(), *_RUNNER, *_OTHERS, *_STUDIES]
    for option in options:
        key = str(option).partition('.')[0]
        if key not in read:
            near = get_close_matches(key, read, n=1)
            hint = f'; did you mean {near[0]}?' if near else f'. There are {", ".join(sorted(config.keys()))}'
            raise ValueError(f"{where} {option}: nothing reads '{key}'{hint}")


def misspelt_keys(config: Config) -> list[str]:
    """One line for each key of ``config`` that nothing reads and that is nearly one that is read."""
    found = []
    for key in config.keys():
        near = [] if key in _CHECKED else get_close_matches(key, _CHECKED, n=1, cutoff=0.85)
        if near and key not in (*_OTHERS, *_STUDIES):
            found.append(f"the config's key '{key}' is not read: did you mean {near[0]}?")
    return found


def misspelt_settings(optim_wrapper: Mapping[str, Any], model: nn.Module) -> list[str]:
    """One line for each of ``paramwise_cfg.custom_keys`` that is in the name of no parameter of ``model``."""
    names = [name for name, _ in model.named_parameters()]
    parts = sorted({part for name in names for part in name.split('.')})
    found = []
    for key in (optim_wrapper.get('paramwise_cfg') or {}).get('custom_keys') or {}:
        if not any(key in f'.{name}' for name in names):
            near = get_close_matches(key, parts, n=1)
            hint = f'; did you mean {near[0]}?' if near else ''
            found.append(f"optim_wrapper.paramwise_cfg.custom_keys: '{key}' is in no parameter's name{hint}")
    return found


def check_unserved(config: Config) -> None:
    """Check settings of MMEngine that a prompted backbone cannot follow.

    Raises:
        ValueError: says what to do in its place.
    """
    ways = dict(
        activation_checkpointing='it lets no gradient through to prompts: set model.backbone.with_cp=True',
        efficient_conv_bn_eval='it traces the model, and a prompted network cannot be traced: leave it out',
    )
    for setting, way in ways.items():
        asked = config.get(setting) or ()
        parts = [asked] if isinstance(asked, str) else list(asked)
        if any(part.partition('.')[0] in ('', 'backbone') for part in parts):
            raise ValueError(f'{setting}={parts!r} does not work on a prompted backbone; {way}')


def check_save_best(runner: Runner) -> None:
    """Check the prefix of ``save_best``, as in ``'accuracy/top1'``, against the metrics of the validation.

    Raises:
        ValueError: no metric has that prefix.
    """
    metrics = getattr(getattr(runner.val_loop, 'evaluator', None), 'metrics', ())
    prefixes = {getattr(metric, 'prefix', None) for metric in metrics}
    if not prefixes or None in prefixes:  # names without a prefix are known once they are there
        return
    for hook in runner.hooks:
        asked = getattr(hook, 'key_indicators', ()) if isinstance(hook, CheckpointHook) else ()
        strange = [key for key in asked if key != 'auto' and not key.startswith(tuple(f'{p}/' for p in prefixes))]
        if strange:
            raise ValueError(
                f"save_best='{strange[0]}': no metric of val_evaluator has such a name. Their names begin with "
                f'{", ".join(sorted(f"{prefix}/" for prefix in prefixes))}'
            )
