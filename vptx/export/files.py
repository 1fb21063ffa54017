"""Write a model to a file of torch.export (``.pt2``), of ONNX (``.onnx``) or of OpenVINO (``.xml``, ``.bin``).

One graph takes batches of any number. Before the file gets its name, the graph is run and compared with the model.
"""

import json
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from vptx.attach import prompted_network
from vptx.export.deployed import Deployed, check_repeatable, evaluated
from vptx.prompt_file import describe

__all__ = ['FORMATS', 'as_size', 'check_ending', 'check_equal', 'export_model', 'facts_of', 'save', 'trace']

#: The largest difference of logits that is taken for rounding, relative to the largest logit.
TOLERANCE = 1e-4


def export_model(
    model: nn.Module,
    path: str | Path,
    size: int | Sequence[int] | None = None,
    uint8: bool = False,
    fold: bool | None = None,
    classes: Sequence[str] = (),
) -> dict[str, Any]:
    """Write a prompted classifier or segmentor to a file that runs without vptx.

    The graph takes ``image``, RGB (B, 3, H, W) with any B and this H and W. It returns ``logits``, (B, C) of a
    classifier or (B, C, H, W) of a segmentor. The normalisation of pixels is inside. The file holds facts as JSON under
    the key ``vptx``: the network, the fingerprint of its frozen weights, the classes, the size, and what pixels are.

    Args:
        model: A model that ``vptx.attach`` or ``vptx.init_model`` returned. It is left as it was.
        path: The file to write. ``.pt2`` is a program of torch.export, ``.onnx`` is ONNX, and ``.xml`` is OpenVINO,
            which writes a ``.bin`` next to it.
        size: The size of an image in pixels, (H, W) or one number. By default it is that of the network.
        uint8: If true, pixels are whole numbers from 0 to 255. Otherwise they are numbers in [0, 1].
        fold: Whether keys and values of prompts are constants in the graph (``vptx.fold``). By default they are, where
            that is possible.
        classes: The names of the classes, if the model does not have them.

    Returns:
        The facts. ``difference`` is the largest absolute difference of the file's logits from the model's.

    Raises:
        ValueError: The path has another ending, or the model has no prompter. Or its prompts cannot be folded, it draws
            random numbers, torch cannot export it, or the file computes something else. No file is then written.
        ImportError: The library of the format is not installed: ``pip install 'vptx[export]'``.
    """
    path, network = check_ending(path), prompted_network(model)
    size = as_size(network.net.geometry.image if size is None else size)
    deployed = Deployed(model, size, uint8)
    was_folded = bool(network.folded)
    with evaluated(model), torch.no_grad():
        check_repeatable(deployed)
        try:
            _fold(network, fold)
            # A number that is no other dimension by chance, or the graph may be for that number alone.
            image = deployed.example(13)
            program = trace(deployed, dict(image=image), dict(image={0: Dim.DYNAMIC}))
            facts = facts_of(deployed, classes)
            wanted = [(dict(image=batch), deployed(batch)) for batch in map(deployed.example, (1, 2, 3))]
            facts['difference'] = save(program, path, facts, wanted)
        finally:
            network.fold() if was_folded else network.unfold()
    return facts


def check_ending(path: str | Path) -> Path:
    """The path of a file in one of the formats, or a ValueError."""
    path = Path(path)
    if path.suffix not in FORMATS:
        raise ValueError(f'{path}: a file ends in {", ".join(FORMATS)}, not {path.suffix!r}')
    return path


def as_size(size: int | Sequence[int]) -> tuple[int, int]:
    """H, W."""
    height, width = (size, size) if isinstance(size, int) else tuple(size)
    return int(height), int(width)


def _fold(network: Any, fold: bool | None) -> None:
    if fold is False:
        network.unfold()
        return
    try:
        network.fold()
    except ValueError:
        if fold:
            raise


def facts_of(deployed: Deployed, classes: Sequence[str]) -> dict[str, Any]:
    """What a file says of itself: plain JSON types."""
    model, network = deployed.model, prompted_network(deployed.model)
    if not classes:
        known = network.classes.names if network.classes else getattr(model, 'dataset_meta', None) or {}
        classes = known.get('classes', ()) if isinstance(known, dict) else known
    facts = describe(model, classes=list(classes))
    kept = ('network', 'fingerprint', 'prompter', 'prompter_settings', 'classes')
    return dict(
        {name: facts[name] for name in kept},
        size=list(deployed.size),
        pixels='RGB, 0 to 255, uint8' if deployed.uint8 else 'RGB, 0 to 1, float32',
        mean=deployed.mean.flatten().tolist(),
        std=deployed.std.flatten().tolist(),
        folded=sorted(network.folded),
    )


class _ForOtherRuntimes(TorchFunctionMode):
    """Two operations as others read them.

    Attention has four dimensions, as in ONNX: (B, M, d) becomes (B, 1, M, d). What is assigned to no place, as
    torchvision's Swin does for the mask of a map of one window, is left out: OpenVINO reads no indices as one.
    """

    def __torch_function__(self, func: Any, types: Any, args: Sequence = (), kwargs: dict | None = None) -> Any:
        if func is torch.Tensor.__setitem__ and any(isinstance(n, int) and n == 0 for n in args[0][args[1]].shape):
            return None
        if func is not scaled_dot_product_attention:
            return func(*args, **kwargs or {})
        given = dict(zip(('query', 'key', 'value', 'attn_mask', 'dropout_p', 'is_causal'), args)) | (kwargs or {})
        if given['query'].ndim != 3:
            return func(**given)
        whole = {name: value[:, None] for name, value in given.items() if isinstance(value, Tensor) and value.ndim == 3}
        return func(**given | whole)[:, 0]


