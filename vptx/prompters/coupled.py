"""Coupled prompts: Khattak et al., "MaPLe: Multi-modal Prompt Learning", CVPR 2023, https://arxiv.org/abs/2210.03117

    U_i = F_i(P_i),    F_i(x) = A_i x + b_i,    i = 0 ... J - 1

P_i (n, D_t) are the learnt prompts of the text tower before its layer i, U_i (n, D_v) those of the image tower. So
both sides learn the same prompts, and the gradients of both meet in P_i. F_1 ... F_{J-1} start as copies of one draw.

MaPLe puts U_0 after the positions and before the norm of CLIP's image towers, and U_i in the place of the outputs
of the prompts of the layer before. Those of U_{J-1} go on.
"""

from copy import deepcopy

from torch import Tensor, nn

from vptx.geometry import At, Geometry
from vptx.prompters.base import TokenPrompter
from vptx.registry import PROMPTERS

__all__ = ['CoupledPrompter']


@PROMPTERS.register_module()
class CoupledPrompter(TokenPrompter):
    """Prompts that linear maps make of those of the text side: J * (D_t * D_v + D_v) numbers besides those.

        prompter=dict(type='CoupledPrompter'),
        mapping=dict(type='TextHead', ..., prompter=dict(type='ContextPrompter', num_tokens=2, depth=9))

    The text side says how many there are and in how many layers. It owns them, so they are in a file once.

    Source: Khattak et al. (MaPLe), CVPR 2023, https://arxiv.org/abs/2210.03117.

    Raises:
        ValueError: when bound, a text side without prompts that all classes share; more layers of it than the network
            has.
    """

    embedded = True
    reads_language = True

    def __init__(self) -> None:
        super().__init__(num_tokens=1)

    def bind(self, geometry: Geometry, reads_prompts: bool = False) -> None:
        if not geometry.language:
            raise ValueError(
                'CoupledPrompter makes the prompts of the image side of those of the text side, and there are none '
                "that all classes share: mapping=dict(type='TextHead', prompter=dict(type='ContextPrompter', "
                'num_tokens=2, depth=9), ...)'
            )
        if len(geometry.language) > geometry.depth:
            raise ValueError(
                f'the text side has prompts in {len(geometry.language)} layers, and {geometry.name} has '
                f'{geometry.depth} layers for those that are made of them'
            )
        self.num_tokens = geometry.language[0][0]
        self._asked = range(len(geometry.language))
        super().bind(geometry, reads_prompts)
        shapes = [(width, geometry.widths[layer]) for layer, (_, width) in enumerate(geometry.language)]
        drawn = {shape: nn.Linear(*shape) for shape in dict.fromkeys(shapes[1:])}
        self.maps = nn.ModuleList([nn.Linear(*shapes[0]), *(deepcopy(drawn[shape]) for shape in shapes[1:])])

    def prompts(self, tokens: Tensor, at: At) -> Tensor:
        assert at.layer is not None
        return self.maps[at.layer](at.language[at.layer])
