"""Attach a prompter to a model, and detach it again."""

from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vptx.backbones import Net, find_net, wrap_backbone
from vptx.backbones.hugging_face import HuggingFaceNet
from vptx.hugging_face import PromptedHuggingFace
from vptx.mappings.base import LabelMapping
from vptx.prompted import PromptedBackbone, PromptedNetwork
from vptx.prompters.base import Prompter
from vptx.prompters.stack import StackedPrompter
from vptx.readout import OWN, Readout, read_maps
from vptx.registry import MAPPINGS, PROMPTERS, build
from vptx.trainable import freeze

__all__ = [
    'attach',
    'detach',
    'find_mapping',
    'find_prompted_network',
    'fold',
    'merge',
    'prompted_network',
    'unmerge',
]


class AttachState(NamedTuple):
    """What ``detach`` needs to know.

    Attributes:
        readout: of the prompted network.
        trains: every parameter of the model with its ``requires_grad``.
        modes: every module of the prompted network with its ``training``.
        own_network: whether the model came with a prompted network, or got it from ``attach``.
    """

    readout: Readout
    trains: list[tuple[nn.Parameter, bool]]
    modes: list[tuple[nn.Module, bool]]
    own_network: bool


def find_prompted_network(model: nn.Module) -> PromptedNetwork | None:
    """The prompted network inside ``model``, or None.

    Raises:
        ValueError: there are several.
    """
    networks = [module for module in model.modules() if isinstance(module, PromptedNetwork)]
    if len(networks) > 1:
        raise ValueError(f'{type(model).__name__} has {len(networks)} prompted networks; expected at most one')
    return networks[0] if networks else None


def find_mapping(model: nn.Module) -> LabelMapping:
    """The label mapping of a prompted model: of its prompted network, or of a head above it that reads class names;
    one that changes nothing where there is none."""
    prompted = find_prompted_network(model)
    own = prompted.mapping if prompted is not None else LabelMapping()
    others = (module for module in model.modules() if isinstance(module, LabelMapping) and module.num_classes)
    return own if own.num_classes else next(others, own)


def prompted_network(model: nn.Module) -> PromptedNetwork:
    """As ``find_prompted_network``.

    Raises:
        ValueError: there is none in ``model``.
    """
    found = find_prompted_network(model)
    if found is None:
        raise ValueError(f'{type(model).__name__} is no prompted model: call vptx.attach first')
    return found


