"""Draw the figures of the documentation: python website/figures.py

Each function draws one figure and is written to ``docs/assets/<its name>.svg``, those in :data:`METHODS` to
``docs/assets/methods/``. Orange trains, grey is frozen, blue is an image, violet the class token.
"""

from collections.abc import Callable
from pathlib import Path

from drawing import Drawing, stylesheet

ASSETS = Path(__file__).parent.parent / 'docs' / 'assets'


def doors() -> Drawing:
    d = Drawing(740, 330, 'Five doors of a frozen network: image, tokens, memory, inside, logits')
    d.picture(20, 130, 80)
    d.arrow((100, 170), (122, 170))
    d.box(122, 130, 56, 80, 'patch\nembed-\nding', size=12)
    d.arrow((178, 170), (208, 170))
    d.tokens(208, 122, 'ceee', size=20, down=True)
    d.arrow((228, 170), (304, 170))
    d.box(304, 110, 160, 120)
    d.box(320, 122, 60, 84, 'atten-\ntion', 'paper')
    d.arrow((380, 164), (396, 164))
    d.box(396, 122, 54, 84, 'MLP', 'paper')
    d.text(350, 223, 'layers 1 … L', 'soft', 12)
    d.arrow((464, 170), (504, 170))
    d.box(504, 130, 60, 80, 'head')
    d.arrow((564, 170), (610, 170))
    for number, width in enumerate((50, 24, 78, 36)):
        d.box(616, 138 + 18 * number, width, 10)
    doors = [
        (62, 'image', 'border, patch, pad,', 'all pixels, channels', 130),
        (218, 'tokens', 'shallow prompts,', 'added vectors', 122),
        (350, 'memory', 'deep prompts:', 'keys and values', 122),
        (655, 'logits', 'label mapping,', 'class names', 130),
    ]
    for x, name, first, second, y in doors:
        d.box(x - 42, 20, 84, 28, name, 'learnt', 14)
        d.text(x, 66, first, 'soft', 12)
        d.text(x, 81, second, 'soft', 12)
        d.arrow((x, 90), (x, y - 4), kind='trained')
    d.arrow((423, 268), (423, 210), kind='trained')
    d.box(381, 268, 84, 28, 'inside', 'learnt', 14)
    d.text(423, 314, 'LoRA, adapters, SSF', 'soft', 12)
    d.box(20, 276, 14, 14, kind='learnt')
    d.text(42, 288, 'trains', anchor='start', size=12)
    d.box(100, 276, 14, 14)
    d.text(122, 288, 'frozen', anchor='start', size=12)
    return d


def loop() -> Drawing:
    d = Drawing(720, 320, 'One forward pass, in which a prompter is asked at each door')
    steps = [
        (20, 'embed', 'image(x)'),
        (160, 'before layer i', 'before_layer\n(tokens, at)'),
        (300, 'layer i', 'memory\n(tokens, at)'),
        (440, 'after layer i', 'after_layer\n(tokens, at)'),
        (580, 'norm, readout', 'at_end\n(tokens, image)'),
    ]
    d.text(20, 20, 'network wrapper: modules of the library', anchor='start', bold=True)
    for number, (x, name, method) in enumerate(steps):
        d.box(x, 62, 120, 50, name)
        if number:
            d.arrow((x - 20, 87), (x, 87))
        d.arrow((x + 60, 220), (x + 60, 116), kind='trained')
        d.box(x, 220, 120, 52, method, 'learnt', 13)
    d.path([(500, 62), (500, 40), (220, 40)], dashed=True)
    d.arrow((220, 40), (220, 62), dashed=True)
    d.text(360, 34, 'next layer', 'soft', 12)
    d.text(20, 298, 'prompter: the methods of the doors that it uses', anchor='start', bold=True)
    d.box(20, 148, 680, 34, 'forward pass of the prompted network: the only place where they meet', 'paper')
    return d


def hook() -> Drawing:
    d = Drawing(720, 230, 'A hook attaches the prompter before training and saves only what trained')
    d.box(20, 30, 150, 110, 'config\n\nnetwork\ndata, head\nschedule', 'paper')
    d.box(20, 160, 150, 50, 'PromptTuningHook\nprompter, tune', 'learnt', 12)
    d.arrow((170, 85), (220, 85))
    d.arrow((170, 185), (300, 185), (300, 140), kind='trained')
    d.box(220, 30, 160, 110)
    d.text(300, 50, 'model', bold=True)
    d.box(236, 62, 128, 30, 'frozen network', 'paper')
    d.box(236, 100, 60, 28, 'prompts', 'learnt', 12)
    d.box(304, 100, 60, 28, 'head', 'learnt', 12)
    d.arrow((380, 85), (440, 85))
    d.box(440, 55, 100, 60, 'training\ntest', 'paper')
    d.arrow((540, 85), (590, 85))
    d.box(590, 40, 110, 90, 'prompt file\n\nprompts, head,\nfingerprint', 'learnt', 12)
    d.text(645, 150, 'some kB', 'soft', 12)
    return d


