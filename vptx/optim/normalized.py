"""Steps of one length: Wu et al., "Unleashing the Power of Visual Prompting At the Pixel Level" (EVP), 2022,
https://arxiv.org/abs/2212.10556

    P <- P - lr * g / (|g| + 1e-10),    |g| the L2 norm

The learning rate is the length of a step, in the numbers of the prompt: 70 over the 69,840 numbers of EVP's frame is
0.26 of each, the root mean square. The public code divides by the norm of the gradient on all of the image and applies
the frame's part alone, so its steps are somewhat shorter than that; here they are as long as they say.
"""

import torch
from mmengine.optim import OptimWrapper

from vptx.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class NormalizedGradOptimWrapper(OptimWrapper):
    """Divides the gradient of all that trains, as one vector, by its norm; SGD then takes steps of one length.

    Source: Wu et al. (EVP), 2022, https://arxiv.org/abs/2212.10556.

    Args:
        eps: added to the norm.
        *arguments, **options: of MMEngine's OptimWrapper.
    """

    def __init__(self, *arguments, eps: float = 1e-10, **options) -> None:
        super().__init__(*arguments, **options)
        self.eps = eps

    def step(self, **options) -> None:
        gradients = [p.grad for group in self.optimizer.param_groups for p in group['params'] if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        for gradient in gradients:
            gradient.div_(norm + self.eps)
        super().step(**options)