def attach(
    model: nn.Module,
    prompter: Prompter | dict | Sequence[Prompter | dict] | None = None,
    tune: Sequence[str] = (),
    readout: Readout | None = None,
    mapping: LabelMapping | dict | None = None,
    at: str | None = None,
) -> nn.Module:
    """Attach ``prompter`` and ``mapping`` to ``model``, and freeze everything but them and what ``tune`` names.

        model = vptx.attach(timm.create_model('vit_base_patch16_224'), dict(type='DeepPrompter'), tune=['head'])
        model = vptx.attach(classifier, dict(type='DeepPrompter'), tune=['head'], at='encoder')

    Visual prompts are those of Jia et al., Visual Prompt Tuning, ECCV 2022, https://arxiv.org/abs/2203.12119; each
    prompter names its own paper.

    Args:
        model: The network to adapt. A network of a library comes back inside a ``PromptedNetwork``. A model that holds
            such a network (an mmpretrain classifier, a module of your own) is changed in place.
        prompter: A prompter or its config. A list of them acts one after the other. With None, the network is tuned
            without prompts (linear probing, bias tuning, full fine-tuning). A prompter that has been bound before keeps
            what it has learnt.
        tune: Patterns of the names of parameters that train besides the prompter. ``vptx.trainable.matches`` explains
            them.
        readout: What the head sees. By default the part returns what it returned before. Inside a model of OpenMMLab it
            returns a tuple of features, pooled as the network was trained.
        mapping: A label mapping or its config. It says how the network's own classes are read as those of a task. The
            model then returns target logits (B, C), and mmpretrain's ``ClsHead`` adds nothing to them.
        at: The dotted name of the part that gets the prompts, such as ``'encoder'``; ``''`` is the model itself. By
            default it is ``'backbone'``, if the model has one.

    Returns:
        The model to train. It takes the images that it took before, (B, 3, H, W). ``detach`` gives back the model that
        was passed in.

    Raises:
        TypeError: ``model`` is no module, or a prompter or mapping is neither a module nor a config.
        ValueError: ``at`` names no module. Or no wrapper supports the part, or it has prompts already. Or prompter,
            mapping, readout, ``tune`` and network do not fit together. Or DistributedDataParallel is around the part
            already.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f'attach takes a model that is built, such as timm.create_model(...), not {model!r}')
    prompted = find_prompted_network(model)
    if prompted is not None and prompted.attach_state is not None:
        raise ValueError('this model already has a prompter: vptx.detach(model) it first')
    _refuse_parallel(model)
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    own_network = prompted is not None
    part = _part(model, at) if prompted is None or at is not None else prompted
    modes, training = [(module, module.training) for module in part.modules()], part.training
    if prompted is None:
        at = at if at is not None or part is model else 'backbone'
        prompted = _wrap(model, part, at)
    elif part is not prompted:
        raise ValueError(f'at={at!r} is not the prompted network that {type(model).__name__} has: leave at out')
    else:
        _with_pixel_statistics(prompted.net, model, needed=False)
    prompted.train(training)
    if part is model:
        model = prompted
    elif not own_network:
        _replace(model, part, prompted)
    prompted.attach_state = AttachState(prompted.readout, flags, modes, own_network)
    try:
        prompted.set_prompter(_build(prompter), readout, build(MAPPINGS, mapping))
        _check_maps(model, prompted)
        freeze(model, tune, also=nn.ModuleList([prompted.prompter, prompted.mapping]))
    except Exception:
        detach(model)
        raise
    prompted.train(prompted.training)
    return model


def _part(model: nn.Module, at: str | None) -> nn.Module:
    if at is None:
        backbone = getattr(model, 'backbone', None)
        return backbone if isinstance(backbone, nn.Module) else model
    modules = dict(model.named_modules(remove_duplicate=False))
    if at not in modules:
        near = get_close_matches(at, modules, n=3) or [name for name, _ in model.named_children()]
        raise ValueError(
            f'at={at!r} names no module of {type(model).__name__}. Nearest: {", ".join(near) or "it has none"}'
        )
    return modules[at]


def _wrap(model: nn.Module, part: nn.Module, at: str | None) -> PromptedNetwork:
    """The prompted network of ``part``, which returns what the part returns; in a model of OpenMMLab, a tuple."""
    if find_net(part) is None:
        inner = [name for name, module in part.named_modules() if name and find_net(module)]
        names = [f'{at}.{name}' if at else name for name in inner]
        try:
            wrap_backbone(part)
        except ValueError as error:
            hint = f". It holds one that can be prompted: at='{names[0]}'" if names else ''
            raise ValueError(f'{error}{hint}') from None
    parent = model.get_submodule((at or '').rpartition('.')[0])
    if part is not model and hasattr(parent, 'data_preprocessor'):  # as a model of OpenMMLab has it
        return PromptedBackbone(_with_pixel_statistics(wrap_backbone(part), parent))
    net = wrap_backbone(part)
    return (PromptedHuggingFace if isinstance(net, HuggingFaceNet) else PromptedNetwork)(net, readout=OWN)


def _refuse_parallel(model: nn.Module) -> None:
    if any(isinstance(module, DistributedDataParallel) for module in model.modules()):
        raise ValueError(
            'DistributedDataParallel exchanges the gradients of the parameters that it found when it was made: attach '
            'or detach the model inside (model.module), and wrap it afterwards'
        )


def _replace(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Put ``new`` wherever a module of ``model`` has ``old``."""
    places = [(parent, name) for parent in model.modules() for name, child in parent._modules.items() if child is old]
    for parent, name in places:
        setattr(parent, name, new)
        if name == '_orig_mod':  # torch.compile keeps the call of the old module until its state is set
            parent.__setstate__(parent.__getstate__())


def _build(prompter: Prompter | dict | Sequence[Prompter | dict] | None) -> Prompter:
    if prompter is None:
        return Prompter()
    if isinstance(prompter, Sequence) and not isinstance(prompter, str):
        return StackedPrompter(prompter)
    return build(PROMPTERS, prompter)


def _check_maps(model: nn.Module, prompted: PromptedNetwork) -> None:
    """Refuse heads of mmsegmentation that ask for more feature maps than there are.

    Raises:
        ValueError: names the head, its ``in_index`` and the maps.
    """
    net = prompted.net
    maps = read_maps(prompted.readout, net.geometry.depth, net.stages, net.map_norm)
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


