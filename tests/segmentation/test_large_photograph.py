"""A photograph of 4000 x 3000 pixels and 150 classes, whose logits alone are 7.2 GB: what the whole process takes.

python -m pytest tests/segmentation/test_large_photograph.py -m 'slow or not slow' -s        # prints it
"""

import subprocess
import sys

import pytest
from runs import REPO, environment

# Windows of 512 px at the photograph's own size, by a network so small that nearly all of it is logits.
TINY = """
from segruns import NET, built, head
model = built(
    backbone=dict(type='PromptedBackbone', net=dict(NET, patch_size=16, depth=1), readout=dict(maps=[0])),
    decode_head=head(in_index=0, num_convs=1, up_scale=2, num_classes=150),
    auxiliary_head=None,
    test_cfg=dict(mode='slide', crop_size=(512, 512), stride=(341, 341)),
)
sample = SegDataSample(metainfo=dict(ori_shape=(3000, 4000), img_shape=(3000, 4000)))
with torch.no_grad():
    (found,) = model.test_step(dict(inputs=[torch.from_numpy(photograph).movedim(2, 0)], data_samples=[sample]))
"""
# The paper's network, random, with its own pipeline, which makes the short side 512 px.
LARGE = """
from mmengine.config import Config
config = Config.fromfile('configs/seg/setr_vitl_vpt.py')
config.model.backbone.net.weights = None
found = inference_model(vptx.init_model(config), photograph)
"""
# The same at the photograph's own size: 108 windows of 512 px, a quarter of an hour.
WHOLE = LARGE.replace(
    'found =',
    """
config.test_pipeline = [step for step in config.test_pipeline if step.type != 'Resize']
found =""",
)
SCRIPT = """
import resource, sys
import numpy as np, torch
from mmengine.registry import DefaultScope
from mmseg.apis import inference_model
from mmseg.structures import SegDataSample
import vptx, vptx.segmentation
photograph = np.random.default_rng(0).integers(0, 256, (3000, 4000, 3), np.uint8)
with DefaultScope.overwrite_default_scope('mmseg'):
    exec(sys.argv[1])
assert found.pred_sem_seg.data.shape == (1, 3000, 4000)
print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ('script', 'most'), [(TINY, 4), (LARGE, 4), (WHOLE, 5.3)], ids=['tiny', 'setr_vitl_vpt', 'setr_vitl_vpt, own size']
)
def test_peak_memory(script, most):
    done = subprocess.run(
        [sys.executable, '-c', SCRIPT, script], cwd=REPO, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    gigabytes = int(done.stdout.split('peak ')[1]) * 1024 / 1e9
    print(f'{gigabytes:.2f} GB')
    assert gigabytes < most
