"""Serves a WSGI application until a signal."""

import signal
import socket
import threading
from collections.abc import Callable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIServer, make_server

from gml.errors import UserError
from gml.signals import CAUGHT


class ThreadedServer(ThreadingMixIn, WSGIServer):
    """Answers every request in a thread of its own, so that an idle connection of a browser holds up no other."""

    daemon_threads = True


class ThreadedServer6(ThreadedServer):
    """The same for IPv6."""

    address_family = socket.AF_INET6


def serve(app: Callable[..., Any], host: str, port: int, *, path: str = "/") -> None:
    """Prints the address of `path` once it answers, and serves until Ctrl-C, SIGTERM or SIGHUP.

    The main thread answers nothing and waits for the signal itself: a handler's exception would come at any moment, and
    could be taken for an error of whatever runs then.

    Raises:
        UserError: the address is taken, or none of ours.
    """
    try:
        server = make_server(host, port, app, ThreadedServer6 if ":" in host else ThreadedServer)
    except (OSError, OverflowError) as error:
        raise UserError(f"--host {host} --port {port}: {getattr(error, 'strerror', None) or error}") from None
    with server:
        signal.pthread_sigmask(signal.SIG_BLOCK, CAUGHT)  # for the threads too: they are for this thread to wait for
        threading.Thread(target=server.serve_forever, daemon=True).start()
        shown = f"[{host}]" if ":" in host else host
        print(f"http://{shown}:{server.server_port}{path} (Ctrl-C ends it)", flush=True)
        signal.sigwait(CAUGHT)
        server.shutdown()
