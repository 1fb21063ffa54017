"""A trained model back from its config and its prompt file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import DefaultScope, init_default_scope
from mmengine.runner import CheckpointLoader
from mmengine.utils import import_modules_from_strings
from torch import nn

from vptx.attach import attach, find_mapping, find_prompted_network
from vptx.checkpoint import adopt, compare_classes, initialise, is_stock
from vptx.prompt_file import ClassNames, load_prompt
from vptx.registry import DATASETS, MODELS
from vptx.shipped import find_config

__all__ = ['init_model', 'set_classes']


def init_model(config: str | Path | Config, prompt_file: str | Path | None = None, device: str = 'cpu') -> nn.Module:
    """Build the model of ``config``, with the prompts that its PromptTuningHook describes, in eval mode.

    The inferencers of mmpretrain and mmsegmentation take this model.

    Args:
        config: A config, the path of one, or the name of one that comes with vptx, such as ``'mini/digits_vpt_deep'``.
        prompt_file: A ``.safetensors`` file, the ``.pth`` of a run, or an address on the Hugging Face Hub,
            ``'hf://user/name'``. With None, prompts and head keep their random initial values.
        device: The device of the model, such as ``'cpu'`` or ``'cuda:0'``.

    Returns:
        The model. It has the names of its classes where they are known.

    Raises:
        FileNotFoundError: There is no such config or prompt file.
        ValueError: The prompt file does not fit the config, or has other classes than those that the config names.
    """
    if not isinstance(config, Config):
        config = Config.fromfile(find_config(config))
    if config.get('custom_imports'):
        import_modules_from_strings(**config.custom_imports)
    scope = config.get('default_scope', 'mmpretrain')
    init_default_scope(scope)  # which the inferencers build their pipelines in, as after their own init_model
    with DefaultScope.overwrite_default_scope(scope):
        # Under its scope a library's modules are imported, so that its names are found.
        model_config = dict(config.model)
        if 'data_preprocessor' in config:  # a stock config may have it next to the model, as the Runner allows
            model_config.setdefault('data_preprocessor', config.data_preprocessor)
        model = MODELS.build(model_config)
        if find_prompted_network(model) is None and hasattr(model, 'init_weights'):
            initialise(model)  # a stock backbone reads its init_cfg here; one of vptx's has its weights already
    for hook in config.get('custom_hooks', []):
        kind = hook['type'] if isinstance(hook['type'], str) else hook['type'].__name__
        if kind.rpartition('.')[2] == 'PromptTuningHook':
            options = {name: hook.get(name) for name in ('prompter', 'readout', 'mapping')}
            attach(model, tune=hook.get('tune', ()), at=hook.get('part'), **options)
    source = config.get('frozen_from') or config.get('load_from')
    if source:
        checkpoint = CheckpointLoader.load_checkpoint(source, map_location='cpu')
        if is_stock(model, checkpoint):  # where a run had its frozen backbone from
            adopt(model, checkpoint, source)
    facts = load_prompt(model, prompt_file) if prompt_file else {}
    # mmpretrain's inferencers look for the first name of a pair, mmseg's for the second.
    model._config = model.cfg = config
    # The inferencers name a class where they know names, and give its number alone where they know none.
    model._dataset_meta = model.dataset_meta = _dataset_meta(
        config, find_prompted_network(model).classes if facts else None, find_mapping(model).class_names
    )
    return model.to(device).eval()


def set_classes(model: nn.Module, classes: Sequence[str]) -> None:
    """Let ``model`` read other class names, without training.

    Args:
        model: A model from ``init_model`` with a text head. It can be a segmentor. It is changed in place.
        classes: The names of the new classes. Their number is free.

    Raises:
        ValueError: The model has no text head, or its text tower cannot read a name, or it has learnt prompts for each
            of its own classes. ``vptx.mappings.TextHead.set_classes`` has details.
    """
    prompted = find_prompted_network(model)
    parts = [getattr(model, 'decode_head', None), prompted.mapping if prompted is not None else None]
    head: Any = next((part for part in parts if hasattr(part, 'set_classes')), None)
    if head is None:
        raise ValueError(
            f'{type(model).__name__} reads no class names: other classes need a text head, '
            "mapping=dict(type='TextHead', ...) of PromptTuningHook"
        )
    head.set_classes(classes)
    meta: Any = {**(getattr(model, 'dataset_meta', None) or {}), 'classes': list(head.class_names)}
    if hasattr(model, 'decode_head'):
        from vptx.segmentation import colours  # mmsegmentation is an extra

        meta['palette'] = colours(len(classes))
    model._dataset_meta = model.dataset_meta = meta


def _dataset_meta(config: Config, learnt: ClassNames | None, read: Sequence[str]) -> dict:
    """Names of the classes, those that are read by their names first; of a segmentor's also colours.

    Raises:
        ValueError: the data set has other classes.
    """
    names = list(learnt.names) if learnt else []
    data = (config.get('test_dataloader') or {}).get('dataset') or {}
    if learnt and names:
        kind = data.get('type', '')
        with DefaultScope.overwrite_default_scope(config.get('default_scope', 'mmpretrain')):
            found = DATASETS.get(kind) if isinstance(kind, str) else kind
        known = {**getattr(found, 'METAINFO', {}), **(data.get('metainfo') or {})}
        named = data.get('classes') or known.get('classes')
        if named and not isinstance(named, str):  # a text is the path of a list
            compare_classes(learnt, named, f'the data set {getattr(found, "__name__", kind)} of the config')
    names = list(read) or names
    if 'decode_head' not in config.model:
        return dict(classes=names) if names else {}
    from vptx.segmentation import dataset_meta  # mmsegmentation is an extra

    return dataset_meta(data, names)
