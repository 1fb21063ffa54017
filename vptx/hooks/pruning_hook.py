"""The second training of E^2VPT: prompts without what a first training found to be unimportant.

Han et al., ICCV 2023, https://arxiv.org/abs/2307.13770, section 3.3; see ``vptx.prompters.pruning``.
"""

from itertools import islice
from pathlib import Path

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from vptx.kept import kept_names
from vptx.prompt_file import load_prompt
from vptx.prompters.base import check_whole
from vptx.prompters.pruning import find_factors, measure, prune
from vptx.registry import HOOKS
from vptx.trainable import unwrap_model

__all__ = ['PruningHook']


@HOOKS.register_module()
class PruningHook(Hook):
    """Prunes before the first iteration, and the prompts that are left start again. A resumed run has its factors.

        # 1. python tools/train.py configs/mini/digits_e2vpt.py
        # 2. this hook, and the prompt file of that run
        custom_hooks = [
            dict(type='PromptTuningHook', ...),
            dict(type='PruningHook', first='work_dirs/digits_e2vpt/prompt.safetensors', tokens=0.2, segments=0.3),
        ]

    Source: Han et al. (E^2VPT), ICCV 2023, https://arxiv.org/abs/2307.13770, section 3.3.

    Args:
        first: prompt file of the first training, with the same prompter.
        tokens: how many prompts are pruned: a number, or a share below 1.
        segments: how many of the P * S segments.
        signed: whether gradients count with their sign, as in the public code, or by size, as in the paper.
        batches: how many training batches importance is measured on; None for all of an epoch.

    Raises:
        FileNotFoundError: there is no first training.
        ValueError: more pruned than there is; a prompt file of another prompter; a prompter without factors.
    """

    priority = 'VERY_HIGH'

    def __init__(
        self,
        first: str,
        tokens: float = 0,
        segments: float = 0,
        signed: bool = False,
        batches: int | None = None,
    ) -> None:
        self.first, self.tokens, self.segments, self.signed = Path(first).expanduser(), tokens, segments, signed
        self.batches = None if batches is None else check_whole('batches', batches)
        for what, number in (('tokens', tokens), ('segments', segments)):
            if isinstance(number, bool) or number < 0 or (number >= 1 and number != int(number)):
                raise ValueError(f'PruningHook: {what} is a number of them, or a share below 1, not {number!r}')

    def before_train(self, runner: Runner) -> None:
        model = unwrap_model(runner.model)
        found = find_factors(model)
        if runner.iter > 0:  # of a resumed run they are in the checkpoint
            for factor in (found.token_mask, found.segment_mask):
                factor.requires_grad_(False)
            return
        if not self.first.is_file():
            raise FileNotFoundError(
                f'{self.first} is not there: train the same config without PruningHook first, and name its prompt file'
            )
        state = model.state_dict()
        fresh = {name: state[name].clone() for name in kept_names(model)}
        load_prompt(model, self.first)
        was_training = model.training
        model.eval()
        data = (model.data_preprocessor(batch, True) for batch in islice(runner.train_dataloader, self.batches))
        importance = measure(_Losses(model), ((batch, batch) for batch in data), _loss, self.signed)
        model.train(was_training)
        model.load_state_dict(fresh, strict=False)  # looked at: they were taken from it
        tokens = _number(self.tokens, found.token_mask.numel())
        segments = _number(self.segments, found.segment_mask.numel())
        prune(model, importance, tokens, segments)
        runner.logger.info(
            f'pruned {tokens} of {found.token_mask.numel()} prompts and {segments} of '
            f'{found.segment_mask.numel()} segments, by the importance that {self.first} gives them'
        )


class _Losses(nn.Module):
    """A model of OpenMMLab as ``measure`` calls one."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: dict) -> Tensor:
        return self.model.parse_losses(self.model(**batch, mode='loss'))[0]


def _loss(found: Tensor, batch: dict) -> Tensor:
    return found


def _number(share: float, total: int) -> int:
    return int(share * total) if 0 < share < 1 else int(share)