def memory() -> Drawing:
    d = Drawing(720, 330, 'Deep prompts as tokens, and as keys and values')
    for left, title in (
        (0, 'as published: prompts are tokens'),
        (370, 'as computed here: prompts are keys and values'),
    ):
        d.text(left + 170, 22, title, bold=True)
    # Left: all tokens go through the layer, and the outputs of the prompts are dropped.
    d.tokens(30, 50, 'cpppeeeee', size=22, gap=6)
    d.text(20, 98, 'queries, keys, values of all tokens', 'soft', 12, 'start')
    d.arrow((156, 104), (156, 124))
    d.box(20, 124, 270, 40, 'attention')
    d.arrow((156, 164), (156, 184))
    d.box(20, 184, 270, 40, 'projection, MLP')
    d.arrow((156, 224), (156, 250))
    d.tokens(30, 254, 'cpppeeeee', size=22, gap=6)
    for number in (1, 2, 3):
        d.cross(30 + 28 * number, 254, 22)
    d.text(110, 296, 'dropped: no layer uses them', 'soft', 12)
    # Right: the prompts end as columns of the attention.
    d.tokens(420, 50, 'ceeeee', size=22, gap=6)
    d.text(410, 98, 'queries, keys, values', 'soft', 12, 'start')
    d.arrow((500, 104), (500, 124))
    d.box(410, 124, 180, 40, 'attention')
    d.tokens(620, 50, 'ppp', size=22, gap=6)
    d.text(661, 98, 'keys, values', 'soft', 12)
    d.arrow((661, 104), (661, 144), (590, 144), kind='trained')
    d.arrow((500, 164), (500, 184))
    d.box(410, 184, 180, 40, 'projection, MLP')
    d.arrow((500, 224), (500, 250))
    d.tokens(420, 254, 'ceeeee', size=22, gap=6)
    d.text(500, 296, 'the same numbers, and the same gradients', 'soft', 12)
    d.text(661, 164, 'computed once', 'soft', 12)
    d.text(661, 179, 'for all images', 'soft', 12)
    return d


def network_after(d: Drawing, x: float, y: float, end: str = 'head') -> None:
    """The frozen network, and what is after it."""
    d.arrow((x, y), (x + 26, y))
    d.box(x + 26, y - 40, 84, 80, 'frozen\nnetwork')
    d.arrow((x + 110, y), (x + 134, y))
    d.box(x + 134, y - 24, 64, 48, end, 'learnt')


def on_image(title: str) -> Drawing:
    d = Drawing(480, 180, title)
    network_after(d, 248, 84)
    return d


def border() -> Drawing:
    d = on_image('A learnt border is added to the edges of the image')
    d.picture(20, 24, 120)
    d.text(157, 89, '+', size=18)
    d.box(172, 54, 60, 60, kind='paper')
    d.frame(172, 54, 60, (182, 64, 40, 40))
    d.text(80, 164, 'image', 'soft')
    d.text(202, 132, 'border', 'trained-ink')
    d.path([(232, 84), (248, 84)])
    return d


def patch() -> Drawing:
    d = on_image('A learnt square is added to the image')
    d.picture(20, 24, 120)
    d.text(157, 89, '+', size=18)
    d.box(172, 54, 60, 60, kind='paper')
    d.box(178, 60, 22, 22, kind='learnt')
    d.text(80, 164, 'image', 'soft')
    d.text(202, 132, 'patch', 'trained-ink')
    d.path([(232, 84), (248, 84)])
    return d


def pixel() -> Drawing:
    d = on_image('A learnt image is added to every image')
    d.picture(20, 24, 120)
    d.text(157, 89, '+', size=18)
    d.box(172, 54, 60, 60, 'P', 'learnt')
    d.text(80, 164, 'image', 'soft')
    d.text(202, 132, 'all pixels', 'trained-ink')
    d.path([(232, 84), (248, 84)])
    return d


def low_rank() -> Drawing:
    d = on_image('The product of two narrow learnt matrices is added to the image')
    d.picture(20, 44, 90)
    d.text(125, 94, '+', size=18)
    d.box(142, 59, 14, 60, 'B', 'learnt', 12)
    d.box(166, 59, 60, 14, 'A', 'learnt', 12)
    d.box(166, 79, 60, 40, 'B A', 'paper')
    d.text(65, 154, 'image', 'soft')
    d.text(184, 140, 'rank r', 'trained-ink')
    d.path([(226, 84), (248, 84)])
    return d


