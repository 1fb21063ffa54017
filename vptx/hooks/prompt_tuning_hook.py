"""One entry in ``custom_hooks`` turns a stock config into prompt tuning."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from inspect import Parameter, signature
from pathlib import Path
from typing import NoReturn

import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook, Hook
from mmengine.model import MMSeparateDistributedDataParallel
from mmengine.optim import OptimWrapper
from mmengine.registry import MODEL_WRAPPERS
from mmengine.runner import BaseLoop, Runner, get_priority
from mmengine.utils import is_method_overridden as overrides
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from vptx.attach import attach, find_prompted_network
from vptx.checkpoint import adopt, check_resumable, complete, frozen_sources, initialise, is_stock, last_checkpoint
from vptx.hooks.data_guard_hook import DataGuardHook
from vptx.hooks.guard_hook import GuardHook
from vptx.hooks.head_checks import check_head
from vptx.hooks.label_mapping_hook import LabelMappingHook
from vptx.hooks.prompter_loss import serve_prompter_loss
from vptx.hooks.random_streams_hook import RandomStreamsHook
from vptx.hooks.resume_hook import ResumeHook
from vptx.hooks.save_and_end_hook import SaveAndEndHook
from vptx.hooks.slim_checkpoint_hook import SafeCheckpointHook, SlimCheckpointHook
from vptx.hooks.tip_adapter_hook import TipAdapterHook
from vptx.mappings import TipAdapterHead
from vptx.optim import IdleOptimWrapper
from vptx.readout import OWN, Readout
from vptx.registry import HOOKS
from vptx.settings import check_save_best, check_unserved, misspelt_keys, misspelt_settings
from vptx.trainable import set_mode, trainable_table, trained_names, unwrap_model

__all__ = ['PromptTuningHook', 'refuse_sharding']


@HOOKS.register_module()
class PromptTuningHook(Hook):
    """Attaches a prompter to the Runner's model and trains only it and what ``tune`` names.

        custom_hooks = [
            dict(type='PromptTuningHook', prompter=dict(type='DeepPrompter', num_tokens=50, dropout=0.1), tune=['head'])
        ]

    It also makes checkpoints slim (``SlimCheckpointHook``), guards the run
    (``GuardHook``) and its data (``DataGuardHook``), lets it resume bit for bit
    (``RandomStreamsHook``, ``ResumeHook``), ends it with a checkpoint at SIGUSR1
    (``SaveAndEndHook``), and checks and completes a checkpoint that is loaded.

    The model may have a network of vptx's as its backbone, or a stock one of mmpretrain or mmsegmentation; then
    ``init_cfg`` and ``load_from`` take a model zoo's checkpoint as they do without this hook. Where ``load_from`` is
    the file of a run, ``frozen_from`` in the config names the zoo's.

    Args:
        prompter: config of a prompter, or several one after the other, or None to tune without prompts.
        tune: patterns over parameter names; see ``vptx.trainable.matches``.
        readout: what the head sees; by default the backbone's own choice.
        mapping: config of a label mapping, which reads the network's own classes as those of the task; the head above
            it is then ``dict(type='ClsHead')``. ``LabelMappingHook`` estimates it.
        resume_settings: ``'checkpoint'`` or ``'config'``, whose optimizer and schedule settings a resumed run uses; see
            ``ResumeHook``.
        part: the dotted name of the part of the model to prompt, by default ``'backbone'``; ``at`` of
            ``vptx.attach``.
        load_head: whether ``load_from`` a run's file takes its head, too. False starts from its prompts, and from what
            it tuned inside the network, with a new head, such as one for another number of classes.

    Note:
        The first of all hooks, so that EMAHook and others see the prompted model.

    Raises:
        ValueError: before the first iteration, whatever cannot be meant: two of these hooks, hooks that have seen the
            model without prompts, nothing that trains; see also ``vptx.settings``.
    """

    priority = 'HIGHEST'

    def __init__(
        self,
        prompter: dict | Sequence[dict] | None = None,
        tune: Sequence[str] = (),
        readout: Readout | None = None,
        mapping: dict | None = None,
        resume_settings: str = 'checkpoint',
        part: str | None = None,
        load_head: bool = True,
    ) -> None:
        self.prompter = prompter
        self.tune = tune
        self.readout = readout
        self.mapping = mapping
        self.resume_settings = resume_settings
        self._other_parts: list[nn.Module] | None = None
        self.part = part
        self.load_head = load_head

    def before_run(self, runner: Runner) -> None:
        if not isinstance(runner, Runner):
            _refuse(f'a {type(runner).__name__}', 'runner_type and strategy')
        model = unwrap_model(runner.model)
        prompted = find_prompted_network(model)
        if self._other_parts is not None and prompted is not None and prompted.attach_state is not None:
            return  # train() and then test() of the same Runner
        self._check_place(runner.hooks)
        refuse_sharding(runner.cfg)
        check_unserved(runner.cfg)
        for line in misspelt_keys(runner.cfg):
            runner.logger.warning(line)
        if prompted is None and hasattr(model, 'init_weights'):
            # The Runner does so after this, and only to train; a stock backbone reads its init_cfg while it is one.
            initialise(model)
        model = attach(model, self.prompter, self.tune, self.readout, self.mapping, at=self.part)
        mapping = find_prompted_network(model).mapping
        if isinstance(mapping, TipAdapterHead) and isinstance(runner._train_loop, BaseLoop):
            mapping.allocate(len(runner.train_dataloader.dataset))
        _check_classifier(model)
        check_head(model)
        serve_prompter_loss(model)
        self._other_parts = list(_around(model, find_prompted_network(model)))
        runner.logger.info(f'what trains:\n{trainable_table(model)}')
        # The Runner has wrapped the model and built optimizer and schedulers already: again, with what is there now.
        runner.model = _wrap(runner, model)
        if isinstance(runner.optim_wrapper, OptimWrapper):
            self._rebuild_optimizer(runner)
            check_save_best(runner)
        for hook in runner.hooks:
            _make_safe(hook)
        # In the order in which they act.
        resume = ResumeHook(self.resume_settings)
        companions = (RandomStreamsHook(), DataGuardHook(), GuardHook(), resume, SlimCheckpointHook(), SaveAndEndHook())
        for companion in companions:
            runner.register_hook(companion)
        if isinstance(mapping, TipAdapterHead):
            runner.register_hook(TipAdapterHook())
        elif self.mapping is not None and not (mapping.class_names or mapping.awaits_classes):
            runner.register_hook(LabelMappingHook())
        self._find_checkpoint(runner)

    def _check_place(self, hooks: Sequence[Hook]) -> None:
        """Refuse hooks that have seen the model without prompts, and a second hook of this kind.

        The Runner calls the hooks in turn while this one registers others, which therefore have to come after it.

        Raises:
            ValueError: says which hook to take out or to move.
        """
        if sum(isinstance(hook, PromptTuningHook) for hook in hooks) > 1:
            raise ValueError(
                'custom_hooks has more than one PromptTuningHook: leave one, which takes several prompters as a list'
            )
        if get_priority(self.priority) != get_priority('HIGHEST'):
            raise ValueError(
                f'PromptTuningHook has priority={self.priority!r}, but it has to be the first of all hooks: leave '
                'priority out'
            )
        before = [type(hook).__name__ for hook in hooks[: hooks.index(self)] if overrides('before_run', Hook, hook)]
        if before:
            raise ValueError(
                f'{", ".join(before)} come before PromptTuningHook and have seen the model without prompts: list '
                'PromptTuningHook first in custom_hooks'
            )

    def _rebuild_optimizer(self, runner: Runner) -> None:
        config = runner.cfg.get('optim_wrapper')
        if config is None:
            raise ValueError('PromptTuningHook rebuilds the optimizer from the config: make the Runner by from_cfg')
        config = dict(config)
        config.setdefault('constructor', 'TrainableOnlyOptimWrapperConstructor')
        schedulers, runner.param_schedulers = runner.param_schedulers, None
        for line in misspelt_settings(config, unwrap_model(runner.model)):
            runner.logger.warning(line)
        if any(parameter.requires_grad for parameter in runner.model.parameters()):
            runner.optim_wrapper = runner.build_optim_wrapper(config)
            _check_optimizer(runner.optim_wrapper.optimizer)
        elif self.mapping is not None:
            runner.optim_wrapper = IdleOptimWrapper()  # a mapping that is drawn or counted, and no prompts
        else:
            raise ValueError(
                f'nothing trains with prompter={self.prompter!r} and tune={list(self.tune)!r}: give PromptTuningHook a '
                "prompter, or name what trains, as in tune=['head']"
            )
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
            complete(model, checkpoint, where, frozen_sources(runner.cfg), head=self.load_head or runner._resume)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | tuple | list | None = None) -> None:
        # The train loop called `model.train()`. The prompted backbone corrects its own mode; the other parts are
        # corrected here.
        for part in self._other_parts or ():
            set_mode(part, True)


def _make_safe(hook: Hook) -> None:
    """Let a CheckpointHook, or a user's own kind of it, save as ``SafeCheckpointHook`` does."""
    kind = type(hook)
    if isinstance(hook, CheckpointHook) and not isinstance(hook, SafeCheckpointHook):
        hook.__class__ = (
            SafeCheckpointHook if kind is CheckpointHook else type(kind.__name__, (SafeCheckpointHook, kind), {})
        )


