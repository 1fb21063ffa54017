"""Tasks one after the other: what is averaged, what trains, and that a joint run learns all of them."""

import pytest
import torch
from networks import WIDTH, tiny
from torch import nn

import vptx
from vptx.studies.continual import Images, average_accuracy, forgetting, learn, learn_jointly, split_classes


def test_average_accuracy_and_forgetting():
    found = torch.tensor([[90.0, 0, 0], [70, 80, 0], [60, 90, 50]])
    assert average_accuracy(found) == pytest.approx(200 / 3)
    assert forgetting(found) == pytest.approx(((90 - 60) + (80 - 90)) / 2)
    assert forgetting(found[:1, :1]) == 0


def test_classes_are_split_in_order():
    assert split_classes(6, 3) == [range(2), range(2, 4), range(4, 6)]
    with pytest.raises(ValueError, match='7 classes cannot be split into 3 tasks'):
        split_classes(7, 3)


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.head = tiny(), nn.Linear(WIDTH, 4)

    def forward(self, image):
        return self.head(self.backbone(image))


def coloured() -> Images:
    """Four classes of flat images, each of its colour."""
    labels = torch.arange(4).repeat(6)
    colours = torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, 1]])
    noise = torch.randn(24, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return Images(2 * colours[labels][:, :, None, None] + 0.1 * noise, labels)


@pytest.mark.parametrize(
    'prompter',
    [dict(type='DeepPrompter', num_tokens=2), dict(type='DualPrompt', tasks=2), dict(type='CODAPrompt', tasks=2)],
)
def test_tasks_one_after_the_other(prompter):
    torch.manual_seed(0)
    model = vptx.attach(Classifier(), prompter, ['head'], readout='cls')
    head = model.head.bias.detach().clone()
    found = learn(model, coloured(), coloured(), split_classes(4, 2), epochs=3, lr=0.01, batch=6)
    assert found.shape == (2, 2) and found[0, 1] == 0
    assert found[0, 0] == 100 and found[1, 1] > 50
    assert not torch.equal(model.head.bias, head)
    if prompter['type'] == 'DualPrompt':
        assert model.backbone.prompter.task == 1


def test_jointly_all_are_learnt():
    torch.manual_seed(0)
    model = vptx.attach(Classifier(), dict(type='DeepPrompter', num_tokens=2), ['head'], readout='cls')
    found = learn_jointly(model, coloured(), coloured(), split_classes(4, 2), epochs=6, lr=0.01, batch=6)
    assert found.tolist() == [[100, 100]]