def reprogram() -> Drawing:
    d = on_image('A small image in the middle of a learnt frame')
    d.picture(20, 64, 44)
    d.arrow((66, 86), (104, 86))
    d.box(110, 24, 120, 120, kind='learnt')
    d.picture(148, 62, 44)
    d.text(42, 126, 'image', 'soft')
    d.text(170, 164, 'learnt frame', 'trained-ink')
    d.path([(230, 84), (248, 84)])
    return d


def scale() -> Drawing:
    d = on_image('A small image of learnt size on learnt pixels')
    d.picture(20, 64, 44)
    d.arrow((66, 86), (104, 86))
    d.box(110, 24, 120, 120, kind='learnt')
    d.picture(148, 62, 44)
    d.path([(136, 50), (204, 50), (204, 118), (136, 118), (136, 50)], 'line', dashed=True)
    d.text(42, 126, 'image', 'soft')
    d.text(170, 164, 'frame and size z', 'trained-ink')
    d.path([(230, 84), (248, 84)])
    return d


def sample_mask() -> Drawing:
    d = on_image('Learnt pixels under a mask that a small network makes of the image')
    d.picture(16, 20, 66)
    d.arrow((82, 53), (100, 53))
    d.box(100, 33, 52, 40, 'mask\nnet', 'learnt', 12)
    d.arrow((152, 53), (168, 53))
    for row in range(3):
        for column in range(3):
            d.box(168 + 13 * column, 34 + 13 * row, 12, 12, kind='learnt' if (row + column) % 2 else 'paper')
    d.box(168, 96, 38, 38, 'P', 'learnt')
    d.text(187, 88, '×', size=15)
    d.path([(49, 86), (49, 152), (232, 152), (232, 84), (248, 84)])
    d.path([(206, 115), (232, 115)])
    d.circle(232, 115, 8, '+')
    d.text(104, 170, 'image', 'soft')
    return d


def coordinator() -> Drawing:
    d = on_image('A decoder makes pixels of the features of a frozen encoder and of a learnt trigger')
    d.picture(12, 26, 54)
    d.arrow((66, 53), (80, 53))
    d.box(80, 33, 62, 40, 'encoder')
    d.arrow((142, 53), (156, 53))
    d.box(156, 33, 62, 60, 'decoder', 'learnt')
    d.box(96, 84, 34, 24, 'p', 'learnt')
    d.path([(130, 96), (143, 96), (143, 80)])
    d.arrow((143, 80), (156, 80))
    d.path([(39, 80), (39, 140), (232, 140), (232, 84), (248, 84)])
    d.path([(218, 63), (232, 63), (232, 84)])
    d.circle(232, 110, 8, '+')
    d.text(120, 158, 'image', 'soft')
    return d


def pad() -> Drawing:
    d = on_image('A learnt frame around the image, which becomes larger')
    d.picture(20, 50, 70)
    d.arrow((90, 85), (104, 85))
    d.box(108, 24, 122, 122, kind='learnt')
    d.picture(134, 50, 70)
    d.text(55, 138, 'H × W', 'soft')
    d.text(169, 164, '(H + 2T) × (W + 2T)', 'trained-ink', 12)
    d.path([(230, 84), (248, 84)])
    return d


def channel() -> Drawing:
    d = on_image('Learnt channels after those of the image')
    for number in (5, 4, 3):
        d.box(32 + 9 * number, 48 - 7 * number, 90, 90, kind='learnt')
    for number in (2, 1, 0):
        d.box(32 + 9 * number, 48 - 7 * number, 90, 90, kind='sky')
    d.picture(32, 48, 90)
    d.arrow((166, 84), (184, 84))
    d.box(184, 60, 52, 48, 'stem', 'learnt')
    d.text(77, 158, 'C channels + T learnt', 'trained-ink')
    d.path([(236, 84), (248, 84)])
    return d


def layer_boxes(d: Drawing, places: list[float], y: float, names: list[str], height: float = 120) -> None:
    for x, name in zip(places, names, strict=True):
        d.box(x, y, 64, height, name)


def shallow() -> Drawing:
    d = Drawing(480, 200, 'Prompt tokens are put in before the first layer and go through all layers')
    d.tokens(24, 24, 'cpppeee', 18, 4, down=True)
    for x, name in ((90, 'layer 1'), (192, 'layer 2'), (318, 'layer L')):
        d.box(x, 20, 64, 160, name)
    for x in (154, 256, 382):
        d.tokens(x + 10, 24, 'cfffeee', 18, 4, down=True)
    d.arrow((46, 100), (86, 100))
    d.text(300, 105, '…', size=18)
    d.text(64, 64, 'P', 'trained-ink', 15)
    d.arrow((410, 33), (430, 33))
    d.text(454, 38, 'head')
    return d


