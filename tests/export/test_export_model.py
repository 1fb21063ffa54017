"""Files that run without vptx give what the model gives."""

import json
import subprocess
import sys

import clips
import numpy as np
import pytest
import torch
from clips import NAMES
from covering import covering, refusal, ways_in
from mmseg.structures import SegDataSample
from networks import HUGGING_FACE, NETWORKS, SIZE, config, tiny
from runs import environment
from safetensors import safe_open
from safetensors.numpy import load_file
from segruns import built
from torch import nn

import vptx
from vptx.attach import find_prompted_network
from vptx.export import export_graph, export_model, export_task
from vptx.export import files as export_files
from vptx.export.deployed import Deployed
from vptx.export.files import FORMATS
from vptx.fingerprint import fingerprints
from vptx.prompters import Prompter
from vptx.registry import PROMPTERS

PROMPTERS.import_from_location()
CONTEXT = dict(type='ContextPrompter', num_tokens=4)
ort = pytest.importorskip('onnxruntime')
onnx = pytest.importorskip('onnx')


def prompted(network: str = 'plain', prompter: dict | None = None, seed: int = 0, **options) -> nn.Module:
    torch.manual_seed(seed)
    model = vptx.attach(tiny(network), prompter or dict(type='DeepPrompter', num_tokens=3), **options).eval()
    with torch.no_grad():  # far from nothing, whatever they begin with
        for parameter in find_prompted_network(model).prompter.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.5)
    return model


def images(number: int) -> torch.Tensor:
    return torch.rand(number, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(number))


def asked(model: nn.Module, image: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(v)[:, None, None] for v in (_geometry(model).mean, _geometry(model).std))
    with torch.no_grad():
        return model((image - mean) / std)


def _geometry(model: nn.Module):
    return find_prompted_network(model).net.geometry


def session(path) -> ort.InferenceSession:
    return ort.InferenceSession(str(path), providers=['CPUExecutionProvider'])


def close(found: np.ndarray, wanted: torch.Tensor) -> bool:
    return np.abs(found - wanted.numpy()).max() <= 1e-4 * wanted.abs().max().item()


@pytest.mark.parametrize('fold', [True, False])
def test_onnx_is_the_model_for_any_batch(tmp_path, fold):
    model = prompted()
    facts = export_model(model, tmp_path / 'model.onnx', fold=fold, classes=[f'class {i}' for i in range(7)])
    found = session(tmp_path / 'model.onnx')
    for number in (1, 2, 3, 8):
        logits = found.run(['logits'], dict(image=images(number).numpy()))[0]
        assert close(logits, asked(model, images(number)))
    many = found.run(['logits'], dict(image=images(64).numpy()))[0]
    assert (many.argmax(1) == asked(model, images(64)).argmax(1).numpy()).all()
    # A graph that has lost its prompts would be far from it.
    bare = asked(vptx.attach(tiny(), None).eval(), images(8)).numpy()
    assert np.abs(logits - bare).max() > 10 * np.abs(logits - asked(model, images(8)).numpy()).max() + 0.01
    assert facts['folded'] == ([0, 1, 2] if fold else []) and not find_prompted_network(model).folded
    written = json.loads(found.get_modelmeta().custom_metadata_map['vptx'])
    assert written['classes'][3] == 'class 3' and written['size'] == [SIZE, SIZE]
    assert written['pixels'] == 'RGB, 0 to 1, float32' and written['network'] == _geometry(model).name
    assert written['fingerprint'] == fingerprints(model) and written['prompter'] == 'DeepPrompter'
    assert written['mean'] == pytest.approx(_geometry(model).mean) and written['std'] == pytest.approx(
        _geometry(model).std
    )
    graph = onnx.load(tmp_path / 'model.onnx').graph
    assert {node.domain for node in graph.node} <= {'', 'ai.onnx'}
    assert not [node for node in graph.node if 'flash' in node.op_type.lower()]


