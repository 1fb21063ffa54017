import pytest
import torch
from networks import tiny
from torch import nn

import vptx
from vptx.trainable import freeze, matches, print_trainable_parameters, set_mode, trainable_table, trained_names


@pytest.mark.parametrize(
    ('pattern', 'name', 'expected'),
    [
        ('head', 'head.fc.weight', True),
        ('head', 'backbone.head.weight', True),
        ('head', 'head_dist.weight', False),
        ('head', 'overhead.weight', False),
        ('blocks.1', 'model.blocks.1.mlp.fc1.weight', True),
        ('blocks.1', 'model.blocks.11.mlp.fc1.weight', False),
        ('bias', 'model.norm.bias', True),
        ('bias', 'model.bias_table', False),
        (r'blocks\.(0|2)\.attn', 'blocks.2.attn.proj.weight', True),
        (r'blocks\.(0|2)\.attn', 'blocks.1.attn.proj.weight', False),
        ('.*', 'anything.at.all', True),
    ],
)
def test_patterns_cover_whole_components(pattern, name, expected):
    assert matches(pattern, name) is expected


def network() -> nn.Module:
    return nn.Sequential(
        nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5), nn.BatchNorm1d(2)), nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    )


def test_freeze_lets_exactly_these_train():
    model, also = network(), nn.Linear(1, 1).requires_grad_(False)
    freeze(model, ['0.2', r'1\.0\.bias'], also)
    assert {n for n, p in model.named_parameters() if p.requires_grad} == {'0.2.weight', '0.2.bias', '1.0.bias'}
    assert also.weight.requires_grad


@pytest.mark.parametrize('tune', [['hed'], ['head', 'nothing_of_the_kind']])
def test_a_pattern_that_matches_nothing(tune):
    model = nn.ModuleDict(dict(head=nn.Linear(1, 1), blocks=nn.ModuleList([nn.Linear(1, 1)])))
    with pytest.raises(ValueError, match=rf"tune: '{tune[-1]}' matches no parameter; names here have .*head"):
        freeze(model, tune, nn.Identity())
    assert all(p.requires_grad for p in model.parameters())  # nothing was changed


def test_tune_given_as_a_string():
    with pytest.raises(ValueError, match=r"tune is a list of patterns: write tune=\['head'\]"):
        freeze(network(), 'head', nn.Identity())


@pytest.mark.parametrize('tune', [None, [['head']], [None], 5], ids=str)
def test_tune_that_is_no_list_of_patterns(tune):
    with pytest.raises(ValueError, match=r"tune is a list of patterns, such as \['head'\], or \[\] for none; not "):
        freeze(network(), tune, nn.Identity())


def test_a_pattern_that_is_no_regular_expression():
    with pytest.raises(ValueError, match=r"tune: '\*head' is not a regular expression"):
        freeze(network(), ['*head'], nn.Identity())


def test_set_mode_follows_what_trains():
    model = network()
    freeze(model, ['^0'], nn.Identity())
    set_mode(model, True)
    assert not model.training
    assert all(module.training for module in model[0].modules())
    assert not any(module.training for module in model[1].modules())
    set_mode(model, False)
    assert not any(module.training for module in model.modules())


def test_a_part_without_parameters_does_as_the_one_around_it():
    model = network()
    freeze(model, [r'0\.0'], nn.Identity())
    set_mode(model, True)
    assert model[0][0].training
    assert not model[0][1].training  # the dropout of a block that is frozen in part
    assert not model[0][2].training


def test_a_dropout_does_as_what_it_feeds():
    """The next part with parameters beside it."""
    model = nn.Sequential(
        nn.Dropout(0.5), nn.Linear(2, 2), nn.Dropout(0.5), nn.ReLU(), nn.Linear(2, 2), nn.Dropout(0.5)
    )
    freeze(model, ['^4'], nn.Identity())
    set_mode(model, True)
    # What feeds no part beside it does as the whole, which is frozen in part.
    assert [module.training for module in model] == [False, False, True, False, True, False]
    set_mode(model, False)
    assert not any(module.training for module in model)


