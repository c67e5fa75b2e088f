"""Serves a WSGI application until a signal."""

import socket
import threading
from collections.abc import Callable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIServer, make_server


class ThreadedServer(ThreadingMixIn, WSGIServer):
    """Answers every request in a thread of its own, so that an idle connection of a browser holds up no other."""

    daemon_threads = True


class ThreadedServer6(ThreadedServer):
    """The same for IPv6."""

    address_family = socket.AF_INET6


def serve(app: Callable[..., Any], host: str, port: int) -> None:
    """Serves until Ctrl-C, SIGTERM or SIGHUP.

    Nothing is answered in the main thread: wsgiref takes whatever is raised there while it answers, a signal's
    exception too, for an error of the application, and would go on for ever.

    Raises:
        OSError: the address is taken, or none of ours.
    """
    with make_server(host, port, app, ThreadedServer6 if ":" in host else ThreadedServer) as server:
        try:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            threading.Event().wait()
        except KeyboardInterrupt:
            server.shutdown()