@pytest.mark.parametrize(
    'suffix', ['.onnx', *(pytest.param(suffix, marks=pytest.mark.slow) for suffix in ('.pt2', '.xml'))]
)
def test_a_process_without_vptx_runs_the_file(tmp_path, suffix):
    model, path = prompted(), tmp_path / f'model{suffix}'
    export_model(model, path, uint8=True)
    pixels = (images(3) * 255).round().to(torch.uint8)
    np.save(tmp_path / 'pixels.npy', pixels.numpy())
    run = {
        '.pt2': 'import torch; run = lambda x: '
        'torch.export.load(path).module()(image=torch.from_numpy(x)).detach().numpy()',
        '.onnx': 'import onnxruntime; run = lambda x: onnxruntime.InferenceSession(path).run(None, dict(image=x))[0]',
        '.xml': "import openvino; run = lambda x: openvino.compile_model(path, 'CPU', "
        "{'INFERENCE_PRECISION_HINT': 'f32'})(dict(image=x))[0]",
    }[suffix]
    code = f'import sys; import numpy as np; path = sys.argv[1]; {run}; np.save(sys.argv[3], run(np.load(sys.argv[2])))'
    code += "; assert 'vptx' not in sys.modules"
    files = [str(path), str(tmp_path / 'pixels.npy'), str(tmp_path / 'logits.npy')]
    subprocess.run([sys.executable, '-c', code, *files], env=environment(), check=True)
    assert close(np.load(tmp_path / 'logits.npy'), asked(model, pixels.float() / 255))
    for number in (1, 2, 3, 8):
        pixels = (images(number) * 255).round().to(torch.uint8)
        found = FORMATS[suffix][1](path)(image=pixels).detach().numpy()
        assert close(found, asked(model, pixels.float() / 255))


def test_prompts_act_in_the_graph_as_in_the_model(tmp_path):
    model = prompted()
    prompts = list(find_prompted_network(model).prompter.parameters())
    outputs = []
    for scale in (0.0, 10.0):
        with torch.no_grad():
            saved = [parameter.clone() for parameter in prompts]
            for parameter in prompts:
                parameter.mul_(scale)
        export_model(model, tmp_path / 'model.pt2')
        with torch.no_grad():
            outputs.append(torch.export.load(tmp_path / 'model.pt2').module()(image=images(2)).numpy())
        assert close(outputs[-1], asked(model, images(2)))
        with torch.no_grad():
            for parameter, value in zip(prompts, saved, strict=True):
                parameter.copy_(value)
    assert np.abs(outputs[0] - outputs[1]).max() > 0.01


PAIRS = [(network, kind) for network in NETWORKS for kind in sorted(PROMPTERS.module_dict)]


@pytest.mark.parametrize('network, kind', covering(PAIRS, lambda network, kind: ways_in(kind)))
def test_every_prompter_on_every_network(network, kind, tmp_path):
    """As a program of torch.export, which is what the other formats are made from; a refusal says why in one line."""
    torch.manual_seed(0)
    try:
        model = vptx.attach(tiny(network), config(kind)).eval()
    except ValueError:  # the two do not go together: the contract's tests ask that
        return
    facts = export_model(model, tmp_path / 'model.pt2')
    assert facts['difference'] <= 1e-4


class Drawn(Prompter):
    """Of a user: noise on the image, in training and in use."""

    doors = frozenset({'image'})

    def image(self, image):
        return image + torch.randn_like(image)


class Looks(Prompter):
    """Of a user: a prompt that the image makes."""

    doors = frozenset({'memory'})

    def memory(self, tokens, at):
        return tokens.mean(1, keepdim=True)


@pytest.mark.parametrize(
    ('prompter', 'name', 'options', 'said'),
    [
        (Drawn(), 'model.onnx', {}, 'draws random numbers'),
        (Looks(), 'model.onnx', dict(fold=True), 'depend on the image'),
        (dict(type='ShallowPrompter'), 'model.pt2', dict(fold=True), 'cannot be folded'),
        (dict(type='ShallowPrompter'), 'model.pth', {}, r'\.pt2, \.onnx, \.xml'),
    ],
)
def test_what_cannot_be_exported(tmp_path, prompter, name, options, said):
    model = prompted(prompter=prompter)
    with pytest.raises(ValueError, match=said):
        export_model(model, tmp_path / name, **options)
    assert not list(tmp_path.iterdir())


class Spectral(Prompter):
    """Of a user: a mask on complex numbers, which ONNX does not have."""

    doors = frozenset({'image'})

    def image(self, image):
        spectrum = torch.fft.fft2(image)
        return torch.fft.ifft2(torch.where(torch.ones(SIZE, SIZE).tril().bool(), 0, spectrum)).real


def test_what_a_format_lacks_is_said_in_one_line(tmp_path):
    with pytest.raises(ValueError, match=r'onnx was not written: the format lacks .*: DispatchError: .*where') as error:
        export_model(prompted(prompter=Spectral()), tmp_path / 'model.onnx')
    assert '\n' not in str(error.value) and not list(tmp_path.iterdir())