def test_the_heads_own_dropout_in_a_linear_probe():
    model = vptx.attach(tiny('drop path'), tune=['head']).train()
    on = {name for name, module in model.net.model.named_modules() if module.training}
    assert on == {'head', 'head_drop'}


@pytest.mark.parametrize('tune', [[], [r'!prompter\.embedding\.rows\.0']])
def test_dropout_of_prompts_where_some_are_kept_as_drawn(tune):
    model = vptx.attach(tiny(), dict(type='DeepPrompter', num_tokens=3, dropout=0.5), tune=tune).train()
    assert model.prompter.embedding.dropout.training
    model = vptx.attach(
        tiny(), dict(type='DeepPrompter', num_tokens=3, dropout=0.5), tune=['head', '!prompter']
    ).train()
    assert not any(module.training for module in model.prompter.modules())


def test_statistics_of_a_prompter_change_where_all_of_it_trains():
    """As ``trained_names`` says, which files go by."""
    norm = nn.BatchNorm1d(2)
    model = nn.Sequential(nn.Linear(2, 2), norm)
    for tune, expected in ((['^1'], True), ([r'1\.bias'], False)):
        freeze(model, tune, nn.Identity())
        set_mode(model, True, partly=True)
        assert model.training
        assert norm.training is expected
        assert ('1.running_mean' in trained_names(model)) is expected


def test_trained_names_include_the_statistics_of_what_trains():
    model = network()
    freeze(model, ['^1'], nn.Identity())
    assert trained_names(model) == ['1.0.weight', '1.0.bias']
    freeze(model, ['^0.2'], nn.Identity())
    statistics = ['running_mean', 'running_var', 'num_batches_tracked']
    assert trained_names(model) == [f'0.2.{name}' for name in ('weight', 'bias', *statistics)]
    freeze(model, [r'0\.2\.bias'], nn.Identity())  # it stays in eval mode, so its statistics do not change
    assert trained_names(model) == ['0.2.bias']


def test_the_table_counts_each_part():
    model = vptx.attach(tiny(), dict(type='DeepPrompter', num_tokens=3), tune=['head'])
    rows = {line.split()[0]: line.split()[1:] for line in trainable_table(model).splitlines()}
    assert rows['prompter'] == ['288', '288', '100.000']
    every = sum(p.numel() for p in model.parameters())
    assert rows['all'][:2] == [f'{288 + 32 * 7 + 7}', f'{every:,}']
    assert rows['net'][0] == f'{32 * 7 + 7}'


def test_one_line_as_peft_prints_it(capsys):
    model = nn.Sequential(nn.Linear(99, 10, bias=False), nn.Linear(10, 1, bias=False))
    model[0].requires_grad_(False)
    print_trainable_parameters(model)
    assert capsys.readouterr().out == 'trainable params: 10 || all params: 1,000 || trainable%: 1.0000\n'


def test_one_line_of_a_model_without_parameters(capsys):
    print_trainable_parameters(nn.Identity())
    assert 'all params: 0 ' in capsys.readouterr().out


def test_modes_and_names_agree():
    """What is in training mode changes its statistics, and what changes is saved: on a real step."""
    model = network()
    freeze(model, [r'0\.2', r'1\.0\.weight'], nn.Identity())
    set_mode(model, True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model(torch.randn(8, 2)).square().sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.grad is not None:
                parameter -= 0.1 * parameter.grad
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == set(trained_names(model))


def test_an_exclamation_mark_takes_out_again():
    model = network()
    freeze(model, ['!bias', '.*'], nn.Identity())
    assert [name for name, p in model.named_parameters() if p.requires_grad] == [
        name for name, _ in model.named_parameters() if not name.endswith('bias')
    ]
    with pytest.raises(ValueError, match="'nothing' matches no parameter"):
        freeze(model, ['.*', '!nothing'], nn.Identity())
