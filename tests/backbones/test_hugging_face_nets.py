"""Vision models of transformers, prompted: they keep their call and their output objects."""

import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from covering import covering, refusal, ways_in
from networks import CLASSES, DEPTH, GRID, HUGGING_FACE, SIZE, WIDTH, config, image_prompters, images, tiny
from runs import environment
from torch import Tensor, nn

import vptx
from vptx.backbones import HuggingFaceViT, hugging_face, wrap_backbone
from vptx.hugging_face import PromptedHuggingFace
from vptx.prompted import PromptedBackbone, PromptedNetwork
from vptx.readout import OWN
from vptx.registry import PROMPTERS

transformers = pytest.importorskip('transformers', reason='transformers 5 needs Python 3.11')
PROMPTERS.import_from_location()

HEADED = [name for name, make in HUGGING_FACE.items() if any('Classification' in part for part in make.args)]
WITH_LOSS = [name for name in HEADED if 'two' not in name]
LABELS = torch.tensor([0, 1, 6])
DEEP = dict(type='DeepPrompter', num_tokens=3)

#: Those of images; all networks have the same doors.
DOORS = {'image', 'tokens', 'memory', 'inside', 'logits'}
KINDS = [kind for kind in image_prompters() if PROMPTERS.get(kind).doors <= DOORS]

every_network = pytest.mark.parametrize('network', HUGGING_FACE)
every_pair = pytest.mark.parametrize(
    ('network', 'kind'),
    covering(
        [(network, kind) for network in HUGGING_FACE for kind in KINDS if refusal(network, kind) is None],
        lambda network, kind: kind,
        lambda network, kind: (network, ways_in(kind) == 'memory'),
    ),
)


def attached(network: str, kind: str | dict = 'DeepPrompter', **options) -> PromptedHuggingFace:
    """A prompted network in eval mode, prompts as after some training."""
    torch.manual_seed(1)
    model = vptx.attach(tiny(network), config(kind) if isinstance(kind, str) else kind, **options)
    with torch.no_grad():
        for parameter in model.prompter.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model.eval()


def tensors(output: dict) -> dict[str, Tensor]:
    """All tensors of an output object, those of tuples with their numbers."""
    found = {}
    for name, value in output.items():
        parts = enumerate(value) if isinstance(value, tuple) else [('', value)]
        found |= {f'{name}{i}': part for i, part in parts}
    return found


def last(output: dict) -> Tensor:
    """What a model is for: its logits, or all tokens of an encoder."""
    return output.get('logits', output.get('image_embeds', output.get('last_hidden_state')))


def frozen(network: str) -> nn.Module:
    """The library's, with nothing that trains: torch computes attention otherwise where its bias does."""
    return tiny(network).requires_grad_(False)


