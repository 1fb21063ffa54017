"""The page, in headless Chromium, as a person uses it: with the mouse, and with the keyboard alone."""

import shutil
from contextlib import contextmanager
from threading import Thread
from time import sleep

import pytest
import served
from served import picture, write_task

pytestmark = pytest.mark.slow


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


@pytest.fixture(params=[(390, 844), (1280, 900)], ids=['narrow', 'wide'])
def page(request, browser, place):
    """The page, on a narrow and on a wide screen; asks for nothing from elsewhere and logs no error."""
    context = browser.new_context(viewport=dict(zip(('width', 'height'), request.param, strict=True)))
    context.grant_permissions(['camera'], origin=place[0].rstrip('/'))
    page = context.new_page()
    errors, asked = [], []
    page.on('pageerror', lambda error: errors.append(str(error)))
    page.on('request', lambda found: asked.append(found.url))
    page.goto(place[0])
    page.wait_for_function("document.querySelectorAll('#task option').length > 1")
    yield page
    assert not errors
    assert all(url.startswith((place[0], 'blob:', 'data:')) for url in asked), asked
    assert page.evaluate('document.documentElement.scrollWidth <= window.innerWidth')
    context.close()


def test_a_picture_under_all_tasks_and_its_attention(page, place):
    page.set_input_files('#file', place[1] / 'cat.png')
    page.get_by_role('button', name='Classify').click()
    page.get_by_text('2 answers.').wait_for()
    cards = page.locator('.answer')
    assert cards.count() == 2 and cards.nth(0).locator('h3 span').inner_text() == 'deep'
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


def test_a_task_is_uploaded(page, place):
    page.get_by_text('Add or replace a task').click()
    page.get_by_label('Prompt file').set_input_files(place[1] / 'new task.safetensors')
    assert page.get_by_label('Name', exact=True).input_value() == 'new-task'
    page.get_by_role('button', name='Upload').click()
    page.locator('#added.bad').wait_for()
    assert 'Authorization' in page.locator('#added').inner_text()
    page.get_by_label('Token', exact=True).fill(served.TOKEN)
    page.get_by_role('button', name='Upload').click()
    page.get_by_text('new-task is there').wait_for()
    assert page.get_by_label('Task', exact=True).input_value() == 'new-task'
    page.set_input_files('#file', place[1] / 'cat.png')
    page.get_by_role('button', name='Classify').click()
    page.get_by_text('1 answer.').wait_for()
    (place[1] / 'prompts' / 'new-task.safetensors').unlink()


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