def deep() -> Drawing:
    d = Drawing(480, 200, 'Each layer gets prompts of its own, whose outputs are dropped')
    for x, name in ((90, 'layer 1'), (212, 'layer 2'), (346, 'layer L')):
        d.box(x, 20, 64, 160, name)
        d.tokens(x - 30, 24, 'cpppeee', 18, 4, down=True)
    for x in (158, 280):
        d.tokens(x - 1, 46, 'fff', 18, 4, down=True)
        for number in range(3):
            d.cross(x + 1, 48 + 22 * number, 14)
    d.text(42, 82, 'P1', 'trained-ink', anchor='end')
    d.text(300, 150, '…', size=18)
    d.tokens(416, 24, 'c', 18)
    d.arrow((436, 33), (448, 33))
    d.text(464, 38, 'head', size=12)
    return d


def added() -> Drawing:
    d = Drawing(480, 200, 'A learnt vector is added to each token')
    d.tokens(40, 34, 'ceeeee', 18, 4, down=True)
    d.tokens(100, 34, 'pppppp', 18, 4, down=True)
    d.text(79, 104, '+', size=18)
    d.arrow((124, 98), (160, 98))
    d.box(160, 24, 70, 150, 'layer 1')
    d.arrow((230, 98), (256, 98))
    d.text(274, 103, '…', size=18)
    d.arrow((290, 98), (316, 98))
    d.box(316, 24, 70, 150, 'layer L')
    d.arrow((386, 98), (414, 98))
    d.box(414, 76, 56, 44, 'head', 'learnt')
    d.text(49, 188, 'tokens', 'soft')
    d.text(109, 188, 'learnt', 'trained-ink')
    return d


def prepended_pixel() -> Drawing:
    d = Drawing(480, 200, 'Learnt patches of pixels go through the frozen patch embedding')
    for number in range(3):
        d.box(20 + 28 * number, 28, 24, 24, kind='learnt')
    d.text(60, 70, 'P patches', 'trained-ink')
    d.picture(20, 90, 80)
    d.text(60, 188, 'image', 'soft')
    d.arrow((104, 40), (140, 40), (140, 90))
    d.arrow((100, 130), (120, 130))
    d.box(120, 90, 62, 76, 'patch\nembed-\nding', size=12)
    d.arrow((182, 128), (206, 128))
    d.tokens(210, 54, 'cpppeee', 16, 4, down=True)
    d.arrow((230, 122), (252, 122))
    d.box(252, 54, 96, 136, 'frozen\nlayers')
    d.arrow((348, 122), (372, 122))
    d.box(372, 98, 60, 48, 'head', 'learnt')
    return d


def coupled() -> Drawing:
    d = Drawing(480, 220, 'Linear maps make the prompts of the image tower of those of the text tower')
    d.text(90, 22, 'text tower', bold=True)
    d.text(380, 22, 'image tower', bold=True)
    for number, y in enumerate((40, 100, 160)):
        d.box(20, y, 60, 40, f'layer {number + 1}', size=12)
        d.tokens(92, y + 12, 'pp', 16)
        d.arrow((134, y + 20), (172, y + 20), kind='trained')
        d.box(172, y + 4, 90, 32, f'A{number + 1} P + b{number + 1}', 'learnt', 12)
        d.arrow((262, y + 20), (296, y + 20), kind='trained')
        d.tokens(300, y + 12, 'pp', 16)
        d.arrow((338, y + 20), (356, y + 20))
        d.box(356, y, 60, 40, f'layer {number + 1}', size=12)
        if number:
            d.arrow((50, y - 20), (50, y))
            d.arrow((386, y - 20), (386, y))
    return d


def side() -> Drawing:
    d = Drawing(480, 190, 'A small network next to the frozen one, blended at the end')
    d.picture(20, 50, 80)
    d.path([(100, 90), (116, 90)])
    d.arrow((116, 90), (116, 50), (140, 50))
    d.arrow((116, 90), (116, 134), (140, 134))
    d.box(140, 20, 130, 60, 'frozen network f')
    d.box(140, 110, 130, 48, 'AlexNet g', 'learnt')
    d.arrow((270, 50), (330, 50), (330, 76))
    d.arrow((270, 134), (330, 134), (330, 104), kind='trained')
    d.circle(330, 90, 13, 'α', 'learnt')
    d.arrow((344, 90), (380, 90))
    d.box(380, 66, 70, 48, 'head', 'learnt')
    return d


def block(title: str, height: int = 190) -> Drawing:
    """A layer of a vision transformer: norm, attention, sum, norm, MLP, sum."""
    d = Drawing(480, height, title)
    y = 96
    d.arrow((14, y), (36, y))
    d.box(36, y - 24, 46, 48, 'LN')
    d.arrow((82, y), (96, y))
    d.box(96, y - 24, 84, 48, 'attention')
    d.arrow((180, y), (206, y))
    d.circle(216, y, 10, '+')
    d.arrow((226, y), (248, y))
    d.box(248, y - 24, 46, 48, 'LN')
    d.arrow((294, y), (314, y))
    d.box(314, y - 24, 60, 48, 'MLP')
    d.arrow((374, y), (434, y))
    d.circle(444, y, 10, '+')
    d.arrow((454, y), (474, y))
    d.path([(22, y), (22, 36), (216, 36)])
    d.arrow((216, 36), (216, y - 10))
    d.path([(236, y), (236, 36), (444, 36)])
    d.arrow((444, 36), (444, y - 10))
    return d


