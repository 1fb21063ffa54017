"""Base, new, H and all from one pass equal what separate runs give."""

import pytest
import torch
from runs import hook, runner

from vptx.metrics import BaseToNew, harmonic_mean


def samples(scores, labels):
    return [
        dict(pred_score=score, gt_label=torch.tensor([label]))
        for score, label in zip(scores, labels.tolist(), strict=True)
    ]


def judged(scores, labels, **options):
    metric = BaseToNew(**options)
    metric.dataset_meta = dict(classes=[f'kind {i}' for i in range(scores.shape[1])])
    metric.process(None, samples(scores, labels))
    return metric.evaluate(len(labels))


@pytest.mark.parametrize('classes', [6, 7])
def test_one_pass_equals_separate_runs(classes):
    logits, labels = torch.randn(200, classes) * 3, torch.randint(classes, (200,))
    base = (classes + 1) // 2
    found = judged(logits.softmax(1), labels)

    def accuracy(chosen, columns):
        return 100 * (logits[chosen][:, columns].argmax(1) + columns[0] == labels[chosen]).double().mean().item()

    separate = accuracy(labels < base, [*range(base)]), accuracy(labels >= base, [*range(base, classes)])
    assert (found['base_to_new/base'], found['base_to_new/new']) == pytest.approx(separate)
    assert found['base_to_new/all'] == pytest.approx(accuracy(labels >= 0, [*range(classes)]))
    assert found['base_to_new/H'] == pytest.approx(2 / (1 / separate[0] + 1 / separate[1]))


def test_harmonic_mean():
    assert harmonic_mean(40.0, 40.0) == 40 and harmonic_mean(0.0, 70.0) == harmonic_mean(0.0, 0.0) == 0
    assert harmonic_mean(72.43, 68.14) == pytest.approx(70.22, abs=0.005)  # the paper's row of CLIP on ImageNet


def test_classes_are_named_in_the_log(capsys):
    judged(torch.eye(4), torch.tensor([0, 1, 2, 3]), per_class=True)
    assert '  kind 3: 1, 100.0 %, 100.0 %' in capsys.readouterr().out


def test_scores_rounded_to_zero_are_wrong_and_reported(capsys):
    scores = torch.tensor([[1.0, 0, 0, 0], [1.0, 0, 0, 0], [0, 0, 1.0, 0]])
    found = judged(scores, torch.tensor([0, 2, 2]))
    assert found['base_to_new/new'] == 50 and '1 images have a score of 0' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('labels', 'options', 'message'),
    [
        ([0, 1], {}, "seen no image of a new class, of 2 images and 4 classes: .*CoOpTask\\(part='all'\\)"),
        ([2, 3], {}, 'seen no image of a base class'),
        ([0, 3], dict(num_base=4), 'num_base=4 of 4 classes leaves no base classes, or no new ones'),
    ],
)
def test_what_cannot_be_judged(labels, options, message):
    with pytest.raises(ValueError, match=message):
        judged(torch.eye(4)[labels], torch.tensor(labels), **options)


def test_other_data_samples():
    with pytest.raises(ValueError, match='needs pred_score'):
        BaseToNew().process(None, [dict(pred_label=torch.tensor([0]), gt_label=torch.tensor([0]))])
    with pytest.raises(ValueError, match=r'one label for each image, not \[0, 1\]'):
        BaseToNew().process(None, [dict(pred_score=torch.ones(3), gt_label=torch.tensor([0, 1]))])


def test_a_head_of_base_classes_alone():
    with pytest.raises(ValueError, match='an image of label 3 and scores of 2 classes: the model must give'):
        BaseToNew().process(None, samples(torch.eye(2)[:1], torch.tensor([3])))


def test_in_a_run(tmp_path):
    run = runner(tmp_path, hooks=[hook()], test_evaluator=dict(type='BaseToNew', num_base=2, _delete_=True))
    run.train()
    found = run.test()
    assert set(found) == {f'base_to_new/{name}' for name in ('base', 'new', 'H', 'all')}
    assert found['base_to_new/new'] == 100  # one new class
    assert found['base_to_new/H'] == pytest.approx(harmonic_mean(found['base_to_new/base'], 100))