def _with_pixel_statistics(net: Net, model: nn.Module, needed: bool = True) -> Net:
    """OpenMMLab keeps the mean and the standard deviation of pixels next to the backbone, in [0, 255]. They serve where
    the network does not know those of all its channels. mmsegmentation has the size of its images there, too, which a
    ConvNet does not know."""
    preprocessor = getattr(model, 'data_preprocessor', None)
    size = getattr(preprocessor, 'size', None)
    if size is not None and not net.geometry.depth and not hasattr(net.model, 'img_size'):
        net.geometry = replace(net.geometry, image=tuple(size))
    facts = net.geometry
    if len(facts.mean) == facts.channels:
        return net
    found = [getattr(preprocessor, name, None) for name in ('mean', 'std')]
    if all(isinstance(values, Tensor) for values in found):
        mean, std = (tuple((values.flatten() / 255).tolist()) for values in found)
        if len(mean) == facts.channels or not facts.mean:
            net.geometry = replace(facts, mean=mean, std=std)
    elif needed and not facts.mean:
        raise ValueError(
            f'{type(model).__name__} has no data_preprocessor with mean and std, so the pixel normalisation of '
            f'{facts.name} is unknown: add one to the model'
        )
    return net


def detach(model: nn.Module) -> nn.Module:
    """Undo ``attach``: the model is as it was, and nothing of the prompter is left in it.

    What trains (``requires_grad``) and the training mode of each module of the prompted network are as they were before
    ``attach``. Wrappers that were put around the model since, such as ``torch.compile``, stay around it.

    Args:
        model: A model that ``attach`` returned.

    Returns:
        The model that ``attach`` was given.

    Raises:
        ValueError: The model has no prompter, or DistributedDataParallel is around it.
    """
    prompted = find_prompted_network(model)
    if prompted is None or prompted.attach_state is None:
        raise ValueError(f'{type(model).__name__} has no prompter')
    _refuse_parallel(model)
    prompted.unmerge()
    state, library = prompted.attach_state, prompted.net.model
    if not state.own_network and prompted is not model:
        _replace(model, prompted, library)
    prompted.attach_state = None
    prompted.set_prompter(Prompter(), state.readout)
    for parameter, trains in state.trains:
        parameter.requires_grad = trains
    for module, training in state.modes:
        module.training = training
    return library if prompted is model and not state.own_network else model


def fold(model: nn.Module) -> nn.Module:
    """Compute the keys and values of deep prompts once, for inference.

    The outputs do not change. Training mode (``model.train()``) and a prompt file that is loaded discard what was
    computed. ``docs/fast_path.md`` shows why this is exact.

    Args:
        model: A model that ``attach`` returned. It is changed in place and is put in eval mode.

    Returns:
        ``model``.

    Raises:
        ValueError: The model has no prompter, or its prompts cannot be folded: shallow prompts become tokens, and some
            prompts depend on the image.
    """
    prompted = find_prompted_network(model)
    if prompted is None:
        raise ValueError(f'{type(model).__name__} has no prompter')
    model.eval()
    prompted.fold()
    return model


def merge(model: nn.Module) -> nn.Module:
    """Put what the prompter does into the frozen weights, for inference.

    LoRA, SSF, RepAdapter and FacT disappear, and the model runs the forward of the frozen network. Of Adapter+, the
    scales go into the maps of the adapter. Of several prompters, those that can be merged are merged. The outputs are
    equal up to rounding. ``unmerge`` restores the saved weights; so do training and ``detach``. A merged model saves no
    prompt file.

    Args:
        model: A model that ``attach`` returned. It is changed in place and is put in eval mode.

    Returns:
        ``model``.

    Raises:
        ValueError: The model has no prompter, or the prompter or a frozen layer does not allow it (the message says
            which and why). The model is then as it was.
    """
    prompted = prompted_network(model)
    model.eval()
    prompted.merge()
    return model


def unmerge(model: nn.Module) -> nn.Module:
    """Undo ``merge``: the weights are as they were, bit for bit, and the prompter acts again.

    Args:
        model: A model that ``merge`` has changed. It is changed in place.

    Returns:
        ``model``.

    Raises:
        ValueError: Nothing is merged in ``model``.
    """
    prompted = prompted_network(model)
    if prompted.merged is None:
        raise ValueError(f'{type(model).__name__} is not merged')
    prompted.unmerge()
    return model