def adapter() -> Drawing:
    d = block('A bottleneck after the MLP of a layer')
    d.box(388, 80, 36, 32, kind='learnt')
    d.text(406, 100, 'AD', 'on-learnt', 12)
    d.path([(406, 112), (406, 140)], 'trained-line', dashed=True)
    d.box(330, 140, 140, 34, 'up · GELU · down', 'paper')
    return d


def adaptformer() -> Drawing:
    d = block('A bottleneck next to the MLP of a layer')
    d.path([(304, 96), (304, 150)], 'trained-line')
    d.arrow((304, 150), (318, 150), kind='trained')
    d.box(318, 134, 64, 32, 'down, up', 'learnt', 12)
    d.arrow((382, 150), (404, 150), (404, 110), kind='trained')
    d.circle(404, 96, 10, '+')
    d.text(420, 154, '× s', 'trained-ink')
    return d


def low_rank_update(title: str, boxes: list[tuple[float, float, str]], factor: str) -> Drawing:
    """A frozen map, and learnt ones next to it, each with its left edge, its width and its name."""
    d = Drawing(480, 190, title)
    d.text(40, 84, 'x', size=16)
    d.arrow((54, 79), (120, 79))
    d.box(120, 30, 100, 98, 'W\nfrozen')
    d.arrow((220, 79), (330, 79))
    d.circle(342, 79, 12, '+')
    d.arrow((354, 79), (420, 79))
    d.text(436, 84, 'y', size=16)
    d.path([(84, 79), (84, 158)], 'trained-line')
    end = 84.0
    for x, width, name in boxes:
        d.arrow((end, 158), (x, 158), kind='trained')
        d.box(x, 146, width, 24, name, 'learnt')
        end = x + width
    d.arrow((end, 158), (342, 158), (342, 95), kind='trained')
    d.text(280, 178, factor, 'trained-ink')
    return d


def lora() -> Drawing:
    boxes = [(120.0, 44.0, 'A'), (182.0, 38.0, 'B')]
    return low_rank_update('A low-rank update of a frozen linear map', boxes, '× alpha / r')


def fact() -> Drawing:
    boxes = [(104.0, 34.0, 'U'), (152.0, 34.0, 'Gᵢ'), (200.0, 34.0, 'V')]
    d = low_rank_update('A low-rank update whose outer maps U and V belong to all maps of the network', boxes, '× s')
    d.text(186, 140, 'U and V: of all maps', 'trained-ink', 11)
    return d


def rep_adapter() -> Drawing:
    d = block('A linear bottleneck after both norms of a layer, which is merged into the maps that read them')
    for x in (89, 304):
        d.box(x - 7, 84, 14, 24, kind='learnt')
        d.path([(x, 108), (x, 140)], 'trained-line', dashed=True)
    d.box(40, 140, 400, 30, 'y ← y + s (B (A y + a) + b), merged into the next map', 'paper')
    return d


def convpass() -> Drawing:
    d = block('A bottleneck with a convolution next to attention and next to the MLP of a layer')
    for start, left, end in ((89, 100, 193), (304, 316, 404)):
        d.path([(start, 96), (start, 150)], 'trained-line')
        d.arrow((start, 150), (left, 150), kind='trained')
        d.box(left, 130, 74, 40, 'down, 3 × 3,\nup', 'learnt', 11)
        d.arrow((left + 74, 150), (end, 150), (end, 105), kind='trained')
        d.circle(end, 96, 8, '+')
    return d


def branches(title: str, parts: list[tuple[str, str]], height: int = 190) -> Drawing:
    """A stream of tokens with a shortcut around each part: its name and its kind."""
    d = Drawing(480, height, title)
    step, y = 456 / len(parts), 84
    for number, (name, kind) in enumerate(parts):
        x = 12 + step * number
        d.arrow((x - 6, y), (x + 22, y))
        d.box(x + 22, y - 26, step - 62, 52, name, kind, 12)
        d.arrow((x + step - 40, y), (x + step - 26, y))
        d.circle(x + step - 16, y, 10, '+')
        d.path([(x + 8, y), (x + 8, 32), (x + step - 16, 32)])
        d.arrow((x + step - 16, 32), (x + step - 16, y - 10))
    d.arrow((462, y), (478, y))
    return d


def adapter_plus() -> Drawing:
    d = branches(
        'A bottleneck with a learnt scale of each channel after a layer',
        [('LN,\nattention', 'frozen'), ('LN, MLP', 'frozen'), ('AD+', 'learnt')],
    )
    d.path([(383, 110), (383, 140)], 'trained-line', dashed=True)
    d.box(286, 140, 190, 34, 'down · GELU · up · × s', 'paper')
    return d