def trace(module: nn.Module, inputs: dict[str, Any], shapes: dict[str, Any]) -> ExportedProgram:
    """``module`` as a graph, whose dimensions in ``shapes`` are of any length.

    Raises:
        ValueError: it cannot be; the reason of torch.
    """
    try:
        with _ForOtherRuntimes():
            return torch.export.export(module, (), inputs, dynamic_shapes=shapes, strict=False)
    except Exception as error:  # torch raises of everything that it meets
        raise ValueError(f'torch.export cannot make a graph of this model: {_first(error)}') from error


def save(
    program: ExportedProgram,
    path: Path,
    facts: dict[str, Any],
    wanted: Sequence[tuple[dict[str, Any], Tensor]],
) -> float:
    """Write ``program``, run what was written on inputs whose outputs are known, and only then give it its name.

    Args:
        program: of inputs by name, tensors and dicts of them, in sorted order.
        path: its ending says in which format.
        facts: written into the file as JSON.
        wanted: inputs, and the logits that belong to them.

    Returns:
        The largest difference.

    Raises:
        ValueError: the format lacks an operation, or what was written does not run or gives other logits. Then there
            is no new file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write, load = FORMATS[path.suffix]
    with TemporaryDirectory(dir=path.parent, prefix=f'.{path.stem}.') as folder:
        written = Path(folder, path.name)
        try:
            write(program, written, json.dumps(facts), list(_flat(wanted[0][0])))
        except ImportError:
            raise
        except Exception as error:  # of any converter
            raise ValueError(
                f'{path} was not written: the format lacks what this model does: {_first(error)}'
            ) from error
        run = load(written)
        difference = 0.0
        for inputs, output in wanted:
            try:
                found = run(**inputs)
            except Exception as error:  # of any runtime
                raise ValueError(
                    f'{path} was not written: it does not run on {output.shape[0]} images: {_first(error)}'
                ) from error
            difference = max(difference, check_equal(found, output, path))
        for file in Path(folder).iterdir():
            file.replace(path.parent / file.name)
    return difference


def _first(error: BaseException) -> str:
    """The error that all others came of, on one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f'{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}'


def _flat(inputs: dict[str, Any]) -> dict[str, Tensor]:
    """Inputs without dicts among them, as the formats have them that know tensors alone."""
    found = dict[str, Tensor]()
    for name, value in inputs.items():
        found |= value if isinstance(value, dict) else {name: value}
    return found


def check_equal(found: Tensor, wanted: Tensor, path: Path) -> float:
    """The largest difference; a ValueError if it is no rounding."""
    difference = (found.cpu() - wanted.cpu()).abs().max().item()
    if not difference <= TOLERANCE * max(wanted.abs().max().item(), 1e-3):
        raise ValueError(
            f'{path} was not written: its logits differ from those of the model by {difference:.2g}, which are up to '
            f'{wanted.abs().max().item():.2g}'
        )
    return difference


def _write_program(program: ExportedProgram, path: Path, facts: str, inputs: Sequence[str]) -> None:
    with warnings.catch_warnings():  # of weights that share storage on a GPU, said of every model
        warnings.filterwarnings('ignore', 'No complete tensor found in the group')
        torch.export.save(program, path, extra_files={'vptx': facts})


def _load_program(path: Path) -> Callable[..., Tensor]:
    module = torch.export.load(path).module()
    return lambda **inputs: module(**inputs)


def _write_onnx(program: ExportedProgram, path: Path, facts: str, inputs: Sequence[str]) -> None:
    onnx = _needed('onnx')
    _needed('onnxscript')
    made = torch.onnx.export(program, dynamo=True, verbose=False, input_names=list(inputs), output_names=['logits'])
    made.model.metadata_props['vptx'] = facts
    made.save(path, external_data=False)
    onnx.checker.check_model(str(path), full_check=True)


def _load_onnx(path: Path) -> Callable[..., Tensor]:
    runtime = _needed('onnxruntime')
    session = runtime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    names = [found.name for found in session.get_inputs()]

    def run(**inputs: Any) -> Tensor:
        found = _flat(inputs)
        return torch.from_numpy(session.run(None, {name: found[name].cpu().numpy() for name in names})[0])

    return run


def _write_openvino(program: ExportedProgram, path: Path, facts: str, inputs: Sequence[str]) -> None:
    openvino = _needed('openvino')
    between = path.with_suffix('.onnx')
    _write_onnx(program, between, facts, inputs)
    model = openvino.convert_model(between)
    model.set_rt_info(facts, 'vptx')
    openvino.save_model(model, path, compress_to_fp16=False)
    between.unlink()


def _load_openvino(path: Path) -> Callable[..., Tensor]:
    openvino = _needed('openvino')
    model = openvino.compile_model(path, 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})

    def run(**inputs: Any) -> Tensor:
        return torch.from_numpy(model({name: value.cpu().numpy() for name, value in _flat(inputs).items()})[0].copy())

    return run


def _needed(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(f"{name} is not installed: pip install 'vptx[export]'") from error


#: How a file of each kind is written, and run.
FORMATS: dict[str, tuple[Callable[..., None], Callable[[Path], Callable[..., Tensor]]]] = {
    '.pt2': (_write_program, _load_program),
    '.onnx': (_write_onnx, _load_onnx),
    '.xml': (_write_openvino, _load_openvino),
}
