"""Checks before ``torchrun`` starts processes, which fails on these without saying so."""

import errno
import os
import socket

__all__ = ['check_meeting']


def check_meeting() -> None:
    """End if the machines of ``tools/dist_train.sh`` could not meet at ``MASTER_ADDR:MASTER_PORT``.

    Raises:
        SystemExit: the address cannot be resolved; the port is no number; on the first machine, it is in use.
    """
    host, text = os.environ.get('MASTER_ADDR', '127.0.0.1'), os.environ.get('MASTER_PORT', '29500')
    if not text.isdecimal() or not 0 < int(text) < 2**16:
        raise SystemExit(f'MASTER_PORT={text} is no port: give a number from 1 to 65535')
    try:
        found = socket.getaddrinfo(host, int(text), type=socket.SOCK_STREAM)
    except OSError as error:
        raise SystemExit(
            f'{socket.gethostname()} cannot resolve MASTER_ADDR={host} ({error.strerror}): set MASTER_ADDR to the IP '
            'address of the first machine'
        ) from None
    if os.environ.get('NODE_RANK', '0') != '0':
        return
    family, kind, _, _, address = found[0]
    with socket.socket(family, kind) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as torch does
        try:
            one.bind(address)
            one.listen()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise SystemExit(
                    f'port {text} of {host} is in use by another process: set MASTER_PORT to a free one, the same on '
                    'all machines'
                ) from None
