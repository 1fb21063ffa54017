"""What studies found, as tables and as a picture."""

from PIL import Image

from vptx.studies.figures import draw_comparison, png
from vptx.studies.results import Outcome, markdown

FACTS = dict(trained=12345, kilobytes=50.4)
SUP = Outcome(
    'digits_linear', 'Digits', {'optim_wrapper.optimizer.lr': 0.09}, 91.25, [90.0, 92.0, 94.0], 'sup', **FACTS
)
MAE = Outcome('digits_linear', 'Digits', {'base_lr': 0.3}, 50.0, [50.0], 'mae', at_edge=True, **FACTS)
FAILED = Outcome('digits_vpt_deep', 'Digits', net='sup', missing=['select/lr=0.3'])


def test_the_tables_give_mean_and_range():
    first, second, star, failed = markdown([SUP, MAE, FAILED]).split('\n\n')
    assert first.splitlines() == [
        '| Digits: test %, mean (range) | sup | mae |',
        '|---|---:|---:|',
        '| linear | 92.0 (90.0 to 94.0) | 50.0 (50.0 to 50.0)\\* |',
        '| vpt_deep |  |  |',
    ]
    assert second.splitlines()[0] == (
        '| config | task | chosen on val | val % | test %, mean (range) | trained | prompt file |'
    )
    assert second.splitlines()[2] == (
        '| sup_digits_linear | Digits | lr=0.09 | 91.2 | 92.0 (90.0 to 94.0) | 12,345 | 50 kB |'
    )
    assert '| base lr=0.3\\* |' in second and star.startswith('\\* the smallest or the largest')
    assert '| sup_digits_vpt_deep | Digits | none |' in second
    assert failed == 'Not there: sup_digits_vpt_deep Digits select/lr=0.3'


def test_each_metric_has_a_table_of_its_own():
    seg = Outcome('mini_head', 'MiniADE', {'base_lr': 0.01}, 30.0, [31.0, 33.0], metric='mIoU')
    first, second = markdown([SUP, seg]).split('\n\n')[-2:]
    assert 'val % | test %, mean' in first and 'digits_linear' in first and 'mini_head' not in first
    assert 'val mIoU % | test mIoU %, mean' in second and '32.0 (31.0 to 33.0)' in second


def test_the_picture_of_many_and_of_one(tmp_path):
    tasks = [Outcome('linear', f'task{i}', {}, 50.0, [40.0 + i]) for i in range(6)]
    for found in ([SUP, MAE, FAILED], [SUP], tasks):
        (tmp_path / 'drawn.png').write_bytes(png(draw_comparison(found)))
        with Image.open(tmp_path / 'drawn.png') as picture:
            assert picture.getextrema()[0][0] < 128  # something was drawn on the white
