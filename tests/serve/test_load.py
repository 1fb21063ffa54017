"""What clients of a server measure."""

import http.server
import json
import threading
import time

import pytest
import runs

from vptx.serve.load import Round, ask, draw_requests, load, markdown, measure


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers with the task, later the longer its name is; ``'none'`` is not found, and ``'cut'`` gets no answer."""

    def do_POST(self) -> None:
        task = json.loads(self.rfile.read(int(self.headers['content-length'])))['task']
        time.sleep(0.02 * len(task))
        if task == 'cut':
            self.connection.close()
            return
        content = json.dumps(dict(task=task)).encode()
        self.send_response(404 if task == 'none' else 200)
        self.send_header('content-length', str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_) -> None:
        """Nothing."""


@pytest.fixture
def address():
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()
    server.server_close()


def test_answers_are_in_the_order_of_the_requests(address):
    names = ['longest', 'a', 'none', 'cut', 'b']
    found = list(load(address, [dict(task=name) for name in names], clients=5))
    assert [reply.status for reply in found] == [200, 200, 404, 0, 200]
    assert [reply.json.get('task') for reply in found] == ['longest', 'a', 'none', None, 'b']
    assert found[0].seconds > 0.14 > 0.02
    assert ask(address.replace('127.0.0.1', '127.0.0.2'), 'GET', '/').status in (0, 501)


def test_each_kind_is_asked_in_each_round(address):
    kinds = dict(short=[dict(task='a')] * 4, long=[dict(task='abcdef')] * 4)
    found = measure(address, kinds, rounds=2, clients=2)
    assert [len(each.seconds) for rounds in found.values() for each in rounds] == [4] * 4
    assert all(long.percentile(50) > 0.12 for long in found['long'])
    with pytest.raises(RuntimeError, match='answered with status 404'):
        measure(address, dict(bad=[dict(task='none')]))


def test_the_table():
    """Ratios are of one round; times are medians over rounds."""
    one, two = Round([0.1] * 100, 1.0), Round([0.1] * 98 + [0.3] * 2, 1.25)
    assert one.throughput == 100 and two.throughput == 80
    assert two.percentile(50) == 0.1 and two.percentile(99) == pytest.approx(0.3)
    lines = markdown({'1 task': [one, one, one], '50 tasks': [two, one, two]}).splitlines()
    same = '100.0 (1.00, 1.00 to 1.00)'
    assert lines[2] == f'| 1 task | {same} | {same} | {same} |'
    assert lines[3] == f'| 50 tasks | 80.0 (0.80, 0.80 to 1.00) | {same} | 300.0 (3.00, 1.00 to 3.00) |'


def test_drawn_requests_are_the_same_every_time():
    first, second = (draw_requests(['a', 'b'], 6, size=8) for _ in range(2))
    assert first == second and {each['task'] for each in first} == {'a', 'b'}
    assert len({each['image'] for each in first}) == 6


@pytest.mark.slow
def test_the_command():
    """On a real Ray Serve: as many tasks are drawn as are asked for."""
    options = ['--tasks', 1, 3, '--requests', 8, '--rounds', 1, '--clients', 2, '--size', 32, '--port', 8178]
    done = runs.tool('benchmark_server', 'mini_vtab/vpt_deep', *options, seconds=900)
    assert '| 1 task | ' in done.stdout and '| 3 tasks | ' in done.stdout
