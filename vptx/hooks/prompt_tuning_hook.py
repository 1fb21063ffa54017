"""The plug: one entry in ``custom_hooks`` turns a stock config into prompt tuning."""

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from mmengine.config import Config
from mmengine.hooks import CheckpointHook, Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import MODEL_WRAPPERS
from mmengine.runner import Runner
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from vptx.attach import attach, find_hall
from vptx.checkpoint import adopt, check_resumable, complete, frozen_sources, is_stock, last_checkpoint
from vptx.hooks.guard_hook import GuardHook
from vptx.hooks.label_mapping_hook import LabelMappingHook
from vptx.hooks.random_streams_hook import RandomStreamsHook
from vptx.hooks.slim_checkpoint_hook import SafeCheckpointHook, SlimCheckpointHook
from vptx.optim import IdleOptimWrapper
from vptx.readout import OWN, Readout
from vptx.registry import HOOKS
from vptx.trainable import set_mode, trainable_table, trained_names, unwrap_model

__all__ = ['PromptTuningHook', 'refuse_sharding']


@HOOKS.register_module()
class PromptTuningHook(Hook):
    """Plugs a prompter into the Runner's model and trains it and what ``tune`` names, nothing else.

        custom_hooks = [
            dict(type='PromptTuningHook', prompter=dict(type='DeepPrompter', num_tokens=50, dropout=0.1), tune=['head'])
        ]

    It also makes checkpoints slim (:class:`~vptx.hooks.SlimCheckpointHook`), guards the run
    (:class:`~vptx.hooks.GuardHook`), lets it resume bit for bit (:class:`~vptx.hooks.RandomStreamsHook`), and checks
    and completes a checkpoint that is loaded.

    The model may have a network of vptx's as its backbone, or a stock one of mmpretrain or mmsegmentation; then
    ``init_cfg`` and ``load_from`` take a model zoo's checkpoint as they do without this hook. Where ``load_from`` is
    the file of a run, ``frozen_from`` in the config names the zoo's.

    Args:
        prompter: config of a prompter, or several one after the other, or None to tune without prompts.
        tune: patterns over parameter names; see :func:`vptx.trainable.matches`.
        readout: what the head sees; by default the backbone's own choice.
        mapping: config of a label mapping, which reads the network's own classes as those of the task; the head above
            it is then ``dict(type='ClsHead')``. :class:`~vptx.hooks.LabelMappingHook` estimates it.

    Note:
        The first of all hooks, so that EMAHook and others see the prompted model.
    """

    priority = 'HIGHEST'

    def __init__(
        self,
        prompter: dict | Sequence[dict] | None = None,
        tune: Sequence[str] = (),
        readout: Readout | None = None,
        mapping: dict | None = None,
    ) -> None:
        self.prompter = prompter
        self.tune = tune
        self.readout = readout
        self.mapping = mapping

    def before_run(self, runner: Runner) -> None:
        if not isinstance(runner, Runner):
            _refuse(f'a {type(runner).__name__}', 'runner_type and strategy')
        refuse_sharding(runner.cfg)
        model = unwrap_model(runner.model)
        hall = find_hall(model)
        if hall is not None and hall.before is not None:
            return  # train() and then test() of the same Runner
        if hall is None and hasattr(model, 'init_weights'):
            # The Runner does so after this, and only to train; a stock backbone reads its init_cfg while it is one.
            model.init_weights()
        model = attach(model, self.prompter, self.tune, self.readout, self.mapping)
        _check_classifier(model)
        self._around_hall = [part for part in model.children() if find_hall(part) is None]
        runner.logger.info(f'what trains:\n{trainable_table(model)}')
        # The Runner has wrapped the model and built optimizer and schedulers already: again, with what is there now.
        runner.model = _wrap(runner, model)
        if isinstance(runner.optim_wrapper, OptimWrapper):
            self._rebuild_optimizer(runner)
        for hook in runner.hooks:
            if type(hook) is CheckpointHook:
                hook.__class__ = SafeCheckpointHook
        # In the order in which they act.
        for companion in (RandomStreamsHook, GuardHook, SlimCheckpointHook):
            runner.register_hook(companion())
        if self.mapping is not None:
            runner.register_hook(LabelMappingHook())
        self._find_checkpoint(runner)

    def _rebuild_optimizer(self, runner: Runner) -> None:
        config = runner.cfg.get('optim_wrapper')
        if config is None:
            raise ValueError('PromptTuningHook rebuilds the optimizer from the config: make the Runner by from_cfg')
        config = dict(config)
        config.setdefault('constructor', 'TrainableOnlyOptimWrapperConstructor')
        schedulers, runner.param_schedulers = runner.param_schedulers, None
        if self.mapping is not None and not any(p.requires_grad for p in runner.model.parameters()):
            runner.optim_wrapper = IdleOptimWrapper()  # a mapping that is drawn or counted, and no prompts
        else:
            runner.optim_wrapper = runner.build_optim_wrapper(config)
        runner.scale_lr(runner.optim_wrapper, runner.auto_scale_lr)
        if schedulers is not None:
            runner.param_schedulers = runner.build_param_scheduler(runner.cfg.param_scheduler)

    @staticmethod
    def _find_checkpoint(runner: Runner) -> None:
        """Let ``--resume`` find the newest checkpoint where the pointer to it was lost with the process."""
        if not runner._resume or runner._load_from is not None:
            return
        found, pointer = last_checkpoint(runner.work_dir), Path(runner.work_dir, 'last_checkpoint')
        if found is not None:
            runner._load_from = str(found)
        elif pointer.is_file():
            pointer.unlink(missing_ok=True)  # points to nothing: the run starts from the beginning

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        model, where = unwrap_model(runner.model), str(runner._load_from or 'the checkpoint')
        if runner._resume:
            check_resumable(checkpoint, where)
        if not runner._resume and is_stock(model, checkpoint):
            adopt(model, checkpoint, where)
        else:
            complete(model, checkpoint, where, frozen_sources(runner.cfg))

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | tuple | list | None = None) -> None:
        # The loop has put all of the model in training mode, and the hall has seen to itself only.
        for part in self._around_hall:
            set_mode(part, True)