def test_attention_has_the_four_dimensions_of_onnx():
    """SAM's own attention has three."""

    class Attention(nn.Module):
        def forward(self, x):
            return nn.functional.scaled_dot_product_attention(x, x, x, attn_mask=x @ x.mT)

    x = torch.rand(2, 5, 4)
    program = export_files.trace(Attention(), dict(x=x), dict(x={}))
    (node,) = (node for node in program.graph.nodes if 'attention' in str(node.target))
    assert {argument.meta['val'].ndim for argument in node.all_input_nodes} == {4}
    assert torch.allclose(program.module()(x=x), Attention()(x), atol=1e-6)


def test_what_is_assigned_to_no_place_is_not_in_the_graph():
    """By torchvision's Swin, where a map is one window; OpenVINO does not read it."""

    class Mask(nn.Module):
        def forward(self, x):
            mask = x.new_zeros(4, 4)
            mask[0:-4, 0:-2] = 1
            mask[-4:-2, 0:-2] = 2
            return x + mask

    x = torch.rand(3, 4, 4)
    program = export_files.trace(Mask(), dict(x=x), dict(x={0: torch.export.Dim.DYNAMIC}))
    filled = [node for node in program.graph.nodes if 'fill_' in str(node.target)]
    assert len(filled) == 1 and torch.equal(program.module()(x=x), Mask()(x))


def test_a_model_without_prompts_is_no_prompted_model(tmp_path):
    with pytest.raises(ValueError, match=r'call vptx\.attach first'):
        export_model(tiny(), tmp_path / 'model.onnx')


@pytest.mark.parametrize('suffix', ['.onnx', '.pt2', pytest.param('.xml', marks=pytest.mark.slow)])
def test_an_image_of_another_size_is_refused_by_the_graph(tmp_path, suffix):
    export_model(prompted(), tmp_path / f'model{suffix}')
    run = FORMATS[suffix][1](tmp_path / f'model{suffix}')
    with pytest.raises(Exception, match=rf'(?s)(image|\[).*({2 * SIZE}|{SIZE})'):
        run(image=torch.zeros(1, 3, 2 * SIZE, SIZE))


def test_a_size_that_the_network_cannot_take(tmp_path):
    with pytest.raises(ValueError, match=r'image|32') as error:
        export_model(prompted('swin'), tmp_path / 'model.pt2', size=30)
    assert '\n' not in str(error.value) and not list(tmp_path.iterdir())


def test_an_export_that_is_not_the_model_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(export_files, 'TOLERANCE', -1.0)
    (tmp_path / 'model.pt2').write_text('of before')
    with pytest.raises(ValueError, match='was not written'):
        export_model(prompted(), tmp_path / 'model.pt2')
    assert [path.read_text() for path in tmp_path.iterdir()] == ['of before']


def test_a_missing_library_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnx', None)
    with pytest.raises(ImportError, match=r'vptx\[export\]'):
        export_model(prompted(), tmp_path / 'model.onnx')


@pytest.mark.parametrize('network', ['plain', pytest.param('swin', marks=pytest.mark.slow)])
def test_one_graph_for_tasks_of_any_number_of_prompts_and_classes(tmp_path, network):
    first = prompted(network, tune=['head'])
    export_graph(first, tmp_path / 'graph.onnx')
    graph = session(tmp_path / 'graph.onnx')
    second = tiny(network)
    second.reset_classifier(4)
    second = vptx.attach(second, dict(type='DeepPrompter', num_tokens=5), tune=['head']).eval()
    scaled = [prompted(network, tune=['head']) for _ in range(2)]
    for model, scale in zip(scaled, (0.0, 10.0)):  # a graph in which prompts have a constant weight would differ
        with torch.no_grad():
            for parameter in find_prompted_network(model).prompter.parameters():
                parameter.mul_(scale)
    for model in (first, second, *scaled):
        facts = export_task(model, tmp_path / 'task.safetensors')
        assert facts['fingerprint']
        task = load_file(tmp_path / 'task.safetensors')
        for number in (1, 3):
            fed = {n: np.tile(v, (number, 1, 1, 1)) if n.startswith(('key_', 'value_')) else v for n, v in task.items()}
            logits = graph.run(None, dict(image=images(number).numpy(), **fed))[0]
            assert close(logits, asked(model, images(number)))
    with safe_open(tmp_path / 'task.safetensors', 'np') as file:
        assert json.loads(file.metadata()['vptx'])['prompter'] == 'DeepPrompter'