def mona() -> Drawing:
    d = branches(
        'A bottleneck with convolutions of three sizes after attention and after the MLP of a layer',
        [('LN,\natten-\ntion', 'frozen'), ('Mona', 'learnt'), ('LN,\nMLP', 'frozen'), ('Mona', 'learnt')],
    )
    for x in (174, 402):
        d.path([(x, 110), (x, 140)], 'trained-line', dashed=True)
    d.box(60, 140, 400, 34, 'norm · down · 3 × 3, 5 × 5, 7 × 7 · 1 × 1 · GELU · up', 'paper')
    return d


def cross() -> Drawing:
    d = branches(
        'Between attention and MLP, tokens attend to learnt prompts by themselves',
        [('LN,\nattention', 'frozen'), ('cross-\nattention', 'frozen'), ('LN, MLP', 'frozen')],
    )
    d.tokens(204, 144, 'pppp', 16)
    d.arrow((242, 144), (242, 114), kind='trained')
    d.text(242, 180, 'keys and values: P', 'trained-ink', 12)
    return d


def rein() -> Drawing:
    d = branches(
        'After a layer, patches are refined by learnt tokens',
        [('LN,\nattention', 'frozen'), ('LN, MLP', 'frozen'), ('refine', 'learnt')],
    )
    d.tokens(328, 144, 'pppppp', 14)
    d.arrow((383, 144), (383, 114), kind='trained')
    d.text(383, 180, 'T = A B, rank r', 'trained-ink', 12)
    d.text(200, 158, 'patches alone: no prefix token', 'soft', 12)
    return d


def prefix() -> Drawing:
    d = Drawing(480, 200, 'Learnt keys and values stand before those of the image in attention')
    d.tokens(20, 46, 'ceeee', 18, 4, down=True)
    d.arrow((42, 99), (62, 99))
    d.box(62, 44, 64, 110, 'LN,\nmaps of\nQ, K, V', size=12)
    for y, name, learnt in ((44, 'Q', ''), (90, 'K', 'pp'), (136, 'V', 'pp')):
        d.text(146, y + 14, name, size=13)
        d.tokens(166, y, learnt or '  ', 18, 4)
        d.tokens(216, y, 'ceeee', 18, 4)
        d.arrow((330, y + 9), (352, y + 9))
    d.arrow((126, 99), (136, 99))
    d.text(186, 180, 'of each head', 'trained-ink', 12)
    d.box(352, 34, 84, 130, 'attention')
    d.arrow((436, 99), (470, 99))
    return d


def gated() -> Drawing:
    d = Drawing(480, 215, 'A gate after each layer mixes what entered it with what it made of the prompts')
    d.tokens(14, 61, 'pp', 16)
    d.tokens(14, 132, 'ce', 16)
    for x, name in ((82, 'layer 1'), (234, 'layer 2'), (400, 'layer L')):
        d.box(x, 42, 62, 124, name)
    for x, gate, after in ((64, 186, 234), (214, 338, 372)):
        d.path([(x, 69), (x, 22), (gate, 22)], 'trained-line')
        d.arrow((gate, 22), (gate, 56), kind='trained')
        d.circle(gate, 69, 13, 'g', 'learnt')
        d.arrow((gate + 13, 69), (after, 69))
    for start, end, y in (
        (50, 82, 69),
        (144, 173, 69),
        (296, 325, 69),
        (50, 82, 140),
        (144, 234, 140),
        (296, 372, 140),
    ):
        d.arrow((start, y), (end, y))
    for y in (69, 140):
        d.text(386, y + 4, '…', size=16)
    d.arrow((462, 140), (478, 140))
    d.text(230, 196, 'g: the share of the output that goes on', 'trained-ink', 12)
    return d


def fourier() -> Drawing:
    d = Drawing(480, 190, 'The first prompts of a layer are replaced by their Fourier transform')
    d.box(24, 34, 100, 52, 'X: M prompts', 'learnt', 12)
    d.box(24, 96, 100, 52, 'other prompts', 'learnt', 12)
    d.arrow((124, 60), (156, 60))
    d.box(156, 38, 84, 44, 'Re FFT2', 'paper')
    d.arrow((240, 60), (270, 60))
    d.box(270, 38, 60, 44, 'T(X)', 'paper')
    d.arrow((330, 60), (366, 60))
    d.arrow((124, 122), (366, 122))
    d.box(366, 26, 70, 130, 'layer i')
    d.arrow((436, 91), (470, 91))
    d.text(74, 174, 'P = M + others', 'trained-ink', 12)
    return d