def relative(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


# Nothing attached


@every_network
@pytest.mark.parametrize('training', [False, True])
def test_without_prompter_it_is_the_library_to_the_bit(network, training):
    model, image = tiny(network), images(3)
    options = dict(output_hidden_states=True, **(dict(labels=LABELS) if network in WITH_LOSS else {}))
    model.train(training)
    torch.manual_seed(0)
    expected = model(pixel_values=image, **options)
    prompted = vptx.attach(model, tune=['.*'])
    prompted.train(training)
    torch.manual_seed(0)
    found = prompted(pixel_values=image, **options)
    assert type(found) is type(expected)
    assert list(tensors(found)) == list(tensors(expected))
    for name, tensor in tensors(expected).items():
        assert torch.equal(tensors(found)[name], tensor), name


@every_network
def test_as_a_tuple(network):
    model, image = frozen(network), images(3)
    expected, found = (part(image, return_dict=False) for part in (model, vptx.attach(tiny(network))))
    assert isinstance(found, tuple)
    assert all(map(torch.equal, found, expected)) and len(found) == len(expected)


@every_network
@pytest.mark.parametrize('size', [(48, 48), (32, 48), (16, 16)])
def test_other_image_sizes(network, size):
    """Positions are resized where the library is asked to, and refused where it refuses."""
    model, image = frozen(network), images(size=size)
    prompted = vptx.attach(tiny(network))
    options = {}
    if prompted.net.fixed_size:
        with pytest.raises(ValueError, match=r'was built for 32 x 32 px: pass interpolate_pos_encoding=True'):
            prompted(image)
        options = dict(interpolate_pos_encoding=True)
    if 'swin' in network and size == (16, 16):  # its second map is smaller than a window
        with pytest.raises(RuntimeError):
            model(image, **options)
        return
    assert torch.equal(last(prompted(image, **options)), last(model(image, **options)))


@every_network
def test_default_readout_is_the_pooling_of_the_model(network):
    model, image = frozen(network), images()
    output, prompted = model(image), PromptedNetwork(wrap_backbone(model)).eval()
    feature = prompted(image)
    if network in HEADED or 'projection' in network:
        head = getattr(model, 'classifier', None) or (lambda x: model.cls_classifier(x))
        logits = feature if prompted.readout == OWN else head(feature)
        assert torch.equal(logits, output.get('cls_logits', last(output)))
    elif network in ('hf vit', 'hf deit'):  # their pooler is one more layer, of no use to others
        assert torch.equal(feature, output.last_hidden_state[:, 0])
    else:
        torch.testing.assert_close(feature, output.pooler_output)


# Prompted


@every_pair
def test_a_prompter_makes_a_difference_and_samples_do_not_mix(network, kind):
    model, batch = attached(network, kind), images(3)
    output, bare = last(model(batch)), last(tiny(network)(batch))
    assert output.shape != bare.shape or relative(output, bare) > 1e-4  # a larger image has more tokens
    singles = torch.cat([last(model(image[None])) for image in batch])
    assert relative(singles, output) < 1e-5


@every_pair
def test_gradients_reach_the_prompter_and_what_is_tuned(network, kind):
    tuned = [name for name, _ in tiny(network).named_parameters() if 'classifier' in name or 'projection.w' in name]
    model = attached(network, kind, tune=tuned[:1]).train()
    model.set_grad_checkpointing()
    (last(model(images(3))).square().sum() + sum(model.prompter.loss().values())).backward()
    touched = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    prompts = {f'prompter.{name}' for name, _ in model.prompter.named_parameters()}
    assert touched == prompts | {f'net.model.{name}' for name in tuned[:1]}


@every_pair
def test_attach_and_detach(network, kind):
    model, image = tiny(network), images()
    expected, state = last(model(image)), deepcopy(model.state_dict())
    prompted = attached(network, kind)
    back = vptx.detach(prompted)
    assert type(back) is type(model)
    assert torch.equal(last(back(image)), expected)
    assert list(back.state_dict()) == list(state)
    assert all(parameter.requires_grad for parameter in back.parameters())


@every_network
@pytest.mark.parametrize('options', [{}, dict(layers=[0, 2], carry=False)], ids=['all', 'dropped'])
def test_deep_prompts_as_memory_are_what_tokens_would_be(network, options):
    if 'layers' in options and 'swin' in network:
        options = dict(layers=[0, 2])
    image, outputs, gradients = images(3).double(), [], []
    for memory in (True, False):
        net = wrap_backbone(tiny(network))
        if not memory:
            net.geometry = replace(net.geometry, doors=net.geometry.doors - {'memory'})
        torch.manual_seed(1)
        prompted = vptx.attach(PromptedNetwork(net, OWN), dict(DEEP, **options)).double().eval()
        with torch.no_grad():
            for parameter in prompted.prompter.parameters():
                parameter.normal_(generator=torch.Generator().manual_seed(3))
        outputs.append(prompted(image))
        outputs[-1].square().sum().backward()
        gradients.append([parameter.grad for parameter in prompted.prompter.parameters()])
        assert all(prompted.net.is_spelt(layer) is memory for layer in range(prompted.net.geometry.depth))
    bound = 1e-5 if 'eager' in network else 1e-11  # its softmax is in single precision
    assert relative(*outputs) < bound
    scale = max(gradient.abs().max() for gradient in gradients[1])
    assert all((a - b).abs().max() < bound * scale for a, b in zip(*gradients, strict=True))


@every_network
def test_hidden_states_are_prompted(network):
    model, image = attached(network), images()
    output = model(image, output_hidden_states=True)
    bare = tiny(network)(image, output_hidden_states=True)
    assert [state.shape for state in output.hidden_states] == [state.shape for state in bare.hidden_states]
    assert torch.equal(output.hidden_states[0], bare.hidden_states[0])  # in front of the first prompt
    assert all(relative(*pair) > 1e-3 for pair in zip(output.hidden_states[1:], bare.hidden_states[1:]))
    if 'last_hidden_state' in output:
        assert torch.equal(model.net.finish(output.hidden_states[-1]), output.last_hidden_state)
    torch.testing.assert_close(last(output), last(model(image)))
    some = model(image, output_hidden_states=[1, -1]).hidden_states
    assert [i for i, state in enumerate(some) if state is not None] == [1, len(some) - 1]


def test_what_the_library_leaves_on_layers_to_record_them_is_no_hook_of_a_user():
    model = tiny('hf vit')
    model(images(), output_hidden_states=True)
    assert any(layer._forward_hooks for layer in model.layers)
    prompted = vptx.attach(model, DEEP)
    assert all(prompted.net.is_spelt(layer) for layer in range(DEPTH))
    model.layers[1].attention.q_proj.register_forward_hook(lambda module, inputs, output: 2 * output)
    assert [prompted.net.is_spelt(layer) for layer in range(DEPTH)] == [True, False, True]


def test_another_attention_than_the_two_that_are_known_is_called():
    model = tiny('hf vit')
    model.config._attn_implementation = 'flex_attention'
    assert not wrap_backbone(model).is_spelt(0)


@pytest.mark.parametrize('network', ['hf vit, classifier', 'hf clip', 'hf dinov3', 'hf swin, classifier'])
def test_lora_is_an_update_of_the_librarys_maps(network):
    """Of queries and of values, as if it were added to their weights."""
    model, image = attached(network, dict(type='LoRA', rank=2)), images()
    assert {site.name for site in model.prompter.sites} == {'q', 'v'}
    bare = tiny(network)
    net = wrap_backbone(bare)
    with torch.no_grad():
        for site in model.prompter.sites:
            down, up = model.prompter.updates[f'{site.name}_{site.layer}']
            net.module_at(site).weight += up.weight @ down.weight
    assert relative(last(model(image)), last(bare(image))) < 1e-5


def test_a_mapping_reads_the_librarys_classes():
    model = attached('hf vit, classifier', 'PixelPrompter', mapping=dict(type='FullyConnectedMapping', num_classes=2))
    labels = torch.tensor([0, 1, 1])
    output = model(pixel_values=images(3), labels=labels)
    assert type(output).__name__ == 'ImageClassifierOutput'
    assert output.logits.shape == (3, 2)
    assert torch.equal(output.loss, F.cross_entropy(output.logits, labels))
    assert list(output) == ['loss', 'logits']


def test_another_readout_gives_its_tensor():
    model = attached('hf dinov2, registers', DEEP, readout='map')
    assert model(images()).shape == (2, WIDTH, GRID, GRID)


def test_inside_an_openmmlab_model():
    backbone = PromptedBackbone(wrap_backbone(tiny('hf vit')))
    (feature,) = vptx.attach(backbone, DEEP)(images())
    assert feature.shape == (2, WIDTH)


def test_in_a_model_of_ones_own():
    class Mine(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.head = tiny('hf dinov2'), nn.Linear(WIDTH, 2)

        def forward(self, image):
            return self.head(self.encoder(pixel_values=image).pooler_output)

    model = vptx.attach(Mine(), DEEP, tune=['head'], at='encoder')
    assert model(images()).shape == (2, 2)
    assert isinstance(vptx.detach(model).encoder, transformers.Dinov2Model)


def test_the_image_tower_of_a_model_of_images_and_texts():
    towers = [dict(hidden_size=WIDTH, num_hidden_layers=1, num_attention_heads=4, intermediate_size=WIDTH)] * 2
    config = transformers.CLIPConfig(
        vision_config=dict(towers[0], image_size=SIZE, patch_size=8),
        text_config=dict(towers[1], vocab_size=9, bos_token_id=0, eos_token_id=1),
        projection_dim=8,
    )
    clip, inputs = (
        transformers.CLIPModel(config).eval(),
        dict(input_ids=torch.tensor([[0, 5, 1]]), pixel_values=images()),
    )
    expected = clip(**inputs).logits_per_image
    with pytest.raises(ValueError, match=r"can be prompted: at='vision_model'"):
        vptx.attach(clip, DEEP)
    model = vptx.attach(clip, DEEP, at='vision_model').eval()
    assert relative(model(**inputs).logits_per_image, expected) > 1e-4
    torch.testing.assert_close(vptx.detach(model)(**inputs).logits_per_image, expected)


@pytest.mark.slow
def test_compiled():
    model, image = attached('hf vit, classifier'), images()
    torch.testing.assert_close(torch.compile(model)(image).logits, model(image).logits)


def test_copied_folded_and_half():
    model, image = attached('hf vit, classifier'), images()
    expected = model(image).logits
    assert torch.equal(vptx.fold(deepcopy(model))(image).logits, expected)
    half = vptx.attach(tiny('hf dinov3').bfloat16(), DEEP).eval()
    assert half(image.bfloat16()).last_hidden_state.dtype == torch.bfloat16
    assert model(images(0)).logits.shape == (0, CLASSES)


# Files


@pytest.mark.parametrize('network', ['hf vit, classifier', 'hf dinov2, registers', 'hf swin, classifier'])
def test_save_pretrained_saves_the_network_alone(network, tmp_path):
    model = attached(network)
    model.save_pretrained(tmp_path)
    again = type(model.net.model).from_pretrained(tmp_path).eval()
    assert torch.equal(last(again(images())), last(tiny(network)(images())))


def test_by_folder_and_by_config(tmp_path):
    tiny('hf vit, classifier').save_pretrained(tmp_path)
    network = PromptedNetwork(HuggingFaceViT(str(tmp_path), classifier=True), OWN).eval()
    assert torch.equal(network(images()), tiny('hf vit, classifier')(images()).logits)
    assert type(HuggingFaceViT(str(tmp_path)).model).__name__ == 'ViTModel'
    small = dict(model_type='dinov2', hidden_size=WIDTH, num_hidden_layers=1, num_attention_heads=2, num_labels=CLASSES)
    assert HuggingFaceViT(small, classifier=True).geometry.classes == CLASSES


@every_network
def test_prompt_file(network, tmp_path):
    tuned = ['classifier'] if network in WITH_LOSS else []
    model, image = attached(network, tune=tuned), images()
    vptx.save_prompt(model, tmp_path / 'prompt.safetensors')
    fresh = vptx.attach(tiny(network), config('DeepPrompter'), tune=tuned).eval()
    vptx.load_prompt(fresh, tmp_path / 'prompt.safetensors')
    assert torch.equal(last(fresh(image)), last(model(image)))


def test_classes_have_the_names_of_the_config():
    model = tiny('hf vit, classifier')
    assert wrap_backbone(model).class_names == ()
    model.config.id2label = {i: f'kind {i}' for i in range(CLASSES)}
    assert wrap_backbone(model).class_names == tuple(f'kind {i}' for i in range(CLASSES))


# Trainer


@pytest.fixture
def trainer_kinds(monkeypatch):
    """The library's Trainer and its arguments. Our folder tests/datasets is not the library of that name."""
    library = ModuleType('datasets')
    library.__spec__ = ModuleSpec('datasets', None)
    library.Dataset = library.IterableDataset = type('Dataset', (), {})
    monkeypatch.setitem(sys.modules, 'datasets', library)
    monkeypatch.delitem(sys.modules, 'transformers.trainer', raising=False)
    return transformers.Trainer, transformers.TrainingArguments


def test_trainer_checkpoints_and_goes_on_to_the_bit(trainer_kinds, tmp_path):
    kind, arguments = trainer_kinds
    data = [dict(pixel_values=images(1, seed=i)[0], labels=i % CLASSES) for i in range(16)]

    def trained(resume: bool = False, **options):
        model = vptx.attach(tiny('hf vit, classifier'), DEEP, tune=['classifier'])
        options |= dict(save_strategy='epoch', report_to='none', use_cpu=True, disable_tqdm=True, seed=0)
        options |= dict(num_train_epochs=2, learning_rate=1e-2, per_device_train_batch_size=8)
        kind(model, arguments(output_dir=str(tmp_path), **options), train_dataset=data).train(
            resume_from_checkpoint=str(tmp_path / 'checkpoint-2') if resume else None
        )
        return model.eval()

    torch.manual_seed(1)
    model = trained(gradient_checkpointing=True)
    assert model.is_gradient_checkpointing
    found = model(images()).logits
    assert relative(found, tiny('hf vit, classifier')(images()).logits) > 1e-2
    assert torch.equal(trained(resume=True)(images()).logits, found)
    model.gradient_checkpointing_disable()
    assert not model.is_gradient_checkpointing
    with pytest.raises(ValueError, match='leave out every_n_layers and offload'):
        model.gradient_checkpointing_enable(every_n_layers=2)


# Bad input


def test_what_cannot_be_served():
    model, image = attached('hf vit, classifier'), images()
    with pytest.raises(ValueError, match=r'cannot serve output_attentions: .* or vptx\.detach'):
        model(image, output_attentions=True)
    with pytest.raises(ValueError, match='cannot serve attention_mask'):
        model(image, attention_mask=torch.ones(2, 17))
    with pytest.raises(ValueError, match='pixel_values have to be given'):
        model()
    with pytest.raises(TypeError, match='ViTModel has no classifier'):
        attached('hf vit')(image, labels=LABELS[:2])
    with pytest.raises(ValueError, match=r'an image of 4 channels, but .* takes 3'):
        model(torch.randn(2, 4, SIZE, SIZE))
    with pytest.raises(ValueError, match='patches of 8 x 8 px do not divide an image of 32 x 30 px'):
        model(images(size=(32, 30)), interpolate_pos_encoding=True)


def test_attentions_that_the_config_asks_for():
    model = tiny('hf vit, eager')
    model.config.output_attentions = True
    with pytest.raises(ValueError, match='cannot serve output_attentions'):
        vptx.attach(model, DEEP)(images())


def test_a_forward_of_its_own_would_not_be_run():
    class Mine(transformers.ViTModel):
        def forward(self, *args, **kwargs):
            return super().forward(*args, **kwargs)

    with pytest.raises(ValueError, match=r'family of HuggingFaceViT, but has its own forward'):
        vptx.attach(Mine(tiny('hf vit').config), DEEP)
    with pytest.raises(ValueError, match=r'HuggingFaceViT wraps ViTModel, .* not Linear'):
        HuggingFaceViT(nn.Linear(1, 1))


def test_mean_and_std_of_as_many_channels():
    net = HuggingFaceViT(tiny('hf vit'), mean=(0.1, 0.2, 0.3), std=(1, 1, 1))
    assert net.geometry.mean == (0.1, 0.2, 0.3)
    with pytest.raises(ValueError, match='given together, 3 values each'):
        HuggingFaceViT(tiny('hf vit'), mean=(0.1, 0.2, 0.3))


def test_transformers_is_not_there(monkeypatch):
    monkeypatch.setitem(sys.modules, 'transformers', None)
    with pytest.raises(ImportError, match=r"transformers 5\.18 or later and Python 3\.11: pip install 'vptx\[hf\]'"):
        HuggingFaceViT('somewhere')


def test_transformers_is_too_old(monkeypatch):
    monkeypatch.setitem(sys.modules, 'transformers', ModuleType('transformers'))
    sys.modules['transformers'].__version__ = '5.17.0'
    with pytest.raises(ImportError, match=r'Here is transformers 5\.17\.0'):
        HuggingFaceViT('somewhere')


def test_a_model_that_an_older_version_has_built(monkeypatch):
    model = tiny('hf vit')
    model.encoder = SimpleNamespace(layer=model.layers)
    del model.layers
    with pytest.raises(ImportError, match=r"ViTModel of transformers .* has no layers: .* pip install -U 'vptx\[hf\]'"):
        hugging_face.HuggingFaceNet.__init__(HuggingFaceViT.__new__(HuggingFaceViT), model)


def test_nothing_needs_transformers_before_there_is_a_model():
    code = (
        'import sys; sys.modules["transformers"] = None\n'
        'import timm, vptx; vptx.attach(timm.create_model("vit_mini_patch8_64"), dict(type="DeepPrompter"))'
    )
    subprocess.run([sys.executable, '-c', code], env=environment(), check=True)
