"""Rows of learnt vectors: what most prompters are made of."""

from collections.abc import Mapping, Sequence
from inspect import signature
from math import sqrt
from pathlib import Path
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from vptx.arguments import check_names
from vptx.files import read_array, read_safetensors
from vptx.geometry import Geometry
from vptx.tensors import check_numbers

__all__ = ['PromptEmbedding', 'embedding_arguments', 'uniform_bound']


def uniform_bound(geometry: Geometry, width: int) -> float:
    """v of the initial U(-v, v): Xavier's bound of the patch embedding seen as a linear layer onto ``width``.

    Jia et al. 2022, section 3.2: v = sqrt(6 / (channels * patch height * patch width + width)); 0.0625 for ViT-B/16.
    """
    height, width_of_patch = geometry.patch
    return sqrt(6 / (geometry.channels * height * width_of_patch + width))


def embedding_arguments(kind: type, given: Mapping[str, Any]) -> dict[str, Any]:
    """What a prompter of this ``kind`` hands to ``PromptEmbedding`` once it knows the network.

    Raises:
        TypeError: an argument that ``PromptEmbedding`` does not take.
    """
    check_names(kind, given, list(signature(PromptEmbedding).parameters)[3:])
    return dict(given)


class PromptEmbedding(BaseModule):
    """``rows`` matrices of ``num_tokens`` learnt vectors; row r gives (P, D), or (B, P, D) under per-sample dropout.

    Args:
        widths: D of each row.
        num_tokens: P, of all rows or of each.
        geometry: of the network; only its patch size is used, for the initial bound.
        dropout: probability that a component of a prompt is zeroed while training.
        dropout_per: ``'sample'``, a mask for every sample (the public code; the paper uses 0.1 for deep prompts), or
            ``'batch'``, one mask for all, which keeps keys and values of a prompt shared by the batch.
        project_dim: if given, vectors of this width are learnt and a linear layer maps them onto D (the
            reparametrisation of Jia et al.).
        project_per: ``'network'``, one linear layer for all rows, or ``'layer'``, one for each: with
            ``project_bias=False`` the factors P_r = A_r B_r of Wang et al., "Attention to the Burstiness in Visual
            Prompt Tuning!", ICCV 2025, https://arxiv.org/abs/2506.22908 (BPT-bilinear): P * c + c * D numbers each,
            more than P * D above c = P D / (P + D), as in the published deep setting of P = c = 50.
        project_bias: whether these layers have a bias.
        segments: if given, S: a learnt factor for each vector, and one for each of its S segments, which are the
            components s, s + S, s + 2 S, ...: P + P * S numbers that all rows share. They are what E2VPT prunes by;
            see ``vptx.prompters.pruning``.
        init: ``'uniform'`` (``uniform_bound``; by default for images), ``'normal'`` (standard deviation 0.02; by
            default for texts, which have no patches), or a file: ``.npy`` of
            shape (rows, P, width), or ``.safetensors`` saved by vptx from a prompter of the same shape.

    Raises:
        ValueError: options out of range, or a file that does not fit.
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        num_tokens: int | Sequence[int],
        geometry: Geometry,
        dropout: float = 0.0,
        dropout_per: str = 'sample',
        project_dim: int | None = None,
        project_per: str = 'network',
        project_bias: bool = True,
        segments: int | None = None,
        init: str | None = None,
    ) -> None:
        super().__init__()
        if dropout_per not in ('sample', 'batch'):
            raise ValueError(f"dropout_per must be 'sample' or 'batch', not '{dropout_per}'")
        if not 0 <= dropout < 1:
            raise ValueError(f'dropout must be in [0, 1), not {dropout}')
        if project_per not in ('network', 'layer'):
            raise ValueError(f"project_per must be 'network' or 'layer', not {project_per!r}")
        one_width = project_per == 'layer' or len(set(widths)) == 1
        if project_dim is not None and (project_dim < 1 or not one_width):
            raise ValueError(
                f'project_dim={project_dim} needs to be at least 1, and all layers of one width {widths} or '
                "project_per='layer'"
            )
        lengths = [num_tokens] * len(widths) if isinstance(num_tokens, int) else num_tokens
        shapes = [(length, project_dim or width) for length, width in zip(lengths, widths, strict=True)]
        self.rows = nn.ParameterList(torch.empty(shape) for shape in shapes)
        self.project: nn.Module = nn.Identity()
        if project_dim and project_per == 'network':
            self.project = nn.Linear(project_dim, widths[0], bias=project_bias)
        elif project_dim:
            self.project = nn.ModuleList(nn.Linear(project_dim, width, bias=project_bias) for width in widths)
        self.segments = segments
        if segments is not None:
            whole = isinstance(segments, int) and segments > 0 and not any(width % segments for width in widths)
            if not whole or len(set(lengths)) > 1:
                raise ValueError(
                    f'segments={segments!r} must be a number that divides the widths {widths}, with as many prompts in '
                    f'each layer, not {lengths}'
                )
            self.token_mask = nn.Parameter(torch.ones(lengths[0]))
            self.segment_mask = nn.Parameter(torch.ones(lengths[0], segments))
        self.dropout = nn.Dropout(dropout)
        self.per_sample = dropout_per == 'sample'
        for module in self.project.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, a=0, mode='fan_out')
        # One bound for all rows: the public code takes the first width for every stage of a Swin too.
        of_texts = 'words' in geometry.doors
        if of_texts and init == 'uniform':
            raise ValueError(
                f"init='uniform' has the bound of a patch embedding, which {geometry.name} lacks: 'normal'"
            )
        self._fill(init or ('normal' if of_texts else 'uniform'), uniform_bound(geometry, shapes[0][1]))

    @property
    def same_for_all(self) -> bool:
        """Whether all samples have the same prompts."""
        return not (self.training and self.per_sample and self.dropout.p > 0)

    @torch.no_grad()
    def _fill(self, init: str, bound: float) -> None:
        if init == 'uniform':
            for row in self.rows:
                row.uniform_(-bound, bound)
        elif init == 'normal':
            for row in self.rows:
                row.normal_(std=0.02)
        elif Path(init).suffix in ('.npy', '.safetensors'):
            for parameter, values in self._read(Path(init)):
                parameter.copy_(values)
        else:
            raise ValueError(f"init must be 'uniform', 'normal' or a .npy or .safetensors file, not '{init}'")

    def _read(self, path: Path) -> list[tuple[nn.Parameter, Tensor]]:
        """What of the file goes where: an array gives the rows, a prompt file the projection too. No file can run
        code: plain arrays are all that is read."""
        if path.suffix == '.npy':
            found, wanted = list(torch.atleast_1d(read_array(path))), dict(self.rows.named_parameters(prefix='rows'))
        else:
            tensors, facts = read_safetensors(path)
            names = facts.get('prompts') if isinstance(facts, dict) else None
            if not isinstance(names, list) or not all(isinstance(name, str) and name in tensors for name in names):
                raise ValueError(f'{path} is no prompt file of vptx: it does not name its prompts')
            found, wanted = [tensors[name] for name in names], dict(self.named_parameters())
        shapes, needed = [tuple(t.shape) for t in found], [tuple(parameter.shape) for parameter in wanted.values()]
        if shapes != needed:
            raise ValueError(f'{path} holds prompts of shapes {shapes}, this prompter needs {needed}')
        check_numbers(dict(zip(wanted, found, strict=True)), wanted, path)
        return list(zip(wanted.values(), found, strict=True))

    def value(self, row: int) -> Tensor:
        """Prompts of a row without dropout: (P, D)"""
        project: Any = self.project
        prompts = (project[row] if isinstance(project, nn.ModuleList) else project)(self.rows[row])
        if self.segments is None:
            return prompts
        factors = self.token_mask[:, None] * self.segment_mask
        return prompts * factors.repeat(1, prompts.shape[1] // self.segments)

    def forward(self, row: int, batch: int) -> Tensor:
        """Prompts of a row: (P, D), or (batch, P, D) where each sample has its own mask."""
        prompts = self.value(row)
        if self.training and self.per_sample and self.dropout.p > 0:
            prompts = prompts.expand(batch, -1, -1)
        return self.dropout(prompts)