def adaptive() -> Drawing:
    d = Drawing(480, 200, 'A small network makes the prompts of a layer of the patches that enter it')
    d.tokens(16, 104, 'eeee', 16, 4, down=True)
    d.arrow((36, 142), (418, 142))
    d.path([(50, 142), (50, 60)], 'trained-line')
    d.arrow((50, 60), (70, 60), kind='trained')
    end = 70.0
    for width, name in ((38.0, 'LN'), (44.0, 'k ∗'), (38.0, 'W')):
        d.box(end, 42, width, 36, name, 'learnt')
        d.arrow((end + width, 60), (end + width + 16, 60), kind='trained')
        end += width + 16
    d.box(end, 42, 30, 36, 'Z', 'paper')
    d.arrow((end + 30, 60), (372, 60), kind='trained')
    d.arrow((end + 42, 60), (end + 42, 102), (end + 54, 102), kind='trained')
    d.box(end + 54, 90, 76, 24, 'W₂ relu W₁', 'learnt', 12)
    d.arrow((end + 130, 102), (382, 102), (382, 70), kind='trained')
    d.circle(382, 60, 10, '+')
    d.arrow((392, 60), (418, 60), kind='trained')
    d.text(404, 48, 'P', 'trained-ink')
    d.box(418, 30, 52, 140, 'layer l')
    d.text(220, 164, 'patches', 'soft', 12)
    return d


def explicit() -> Drawing:
    d = Drawing(480, 200, 'Vectors made of the edges of an image and of its patches are added before every layer')
    d.picture(10, 24, 64)
    d.arrow((74, 50), (92, 50))
    d.box(92, 28, 56, 44, 'high\npass')
    d.arrow((148, 50), (164, 50))
    d.box(164, 32, 36, 36, 'h', 'learnt')
    d.arrow((200, 50), (226, 50), kind='trained')
    d.circle(238, 50, 12, '+')
    d.arrow((250, 50), (270, 50), kind='trained')
    d.box(270, 32, 40, 36, 'Wᵢ', 'learnt')
    d.arrow((310, 50), (328, 50), kind='trained')
    d.box(328, 32, 44, 36, 'up', 'learnt')
    d.arrow((372, 50), (392, 50), (392, 136), kind='trained')
    d.arrow((42, 88), (42, 148), (92, 148))
    d.box(92, 122, 56, 54, 'patch\nembed-\nding', size=12)
    d.arrow((148, 148), (380, 148))
    d.arrow((238, 148), (238, 122), kind='trained')
    d.box(218, 92, 40, 30, 'Wₑ', 'learnt')
    d.arrow((238, 92), (238, 62), kind='trained')
    d.circle(392, 148, 12, '+')
    d.arrow((404, 148), (418, 148))
    d.box(418, 118, 52, 60, 'layer i', size=12)
    return d


def prompt_pools() -> Drawing:
    d = Drawing(480, 230, 'The feature of the frozen network chooses prompts of a pool by their keys')
    d.picture(14, 22, 66)
    d.arrow((80, 55), (100, 55))
    d.box(100, 22, 84, 66, 'frozen\nnetwork')
    d.arrow((184, 55), (206, 55))
    d.box(206, 38, 44, 34, 'q(x)', 'paper')
    d.arrow((250, 55), (284, 55))
    d.text(267, 46, 'cos', 'soft', 11)
    for number in range(4):
        y = 20 + 20 * number
        d.box(288, y, 28, 15, 'k', 'learnt', 11)
        d.tokens(326, y, 'ppp', 15, 4)
    for y in (27, 67):
        d.path([(380, y), (404, y)], 'trained-line')
    d.path([(404, 27), (404, 126), (250, 126)], 'trained-line')
    d.arrow((250, 126), (250, 150), kind='trained')
    d.text(348, 112, 'chosen', 'trained-ink', 12)
    d.path([(47, 88), (47, 178)])
    d.arrow((47, 178), (160, 178))
    d.box(160, 150, 180, 56, 'frozen network')
    d.arrow((340, 178), (372, 178))
    d.box(372, 154, 64, 48, 'head', 'learnt')
    return d


def ssf() -> Drawing:
    d = block('A scale and a shift after every norm and every linear map')
    for x in (89, 193, 304, 404):
        d.box(x - 7, 84, 14, 24, kind='learnt')
        d.path([(x, 108), (x, 140)], 'trained-line', dashed=True)
    d.box(70, 140, 360, 30, 'y ← γ · y + β   at each of these places', 'paper')
    return d