def test_prompts_of_two_tasks_in_one_batch(tmp_path):
    models = [prompted(seed=seed) for seed in (1, 2)]
    export_graph(models[0], tmp_path / 'graph.pt2')
    graph = torch.export.load(tmp_path / 'graph.pt2').module()
    tasks = []
    for index, model in enumerate(models):
        export_task(model, tmp_path / f'{index}.safetensors')
        tasks.append({n: torch.from_numpy(v) for n, v in load_file(tmp_path / f'{index}.safetensors').items()})
    image, of = images(4), [0, 1, 1, 0]
    memory = {name: torch.stack([tasks[i][name] for i in of]) for name in sorted(tasks[0])}
    with torch.no_grad():
        found = graph(image=image, tensors=memory)
    for index, model in enumerate(models):
        mine = [i for i, task in enumerate(of) if task == index]
        assert close(found[mine].numpy(), asked(model, image)[mine])


def test_vectors_of_classes_are_inputs_of_a_graph_with_a_text_head(tmp_path):
    models = [
        clips.prompted(CONTEXT, dict(type='DeepPrompter', num_tokens=2), names, 1) for names in (NAMES, NAMES[:2])
    ]
    export_graph(models[0], tmp_path / 'graph.pt2')
    graph = torch.export.load(tmp_path / 'graph.pt2').module()
    image = torch.rand(3, 3, SIZE, SIZE)
    for model in models:
        export_task(model, tmp_path / 'task.safetensors')
        task = {n: torch.from_numpy(v) for n, v in sorted(load_file(tmp_path / 'task.safetensors').items())}
        memory = {n: v.expand(3, *v.shape) if n.startswith(('key_', 'value_')) else v for n, v in task.items()}
        with torch.no_grad():
            found = graph(image=image, tensors=memory)
        assert found.shape == (3, model.mapping.num_classes) and close(found.numpy(), asked(model, image))
    adapted = clips.prompted(None, dict(type='DeepPrompter', num_tokens=2), type='CLIPAdapterHead')
    with pytest.raises(ValueError, match='is no linear layer'):
        export_task(adapted, tmp_path / 'task.safetensors')


@pytest.mark.slow
@pytest.mark.parametrize('suffix', ['.onnx', '.xml'])
def test_a_text_head_is_in_the_file(tmp_path, suffix):
    model, path = clips.prompted(CONTEXT, dict(type='DeepPrompter', num_tokens=2)), tmp_path / f'model{suffix}'
    assert export_model(model, path)['classes'] == list(NAMES)
    for number in (1, 2, 3, 8):
        assert close(FORMATS[suffix][1](path)(image=images(number)).numpy(), asked(model, images(number)))


def test_a_model_of_transformers(tmp_path):
    model = vptx.attach(HUGGING_FACE['hf vit, classifier'](), dict(type='DeepPrompter', num_tokens=2)).eval()
    assert export_model(model, tmp_path / 'model.pt2')['difference'] < 1e-4
    with pytest.raises(ValueError, match='gives a BaseModelOutputWithPooling and no logits: export a model with'):
        export_model(vptx.attach(HUGGING_FACE['hf vit'](), dict(type='DeepPrompter')), tmp_path / 'bare.pt2')
    assert [path.name for path in tmp_path.iterdir()] == ['model.pt2']


def test_after_detach_the_graph_is_the_library_s_own():
    image, model = images(2), tiny().eval()
    detached = vptx.detach(vptx.attach(tiny(), dict(type='DeepPrompter', num_tokens=3))).eval()
    shapes = ({0: torch.export.Dim.AUTO},)
    found, wanted = (torch.export.export(m, (image,), dynamic_shapes=shapes) for m in (detached, model))
    assert str(found.graph) == str(wanted.graph)
    assert all(torch.equal(found.state_dict[name], tensor) for name, tensor in wanted.state_dict.items())


@pytest.mark.parametrize(
    'network, kind', [case.values for case in covering(PAIRS, lambda network, kind: kind) if not case.marks]
)
def test_torch_jit_trace_is_the_model_or_says_what_can(network, kind):
    if refusal(network, kind) is not None or kind in (
        'ContextPrompter',
        'ConditionalContextPrompter',
        'CoupledPrompter',
    ):
        return  # no such model
    torch.manual_seed(0)
    model = vptx.attach(tiny(network), config(kind)).eval()
    if kind == 'ChannelPrompter':
        with pytest.raises(RuntimeError, match=r'torch\.jit\.trace cannot record .*: use torch\.export\.export'):
            torch.jit.trace(model, images(2), check_trace=False)
        return
    traced = torch.jit.trace(model, images(2), check_trace=False)
    with torch.no_grad():
        assert close(traced(images(3)).numpy(), model(images(3)))