def _check_classifier(model: nn.Module) -> None:
    """Refuse to train a network's own classifier where nothing reads it.

    Raises:
        ValueError: says so, and what to do.
    """
    hall = find_hall(model)
    if hall.readout == OWN or hall.net.classifier is None:
        return
    own = {id(parameter) for parameter in hall.net.classifier.parameters()}
    unread = [name for name, parameter in model.named_parameters() if id(parameter) in own and parameter.requires_grad]
    if unread:
        raise ValueError(
            f'tune matches {", ".join(unread)}, the own classifier of {hall.net.geometry.name}, which nothing reads '
            f"with readout='{hall.readout}': name the head above it more closely, as in tune=['head.fc'], or build the "
            'network without (num_classes=0)'
        )


def refuse_sharding(config: Config) -> None:
    """Refuse a config whose processes share out the parameters of a model, FSDP's or DeepSpeed's.

    Raises:
        ValueError: says which setting to leave out.
    """
    wrapper = (config.get('model_wrapper_cfg') or {}).get('type', 'MMDistributedDataParallel')
    kind = MODEL_WRAPPERS.get(wrapper) if isinstance(wrapper, str) else wrapper
    strategy = (config.get('strategy') or {}).get('type')
    if strategy or not issubclass(kind, DistributedDataParallel):
        setting, name = ('strategy', strategy) if strategy else ('model_wrapper_cfg', wrapper)
        _refuse(f'{setting}=dict(type={name!r})', setting)


def _refuse(what: str, setting: str) -> NoReturn:
    raise ValueError(
        f'PromptTuningHook trains by DistributedDataParallel, not by {what}, which shares out parameters among '
        'processes before there are prompts. There is little to share: prompts are kilobytes, and what is frozen has '
        f'neither gradients nor an optimizer. Leave {setting} out; where activations fill the memory, set '
        'model.backbone.with_cp=True'
    )


def _wrap(runner: Runner, model: nn.Module) -> nn.Module:
    """The model as the processes of a run share it: what trains is exchanged, what is frozen is in no bucket.

    ``model_wrapper_cfg`` has the last word. Without it the graph is static, as a prompted network takes the same way in
    every iteration, but not where gradients are accumulated: torch then breaks down, or stops to synchronise them
    (https://github.com/pytorch/pytorch/pull/187732). The first rank's buffers are sent to the others where training
    changes any, such as batch statistics of tuned parts, so that none drifts away from what is saved.
    """
    config = runner.cfg
    if not runner.distributed:
        return runner.wrap_model(None, model)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        return model  # nothing to exchange, which torch refuses
    unused = config.get('find_unused_parameters', False)
    accumulates = (config.get('optim_wrapper') or {}).get('accumulative_counts', 1) > 1
    buffers = {name for name, _ in model.named_buffers()}
    defaults = dict(
        broadcast_buffers=not buffers.isdisjoint(trained_names(model)),
        find_unused_parameters=unused,
        static_graph=not unused and not accumulates,
    )
    return runner.wrap_model({**defaults, **(config.get('model_wrapper_cfg') or {})}, model)