def _check_optimizer(optimizer: torch.optim.Optimizer) -> None:
    """Refuse an optimizer that evaluates the loss several times in a step, as LBFGS does: MMEngine has no such step.

    Raises:
        ValueError: says which.
    """
    closure = signature(type(optimizer).step).parameters.get('closure')
    if closure is not None and closure.default is Parameter.empty:
        raise ValueError(
            f'{type(optimizer).__name__} takes a step with a closure that computes the loss again, which MMEngine does '
            'not offer: choose another optimizer, such as AdamW or SGD'
        )


def _around(model: nn.Module, prompted: nn.Module | None) -> Iterator[nn.Module]:
    """The largest parts of ``model`` that are not in the prompted network and do not hold it."""
    for part in model.children():
        if prompted not in part.modules():
            yield part
        elif part is not prompted:
            yield from _around(part, prompted)


def _check_classifier(model: nn.Module) -> None:
    """Refuse to train a network's own classifier where nothing reads it.

    Raises:
        ValueError: says so, and what to do.
    """
    prompted = find_prompted_network(model)
    if prompted.readout == OWN or prompted.net.classifier is None:
        return
    own = {id(parameter) for parameter in prompted.net.classifier.parameters()}
    unread = [name for name, parameter in model.named_parameters() if id(parameter) in own and parameter.requires_grad]
    if unread:
        raise ValueError(
            f'tune matches {", ".join(unread)}, the own classifier of {prompted.net.geometry.name}, which nothing '
            'reads '
            f"with readout='{prompted.readout}': name the head above it more closely, as in tune=['head.fc'], or "
            'build the '
            'network without (num_classes=0)'
        )


def refuse_sharding(config: Config) -> None:
    """Refuse a config whose processes share out the parameters of a model, FSDP's or DeepSpeed's, and model wrappers
    that are unknown or for other models.

    Raises:
        ValueError: says which setting to leave out.
    """
    wrapper = (config.get('model_wrapper_cfg') or {}).get('type', 'MMDistributedDataParallel')
    kind = MODEL_WRAPPERS.get(wrapper) if isinstance(wrapper, str) else wrapper
    if not isinstance(kind, type):
        near = get_close_matches(str(wrapper), list(MODEL_WRAPPERS.module_dict), n=1)
        hint = f'; did you mean {near[0]}?' if near else ''
        raise ValueError(f'model_wrapper_cfg=dict(type={wrapper!r}): there is no such model wrapper{hint}')
    if issubclass(kind, MMSeparateDistributedDataParallel):
        raise ValueError(
            f'model_wrapper_cfg=dict(type={wrapper!r}) is for models that train their parts one by one, such as GANs: '
            'leave type out'
        )
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