@pytest.mark.slow
@pytest.mark.parametrize('network, kind', PAIRS)
def test_onnxruntime_and_openvino_give_what_the_model_gives(network, kind, tmp_path):
    """Every prompter on every network, in one graph for all batches, far from what the network gives without."""
    torch.manual_seed(0)
    try:
        model = vptx.attach(tiny(network), config(kind)).eval()
    except ValueError:  # the two do not go together: the contract's tests ask that
        return
    with torch.no_grad():
        for parameter in find_prompted_network(model).prompter.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    export_model(model, tmp_path / 'model.onnx')
    openvino = pytest.importorskip('openvino')
    read = openvino.compile_model(tmp_path / 'model.onnx', 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    found = session(tmp_path / 'model.onnx')
    for number in (1, 2, 3, 8):
        wanted = asked(model, images(number))
        outputs = found.run(None, dict(image=images(number).numpy()))[0], read(dict(image=images(number).numpy()))[0]
        assert all(close(output, wanted) for output in outputs)
    # Farther than rounding: on a Swin V2 of random weights prompts change little.
    wrong = max(np.abs(output - wanted.numpy()).max() for output in outputs)
    assert (wanted - asked(vptx.attach(tiny(network), None).eval(), images(8))).abs().max() > 10 * wrong


def test_a_folded_model_stays_folded(tmp_path):
    model = vptx.fold(prompted())
    export_model(model, tmp_path / 'model.pt2', fold=False)
    assert find_prompted_network(model).folded == {0, 1, 2}


@pytest.mark.parametrize(
    ('prompter', 'doors'),
    [
        (dict(type='ShallowPrompter'), 'tokens'),
        # Half of it would be lost: the graph has no border.
        ([dict(type='BorderPrompter', width=2), dict(type='DeepPrompter', num_tokens=3)], 'image, memory'),
    ],
)
def test_prompts_that_cannot_be_inputs_of_a_graph(tmp_path, prompter, doors):
    for write, name in ((export_task, 'task.safetensors'), (export_graph, 'graph.pt2')):
        with pytest.raises(ValueError, match=f'acts through {doors}: only prompts that are keys and values alone'):
            write(prompted(prompter=prompter), tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_task_is_a_file_of_safetensors(tmp_path):
    with pytest.raises(ValueError, match=r'\.safetensors'):
        export_task(prompted(), tmp_path / 'task.npz')


@pytest.mark.parametrize(
    'suffix', ['.onnx', *(pytest.param(suffix, marks=pytest.mark.slow) for suffix in ('.pt2', '.xml'))]
)
def test_a_segmentor_takes_rgb_and_gives_a_map_of_logits(tmp_path, suffix):
    model, path = built(), tmp_path / f'model{suffix}'
    export_model(model, path, size=(32, 48), uint8=True)
    run = FORMATS[suffix][1](path)
    for number in (1, 2, 3, 8):
        pixels = np.random.default_rng(number).integers(0, 256, (number, 3, 32, 48)).astype(np.uint8)
        found = run(image=torch.from_numpy(pixels)).detach().numpy()
        loaded = [torch.from_numpy(image[::-1].copy()) for image in pixels]  # BGR
        data = model.data_preprocessor(dict(inputs=loaded, data_samples=[SegDataSample() for _ in loaded]))
        whole = [dict(img_shape=(32, 48), ori_shape=(32, 48))]
        with torch.no_grad():
            wanted = model.encode_decode(torch.as_tensor(data['inputs']), whole)
        assert found.shape == (number, 4, 32, 48) and close(found, wanted)


def test_a_classifier_of_a_config_takes_rgb_where_its_loader_gives_bgr():
    model = vptx.init_model('mini/digits_vpt_deep')
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    inputs = model.data_preprocessor(dict(inputs=pixels.flip(1)))['inputs']
    with torch.no_grad():
        found = Deployed(model, (64, 64), uint8=True)(pixels)
        assert torch.allclose(found, model(inputs, mode='tensor'), atol=1e-5)
