"""The plug: one entry in ``custom_hooks`` turns a stock config into prompt tuning."""

from collections.abc import Sequence
from pathlib import Path

from mmengine.hooks import CheckpointHook, Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import nn

from vptx.attach import attach, find_hall
from vptx.hooks.guard_hook import GuardHook
from vptx.hooks.label_mapping_hook import LabelMappingHook
from vptx.hooks.random_streams_hook import RandomStreamsHook
from vptx.hooks.slim_checkpoint_hook import (
    SafeCheckpointHook,
    SlimCheckpointHook,
    adopt,
    bare,
    complete,
    is_stock,
)
from vptx.optim import IdleOptimWrapper
from vptx.readout import OWN, Readout
from vptx.registry import HOOKS
from vptx.trainable import set_mode, trainable_table

__all__ = ['PromptTuningHook']


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
    ``init_cfg`` and ``load_from`` take a model zoo's checkpoint as they do without this hook.

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
        model = bare(runner.model)
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
        runner.model = runner.wrap_model(runner.cfg.get('model_wrapper_cfg'), model)
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
        folder = Path(runner.work_dir)
        pointer = folder / 'last_checkpoint'
        named = pointer.read_text().strip() if pointer.is_file() else ''
        if named and Path(named).is_file():
            return
        # epoch_3.pth or iter_300.pth; the best ones hold no optimizer.
        own = [path for path in folder.glob('*_*.pth') if not path.name.startswith('best_')]
        steps = {int(p.stem.rpartition('_')[2]): p for p in own if p.stem.rpartition('_')[2].isdigit()}
        if steps:
            runner._load_from = str(steps[max(steps)])
        elif pointer.is_file():
            pointer.unlink()  # points to nothing: the run starts from the beginning

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if runner._resume and 'optimizer' not in checkpoint:
            raise ValueError(
                f'{runner._load_from} holds no optimizer: a prompt file or a best_*.pth can be tested or trained on '
                '(load_from), but to go on with a run resume from a .pth that it wrote at the end of an epoch'
            )
        model = bare(runner.model)
        if not runner._resume and is_stock(model, checkpoint):
            adopt(model, checkpoint, str(runner._load_from))
        else:
            complete(model, checkpoint)

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
