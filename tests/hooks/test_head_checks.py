"""A head that cannot read what the network gives it is told before anything runs."""

import pytest
from runs import hook, runner


@pytest.mark.parametrize(
    ('changes', 'options', 'message'),
    [
        (
            {'model.head.in_channels': 64},
            {},
            r"LinearClsHead reads 64 features, and readout='cls' of .* gives 32: .*=32",
        ),
        ({}, dict(readout='map'), "readout='map' gives feature maps, and LinearClsHead reads vectors"),
        ({}, dict(readout=dict(maps=[0, 1])), r"readout=\{'maps': \[0, 1\]\} gives feature maps"),
        (
            {'model.backbone.net.num_classes': 5},
            dict(mapping=dict(type='IndexMapping', num_classes=3), readout='logits'),
            r"mapping=IndexMapping gives the scores of 3 classes, .* LinearClsHead .*dict\(type='ClsHead'",
        ),
    ],
)
def test_wrong_heads(tmp_path, changes, options, message):
    run = runner(tmp_path, hooks=[hook(**options)], **changes)
    with pytest.raises(ValueError, match=message):
        run.train()
    assert run.iter == 0


@pytest.mark.parametrize('changes', [{}, {'model.neck': dict(type='GlobalAveragePooling')}])
def test_heads_that_fit(tmp_path, changes):
    options = dict(readout='map') if changes else {}
    run = runner(tmp_path, hooks=[hook(**options)], train_cfg=dict(max_epochs=1), **changes)
    run.train()
    assert run.iter == 3
