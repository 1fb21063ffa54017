"""The one function that plugs a prompter into a model, and its way back."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from torch import nn

from vptx.backbones import Net, take_apart
from vptx.mappings.base import LabelMapping
from vptx.prompted import PromptedBackbone, PromptedNetwork
from vptx.prompters.base import Prompter
from vptx.prompters.stack import StackedPrompter
from vptx.readout import OWN, Readout, read_maps
from vptx.registry import MAPPINGS, PROMPTERS, build
from vptx.trainable import freeze

__all__ = ['attach', 'detach', 'find_hall', 'fold']


class Before(NamedTuple):
    """What :func:`detach` needs to know.

    Attributes:
        readout: of the hall.
        trains: every parameter of the model with its ``requires_grad``.
        own_hall: whether the model came with a hall, or got it from :func:`attach`.
    """

    readout: Readout
    trains: list[tuple[nn.Parameter, bool]]
    own_hall: bool


def find_hall(model: nn.Module) -> PromptedNetwork | None:
    """The hall inside ``model``, or None.

    Raises:
        ValueError: there are several.
    """
    halls = [module for module in model.modules() if isinstance(module, PromptedNetwork)]
    if len(halls) > 1:
        raise ValueError(f'{type(model).__name__} has {len(halls)} prompted networks; vptx plugs one')
    return halls[0] if halls else None


def attach(
    model: nn.Module,
    prompter: Prompter | dict | Sequence[Prompter | dict] | None = None,
    tune: Sequence[str] = (),
    readout: Readout | None = None,
    mapping: LabelMapping | dict | None = None,
) -> nn.Module:
    """Plug ``prompter`` and ``mapping`` into ``model`` and freeze everything but them and what ``tune`` names.

        model = vptx.attach(timm.create_model('vit_base_patch16_224'), dict(type='DeepPrompter'), tune=['head'])

    Args:
        model: a library's network, which comes back inside a :class:`~vptx.prompted.PromptedNetwork`; or a model with
            a ``backbone`` (an mmpretrain classifier, say), which is changed in place.
        prompter: the prompter or its config, or several of them, one after the other; None tunes without prompts
            (linear probing, bias, full fine-tuning).
        tune: patterns over parameter names of what trains beside the prompter; see :func:`vptx.trainable.matches`.
        readout: what the head sees; by default the hall's own choice, or a bare network's own head.
        mapping: how the network's own classes are read as those of a task, a label mapping or its config; the model
            then gives target logits, and a head above it, if any, adds nothing to them (mmpretrain's ``ClsHead``).

    Returns:
        The model to train. :func:`detach` gives back the one that came in.

    Raises:
        ValueError: the model is of no known kind or is prompted already, or prompter, mapping, readout, ``tune`` and
            network do not fit together.
        TypeError: ``model`` is no module, or a prompter or mapping is neither a module nor a config.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f'attach takes a model that is built, such as timm.create_model(...), not {model!r}')
    hall = find_hall(model)
    if hall is not None and hall.before is not None:
        raise ValueError('this model has a prompter plugged in already: vptx.detach(model) it first')
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    own_hall = hall is not None
    if hall is None:
        inner = getattr(model, 'backbone', None)
        if isinstance(inner, nn.Module):
            training = inner.training
            hall = model.backbone = PromptedBackbone(_with_pixel_statistics(take_apart(inner), model))
        else:
            training = model.training
            hall = model = PromptedNetwork(take_apart(model), readout=OWN)
        hall.train(training)
    hall.before = Before(hall.readout, flags, own_hall)
    try:
        hall.plug(_build(prompter), readout, build(MAPPINGS, mapping))
        _check_maps(model, hall)
        freeze(model, tune, also=nn.ModuleList([hall.prompter, hall.mapping]))
    except Exception:
        detach(model)
        raise
    hall.train(hall.training)
    return model


def _build(prompter: Prompter | dict | Sequence[Prompter | dict] | None) -> Prompter:
    if prompter is None:
        return Prompter()
    if isinstance(prompter, Sequence) and not isinstance(prompter, str):
        return StackedPrompter(prompter)
    return build(PROMPTERS, prompter)


def _check_maps(model: nn.Module, hall: PromptedNetwork) -> None:
    """Refuse heads of mmsegmentation that ask for more feature maps than there are.

    Raises:
        ValueError: names the head, its ``in_index`` and the maps.
    """
    net = hall.net
    maps = read_maps(hall.readout, net.geometry.depth, net.stages, net.map_norm)
    if maps is None:
        return
    number = len(maps.layers)
    for name in ('decode_head', 'auxiliary_head'):
        part = getattr(model, name, None)
        for head in part if isinstance(part, nn.ModuleList) else [part]:
            asked = getattr(head, 'in_index', ())
            for index in asked if isinstance(asked, Sequence) else [asked]:
                if not -number <= index < number:
                    raise ValueError(
                        f'{name} has in_index={index}, which counts feature maps from 0, not layers, and the maps '
                        f'number {number}: of the layers {list(maps.layers)}'
                    )


def _with_pixel_statistics(net: Net, model: nn.Module) -> Net:
    """OpenMMLab keeps the mean and the standard deviation of pixels beside the backbone, in [0, 255]."""
    preprocessor = getattr(model, 'data_preprocessor', None)
    if not net.geometry.mean:
        mean, std = getattr(preprocessor, 'mean', None), getattr(preprocessor, 'std', None)
        if mean is None or std is None:
            raise ValueError(
                f'{type(model).__name__} has no data_preprocessor with mean and std, so nobody knows what pixels '
                f'{net.geometry.name} takes'
            )
        mean, std = (tuple((values.flatten() / 255).tolist()) for values in (mean, std))
        net.geometry = replace(net.geometry, mean=mean, std=std)
    return net


def detach(model: nn.Module) -> nn.Module:
    """Undo :func:`attach`: the model as it was, without a trace of the prompter.

    Raises:
        ValueError: there is nothing to detach.
    """
    hall = find_hall(model)
    if hall is None or hall.before is None:
        raise ValueError(f'{type(model).__name__} has no prompter plugged in')
    before, hall.before = hall.before, None
    hall.plug(Prompter(), before.readout)
    for parameter, trains in before.trains:
        parameter.requires_grad = trains
    library = hall.net.model
    if before.own_hall:
        hall.train(hall.training)
        return model
    library.train(hall.training)
    if hall is model:
        return library
    model.backbone = library
    return model


def fold(model: nn.Module) -> nn.Module:
    """Compute the keys and values of deep prompts once, for inference; puts ``model`` in eval mode and returns it.

    Raises:
        ValueError: no prompter is plugged in, or its prompts cannot be folded (shallow, or dependent on the image).
    """
    hall = find_hall(model)
    if hall is None:
        raise ValueError(f'{type(model).__name__} has no prompter plugged in')
    model.eval()
    hall.fold()
    return model
