"""The page, in headless Chromium, as a person uses it: with the mouse, and with the keyboard alone."""

import shutil
from contextlib import contextmanager
from threading import Thread
from time import sleep

import pytest
import segruns
import served
import test_masks
from served import picture, write_task

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize('size', [(390, 844), (1280, 900)], ids=['narrow', 'wide'], indirect=True),
]


@contextmanager
def listening(app):
    """The application on a free port of this machine."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, host='127.0.0.1', port=0, log_level='warning'))
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        sleep(0.05)
    yield f'http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/'
    server.should_exit = True
    thread.join(10)


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """The address of a server of two tasks, and files to choose."""
    folder = tmp_path_factory.mktemp('page')
    config = served.fixed(served.write_config(folder), folder)
    client, backend = served.serve(config, folder / 'prompts')
    for number, (name, tokens) in enumerate(dict(deep=3, probe=0).items()):
        backend.engine.bank.add(name, write_task(config, folder / f'{name}.safetensors', number, tokens))
    write_task(config, folder / 'new task.safetensors', 7, 5, ['one', 'two'])
    (folder / 'cat.png').write_bytes(picture(3, (90, 120)))
    (folder / 'broken.png').write_bytes(picture(3, (90, 120))[:4000])
    with listening(client.app) as address:
        yield address, folder


@pytest.fixture(scope='module')
def scenes(tmp_path_factory):
    """The same of a segmentor."""
    folder = tmp_path_factory.mktemp('scenes')
    segruns.weights(folder / 'weights.pth')
    config = segruns.seg_config(folder, folder)
    client, backend = served.serve(config, folder / 'prompts')
    for name, classes in dict(parts=('leaf', 'stem'), scene=segruns.CLASSES).items():
        path = test_masks.write_task(config, folder / f'{name}.safetensors', classes, seed=len(classes))
        backend.engine.bank.add(name, path)
    (folder / 'scene.png').write_bytes(picture(5, (90, 120)))
    with listening(client.app) as address:
        yield address, folder


@pytest.fixture(scope='module')
def browser():
    from playwright.sync_api import sync_playwright

    chromium = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
    assert chromium, 'these tests need a Chromium, such as the package chromium of Debian'
    quiet = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-background-networking', '--disable-sync']
    camera = ['--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream']
    with sync_playwright() as play:
        found = play.chromium.launch(executable_path=chromium, args=[*quiet, '--disable-component-update', *camera])
        yield found
        found.close()


@contextmanager
def opened(browser, address, size):
    """The page on a screen of a size; asks for nothing from elsewhere and logs no error."""
    context = browser.new_context(viewport=dict(zip(('width', 'height'), size, strict=True)))
    context.grant_permissions(['camera'], origin=address.rstrip('/'))
    page = context.new_page()
    errors, asked = [], []
    page.on('pageerror', lambda error: errors.append(str(error)))
    page.on('console', lambda message: errors.append(message.text) if message.type == 'error' else None)
    page.on('request', lambda found: asked.append(found.url))
    page.goto(address)
    # No function that polls: the page forbids eval.
    page.locator('#task option').nth(1).wait_for(state='attached')
    yield page
    assert not [error for error in errors if 'status of 4' not in error]  # what Chromium says of a refused request
    assert all(url.startswith((address, 'blob:', 'data:')) for url in asked), asked
    assert page.evaluate('document.documentElement.scrollWidth <= window.innerWidth')
    context.close()


@pytest.fixture
def size(request):
    return request.param


@pytest.fixture
def page(size, browser, place):
    with opened(browser, place[0], size) as page:
        yield page


@pytest.fixture
def scene(size, browser, scenes):
    """The page of a segmentor, with a picture."""
    with opened(browser, scenes[0], size) as page:
        page.set_input_files('#file', scenes[1] / 'scene.png')
        yield page


def test_a_picture_under_all_tasks_and_its_attention(page, place):
    page.set_input_files('#file', place[1] / 'cat.png')
    page.get_by_role('button', name='Classify').click()
    page.get_by_text('2 answers.').wait_for()
    cards = page.locator('.answer')
    assert cards.count() == 2 and cards.nth(0).locator('h3').inner_text() == 'deep'
    assert cards.nth(0).locator('li').count() == 3
    shares = [float(text.split()[0]) for text in cards.nth(0).locator('.number').all_inner_texts()]
    assert shares == sorted(shares, reverse=True) and abs(sum(shares) - 100) < 0.5
    page.get_by_role('button', name='Show attention under deep').click()
    page.get_by_text('to 3 prompts').wait_for()
    assert page.locator('#overlay').is_visible() and page.locator('#prompts b').count() == 3
    page.locator('#layer').fill('1')
    page.get_by_text('1 of 2').wait_for()
    painted = "(c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v))"
    assert page.evaluate(f"{painted}(document.getElementById('overlay'))")
    page.get_by_role('button', name='Show attention under deep').click()
    assert page.locator('#overlay').is_hidden()


def test_a_picture_that_is_dropped_under_one_task(page):
    page.get_by_label('Task', exact=True).select_option('probe')
    page.evaluate("""async () => {
        const canvas = new OffscreenCanvas(50, 40);
        canvas.getContext('2d').fillRect(5, 5, 20, 20);
        const files = new DataTransfer();
        files.items.add(new File([await canvas.convertToBlob()], 'dropped.png', {type: 'image/png'}));
        document.getElementById('drop').dispatchEvent(new DragEvent('drop', {dataTransfer: files, bubbles: true}));
    }""")
    assert page.get_by_alt_text('The chosen picture: dropped.png').is_visible()
    page.get_by_role('button', name='Classify').click()
    page.get_by_text('1 answer.').wait_for()


def test_the_camera(page):
    page.get_by_role('button', name='Use the camera').click()
    page.get_by_role('button', name='Take the picture').click()
    page.locator('#picture').wait_for()
    page.get_by_role('button', name='Classify').click()
    page.get_by_text('2 answers.').wait_for()
    assert page.get_by_role('button', name='Use the camera').get_attribute('aria-expanded') == 'false'


def test_a_picture_that_is_broken(page, place):
    page.set_input_files('#file', place[1] / 'broken.png')
    page.get_by_role('button', name='Classify').click()
    page.locator('#status.bad').wait_for()
    assert 'cannot be decoded' in page.locator('#status').inner_text()


def test_a_file_that_does_not_fit_leaves_the_other_tasks(page, place):
    spoiled = place[1] / 'prompts' / f'{"spoiled" * 9}.safetensors'
    spoiled.write_bytes(b'no prompt file')
    try:
        page.reload()
        page.get_by_text(f'Left out: {spoiled.name}').wait_for()
        page.set_input_files('#file', place[1] / 'cat.png')
        page.get_by_role('button', name='Classify').click()
        page.get_by_text(f'2 answers. Left out: {spoiled.name}').wait_for()
    finally:
        spoiled.unlink()
    assert page.locator('.answer').count() == 2


def test_answers_to_another_picture_are_not_shown(page, place):
    page.evaluate("""() => {
        const own = window.fetch;
        window.fetch = (...given) => new Promise(go => { window.go = go; }).then(() => own(...given));
    }""")
    page.set_input_files('#file', place[1] / 'cat.png')
    page.get_by_role('button', name='Classify').click()
    page.set_input_files('#file', place[1] / 'broken.png')
    with page.expect_response('**/predict') as answer:
        page.evaluate('window.go()')
    assert len(answer.value.json()['answers']) == 2
    page.get_by_text('Choose a picture and a task.').wait_for()
    assert page.locator('.answer').count() == 0


def test_a_task_is_uploaded(page, place):
    page.get_by_text('Add or replace a task').click()
    page.get_by_label('Prompt file').set_input_files(place[1] / 'new task.safetensors')
    assert page.get_by_label('Name', exact=True).input_value() == 'new-task'
    page.get_by_role('button', name='Upload').click()
    page.locator('#added.bad').wait_for()
    assert 'Authorization' in page.locator('#added').inner_text()
    page.get_by_label('Token', exact=True).fill(served.TOKEN)
    try:
        page.get_by_role('button', name='Upload').click()
        page.get_by_text('new-task is there').wait_for()
        assert page.get_by_label('Task', exact=True).input_value() == 'new-task'
        page.set_input_files('#file', place[1] / 'cat.png')
        page.get_by_role('button', name='Classify').click()
        page.get_by_text('1 answer.').wait_for()
    finally:
        (place[1] / 'prompts' / 'new-task.safetensors').unlink(missing_ok=True)


def test_with_the_keyboard_alone(page, place):
    """Everything that can be done is reached by Tab, has a name and shows where the focus is."""
    page.set_input_files('#file', place[1] / 'cat.png')
    reached = []
    for _ in range(12):
        page.keyboard.press('Tab')
        facts = page.evaluate(
            "(e => [e.id || e.tagName, e.labels?.[0]?.innerText || e.innerText || e.getAttribute('aria-label') || '', "
            'getComputedStyle(e).outlineStyle])(document.activeElement)'
        )
        if facts[0] == 'BODY':
            break
        reached.append(facts[0])
        assert facts[1].strip() and facts[2] != 'none', facts
    assert reached[:4] == ['choose', 'camera', 'task', 'go']
    page.locator('#go').focus()
    page.keyboard.press('Enter')
    page.get_by_text('2 answers.').wait_for()


def test_what_a_screen_reader_is_told(page):
    assert page.locator('html').get_attribute('lang') == 'en' and page.title()
    named = 'button, input, select, img, canvas, video'
    unnamed = page.evaluate(f"""() => [...document.querySelectorAll('{named}')].filter(e =>
        !(e.textContent.trim() || e.labels?.length || e.getAttribute('aria-label') || e.alt)).map(e => e.id)""")
    assert unnamed == []
    assert page.locator('[role=status][aria-live=polite]').count() == 2


def test_the_classes_of_pixels_over_the_picture(scene):
    """Under all tasks: the first is shown; each is under its own button; the legend has names, colours and shares."""
    scene.get_by_role('button', name='Segment').click()
    scene.get_by_text('2 answers.').wait_for()
    mask, first, second = (
        scene.locator('#mask'),
        *(scene.get_by_role('button', name=f'Show classes under {task}') for task in ('parts', 'scene')),
    )
    assert first.get_attribute('aria-pressed') == 'true' and mask.is_visible()
    assert mask.evaluate('image => [image.naturalWidth, image.naturalHeight]') == [120, 90]
    assert mask.bounding_box() == scene.locator('#picture').bounding_box()
    second.click()
    assert [button.get_attribute('aria-pressed') for button in (first, second)] == ['false', 'true']
    card = scene.locator('.answer').nth(1)
    lines = card.locator('li').all_inner_texts()
    said = scene.locator('#mask').get_attribute('alt')
    assert said.startswith('Classes of the pixels under scene: ') and lines
    for line in lines:
        name, share = line.split('\n')
        assert f'{name} {share}' in said and name in segruns.CLASSES
    colours = card.locator('li b').evaluate_all('all => all.map(part => getComputedStyle(part).backgroundColor)')
    assert set(colours) <= {f'rgb({r}, {g}, {b})' for r, g, b in segruns.COLOURS.tolist()}
    scene.get_by_label('Opacity of the classes').fill('25')
    assert mask.evaluate('image => image.style.opacity') == '0.25'
    second.click()
    assert mask.is_hidden() and scene.locator('#fade').is_hidden()


def test_classes_and_attention_take_turns(scene):
    scene.get_by_label('Task', exact=True).select_option('scene')
    scene.get_by_role('button', name='Segment').click()
    scene.get_by_text('1 answer.').wait_for()
    scene.get_by_role('button', name='Show attention under scene').click()
    scene.get_by_text('to 3 prompts').wait_for()
    assert scene.locator('#overlay').is_visible() and scene.locator('#mask').is_hidden()
    scene.get_by_role('button', name='Show classes under scene').focus()
    scene.keyboard.press('Enter')
    assert scene.locator('#mask').is_visible() and scene.locator('#overlay').is_hidden()
    assert scene.locator('#looking').is_hidden()
