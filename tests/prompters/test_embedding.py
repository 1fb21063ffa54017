import re
from dataclasses import replace
from math import sqrt

import numpy as np
import pytest
import torch
from networks import PATCH, WIDTH, tiny, wrapped
from safetensors.torch import save_file

import vptx
from vptx.prompters import PromptEmbedding
from vptx.prompters.embedding import uniform_bound

GEOMETRY = wrapped().geometry
BOUND = sqrt(6 / (3 * PATCH * PATCH + WIDTH))


def embedding(rows: int = 2, num_tokens: int = 3, **options) -> PromptEmbedding:
    return PromptEmbedding((WIDTH,) * rows, num_tokens, GEOMETRY, **options)


def test_the_papers_bound():
    assert uniform_bound(GEOMETRY, WIDTH) == pytest.approx(BOUND)
    assert uniform_bound(replace(GEOMETRY, patch=(16, 16)), 768) == pytest.approx(0.0625)  # of ViT-B/16


@pytest.mark.parametrize(('init', 'deviation'), [('uniform', BOUND / sqrt(3)), ('normal', 0.02)])
def test_initial_values(init, deviation):
    torch.manual_seed(0)
    rows = torch.stack(list(embedding(num_tokens=400, init=init).rows)).detach()
    assert rows.std().item() == pytest.approx(deviation, rel=0.02)
    assert rows.mean().item() == pytest.approx(0, abs=deviation / 20)
    assert (rows.abs().max() <= BOUND) == (init == 'uniform' or BOUND > 0.1)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(dropout=1.0), r'dropout must be in [0, 1), not 1.0'),
        (dict(dropout=-0.1), r'dropout must be in [0, 1), not -0.1'),
        (dict(dropout_per='token'), "dropout_per must be 'sample' or 'batch', not 'token'"),
        (dict(project_dim=0), 'project_dim=0 needs to be at least 1'),
        (dict(init='xavier'), "init must be 'uniform', 'normal' or a .npy or .safetensors file, not 'xavier'"),
        (dict(init='prompts.pkl'), "not 'prompts.pkl'"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        embedding(**options)


def test_project_needs_one_width():
    with pytest.raises(ValueError, match=r'all layers of one width \(32, 64\)'):
        PromptEmbedding((32, 64), 3, GEOMETRY, project_dim=5)


def test_projection_is_one_linear_layer_for_all_rows():
    made = embedding(project_dim=5)
    assert [tuple(row.shape) for row in made.rows] == [(3, 5)] * 2
    for row in range(2):
        expected = made.rows[row] @ made.project.weight.T + made.project.bias
        torch.testing.assert_close(made(row, 1), expected)


@pytest.mark.parametrize('shape', [(2, 3, WIDTH), (2, 3, 5)])
def test_from_an_array(tmp_path, shape):
    values = np.random.default_rng(0).normal(size=shape)
    np.save(tmp_path / 'prompts.npy', values)
    made = embedding(init=str(tmp_path / 'prompts.npy'), project_dim=None if shape[2] == WIDTH else 5)
    np.testing.assert_allclose(torch.stack(list(made.rows)).detach(), values, rtol=1e-6)


@pytest.mark.parametrize('project_dim', [None, 5])
def test_from_a_prompt_file(tmp_path, project_dim):
    torch.manual_seed(0)
    options = dict(type='DeepPrompter', num_tokens=3, project_dim=project_dim)
    saved = vptx.attach(tiny(), options, tune=['head'])
    vptx.save_prompt(saved, tmp_path / 'prompt.safetensors')
    made = vptx.attach(tiny('clip'), dict(options, init=str(tmp_path / 'prompt.safetensors')))
    pairs = zip(saved.prompter.parameters(), made.prompter.parameters(), strict=True)
    assert all(torch.equal(theirs, ours) for theirs, ours in pairs)


@pytest.mark.parametrize('name', ['none.npy', 'none.safetensors'])
def test_missing_file(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=re.escape(f'there is no file {tmp_path / name}')):
        embedding(init=str(tmp_path / name))


def test_array_of_another_shape(tmp_path):
    np.save(tmp_path / 'prompts.npy', np.zeros((2, 4, WIDTH)))
    with pytest.raises(ValueError, match=re.escape(f'holds prompts of shapes {[(4, WIDTH)] * 2}, this prompter needs')):
        embedding(init=str(tmp_path / 'prompts.npy'))


def test_prompt_file_of_another_shape(tmp_path):
    vptx.save_prompt(vptx.attach(tiny(), dict(type='ShallowPrompter', num_tokens=3)), tmp_path / 'p.safetensors')
    with pytest.raises(ValueError, match=re.escape(f'holds prompts of shapes {[(3, WIDTH)]}, this prompter needs')):
        embedding(init=str(tmp_path / 'p.safetensors'))


@pytest.mark.parametrize('array', [np.float32(3), np.array(['a', 'b']), np.zeros((2, 3, WIDTH))[:0]])
def test_an_array_of_something_else(tmp_path, array):
    np.save(tmp_path / 'prompts.npy', array)
    with pytest.raises(ValueError, match=r'prompts\.npy (cannot be read|holds prompts of shapes)'):
        embedding(init=str(tmp_path / 'prompts.npy'))


@pytest.mark.parametrize('name', ['prompts.npy', 'prompts.safetensors'])
@pytest.mark.parametrize('content', [b'', b'nonsense', bytes(200)])
def test_not_a_file_of_prompts(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf'{re.escape(name)} cannot be read'):
        embedding(init=str(tmp_path / name))


def test_truncated(tmp_path):
    np.save(tmp_path / 'prompts.npy', np.zeros((2, 3, WIDTH)))
    whole = (tmp_path / 'prompts.npy').read_bytes()
    (tmp_path / 'prompts.npy').write_bytes(whole[:-100])
    with pytest.raises(ValueError, match=r'prompts\.npy cannot be read'):
        embedding(init=str(tmp_path / 'prompts.npy'))


def test_someone_elses_safetensors(tmp_path):
    save_file(dict(a=torch.ones(2, 3, WIDTH)), tmp_path / 'theirs.safetensors')
    with pytest.raises(ValueError, match=r'theirs\.safetensors is no prompt file of vptx'):
        embedding(init=str(tmp_path / 'theirs.safetensors'))


def test_shapes_of_masks():
    for per, shape in (('sample', (4, 3, WIDTH)), ('batch', (3, WIDTH))):
        made = embedding(dropout=0.5, dropout_per=per)
        assert made.train()(0, 4).shape == shape
        assert made.eval()(0, 4).shape == (3, WIDTH)


@pytest.mark.parametrize(
    ('values', 'match'),
    [
        (np.full((2, 3, WIDTH), np.nan), r'holds values of rows\.0 that are NaN'),
        (np.full((2, 3, WIDTH), 1e300), r'holds values of rows\.0 that are NaN'),
        (np.ones((2, 3, WIDTH), complex), r'holds rows\.0 as complex128; expected float32'),
        (np.ones((2, 3, WIDTH), bool), r'holds rows\.0 as bool; expected float32'),
    ],
)
def test_values_that_are_no_prompts(tmp_path, values, match):
    np.save(tmp_path / 'prompts.npy', values)
    with pytest.raises(ValueError, match=rf'prompts\.npy {match}'):
        embedding(init=str(tmp_path / 'prompts.npy'))