def context() -> Drawing:
    d = Drawing(480, 220, 'Learnt word vectors stand before the class name')
    for number, name in enumerate(('V1', 'V2', '…', 'VM')):
        d.box(20 + 38 * number, 30, 34, 30, name, 'learnt', 12)
    d.box(176, 30, 62, 30, 'cat', 'paper')
    d.arrow((238, 45), (262, 45))
    d.box(262, 20, 84, 50, 'text\ntower')
    d.arrow((346, 45), (386, 45), (386, 92))
    d.picture(60, 120, 76)
    d.arrow((136, 158), (262, 158))
    d.box(262, 128, 84, 60, 'image\ntower')
    d.arrow((346, 158), (386, 158), (386, 122))
    d.box(346, 92, 80, 30, 'cosine', 'paper')
    d.arrow((426, 107), (444, 107))
    d.text(462, 112, 'logits', size=12)
    return d


def conditional_context() -> Drawing:
    d = Drawing(480, 240, 'The word vectors are shifted by what a small network makes of the image')
    for number, name in enumerate(('V1', 'V2', '…', 'VM')):
        d.box(20 + 38 * number, 30, 34, 30, name, 'learnt', 12)
    d.box(176, 30, 62, 30, 'cat', 'paper')
    d.arrow((238, 45), (262, 45))
    d.box(262, 20, 84, 50, 'text\ntower')
    d.arrow((346, 45), (386, 45), (386, 92))
    d.picture(20, 150, 70)
    d.arrow((90, 185), (262, 185))
    d.box(262, 155, 84, 60, 'image\ntower')
    d.arrow((346, 185), (386, 185), (386, 122))
    d.box(346, 92, 80, 30, 'cosine', 'paper')
    d.arrow((426, 107), (444, 107))
    d.text(462, 112, 'logits', size=12)
    d.path([(304, 155), (304, 107), (150, 107)], 'trained-line')
    d.arrow((304, 107), (150, 107), kind='trained')
    d.box(110, 92, 40, 30, 'π', 'learnt', 15)
    d.arrow((92, 107), (92, 64), kind='trained')
    d.path([(110, 107), (92, 107)], 'trained-line')
    d.text(72, 92, '+', 'trained-ink', 15)
    return d


def no_prompter() -> Drawing:
    d = Drawing(480, 230, 'What trains: linear probe, partial, bias, full fine-tuning')
    rows = [
        ('linear probe', ['frozen'] * 4, 'head'),
        ('partial-1', ['frozen'] * 3 + ['learnt'], 'head and the last layer'),
        ('bias', ['bias'] * 4, 'head and all biases'),
        ('full', ['learnt'] * 4, 'everything'),
    ]
    for number, (name, layers, what) in enumerate(rows):
        y = 20 + 52 * number
        d.text(16, y + 24, name, anchor='start')
        for place, kind in enumerate(layers):
            d.box(110 + 38 * place, y, 32, 38, kind='learnt' if kind == 'learnt' else 'frozen')
            if kind == 'bias':
                d.box(110 + 38 * place + 4, y + 28, 24, 6, kind='learnt')
        d.box(266, y + 4, 40, 30, 'head', 'learnt', 12)
        d.text(320, y + 24, what, 'soft', anchor='start')
    return d


def mapping() -> Drawing:
    d = Drawing(480, 230, 'A label mapping reads the classes of the network as those of a task')
    d.box(20, 70, 80, 80, 'frozen\nnetwork')
    d.arrow((100, 110), (124, 110))
    names = ('goldfish', 'tabby', 'kite', 'airliner', 'collie')
    for number, name in enumerate(names):
        d.box(128, 18 + 40 * number, 92, 30, name)
    for number, name in enumerate(('cat', 'dog', 'bird')):
        d.box(360, 50 + 50 * number, 92, 30, name, 'learnt')
    for source, target in ((1, 0), (4, 1), (2, 2)):
        start, end = 33 + 40 * source, 65 + 50 * target
        d.path([(220, start), (290, start), (310, end), (340, end)], 'trained-line')
        d.arrow((340, end), (360, end), kind='trained')
    d.text(174, 224, 'K classes', 'soft')
    d.text(406, 214, 'C classes', 'trained-ink')
    return d


CONCEPTS: list[Callable[[], Drawing]] = [doors, loop, hook, memory]
METHODS: list[Callable[[], Drawing]] = [
    *(shallow, deep, added, prepended_pixel, coupled, side),
    *(border, patch, pixel, low_rank, reprogram, scale, sample_mask, coordinator, pad, channel),
    *(prefix, gated, fourier, cross, adaptive, explicit, rein, prompt_pools),
    *(adapter, adapter_plus, adaptformer, lora, ssf, fact, rep_adapter, convpass, mona),
    *(context, conditional_context),
    *(no_prompter, mapping),
]


def files() -> dict[Path, str]:
    """Every file that this script writes, with what belongs in it."""
    drawn = {ASSETS / f'{draw.__name__}.svg': draw().svg() for draw in CONCEPTS}
    drawn |= {ASSETS / 'methods' / f'{draw.__name__}.svg': draw().svg() for draw in METHODS}
    return drawn | {ASSETS / 'figures.css': stylesheet() + '\n'}


def main() -> None:
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == '__main__':
    main()
