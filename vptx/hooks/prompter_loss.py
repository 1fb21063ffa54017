"""The terms of ``loss()`` of a prompter and a label mapping, added to those of the head."""

from typing import Any

from torch import Tensor, nn

from vptx.attach import find_prompted_network

__all__ = ['add_prompter_loss', 'serve_prompter_loss']


def serve_prompter_loss(model: nn.Module) -> None:
    """Have a model of OpenMMLab add the terms of its prompter and label mapping wherever it computes losses, in each of
    its processes."""
    network = find_prompted_network(model)
    if network is not None and (network.prompter.adds_loss or network.mapping.adds_loss):
        model.register_forward_hook(add_prompter_loss, with_kwargs=True)


def add_prompter_loss(model: nn.Module, inputs: tuple, options: dict[str, Any], output: Any) -> Any:
    """Losses of ``mode='loss'``, with those of prompter and mapping: ``NAME`` becomes ``prompter.loss_NAME`` or
    ``mapping.loss_NAME``, as a model of OpenMMLab sums what has ``loss`` in its name, and logs each.

    Raises:
        TypeError: terms that are no tensors by name.
    """
    network = find_prompted_network(model)
    if options.get('mode') != 'loss' or not isinstance(output, dict) or network is None:
        return output
    found = dict(output)
    for place, part in (('prompter', network.prompter), ('mapping', network.mapping)):
        terms = part.loss()
        if not isinstance(terms, dict) or not all(isinstance(term, Tensor) for term in terms.values()):
            raise TypeError(f'loss() of {type(part).__name__} must return a dict of tensors by name, not {terms!r}')
        found |= {f'{place}.loss_{key}': term for key, term in terms.items()}
    return found
