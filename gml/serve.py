"""Serves a WSGI application until a signal."""

import os
import signal
import socket
import threading
from collections.abc import Callable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIServer, make_server

from gml.errors import UserError

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class ThreadedServer(ThreadingMixIn, WSGIServer):
    """Answers every request in a thread of its own, so that an idle connection of a browser holds up no other."""

    daemon_threads = True


class ThreadedServer6(ThreadedServer):
    """The same for IPv6."""

    address_family = socket.AF_INET6


def serve(app: Callable[..., Any], host: str, port: int, *, path: str = "/") -> None:
    """Prints the address of `path` once it answers, and serves until Ctrl-C, SIGTERM or SIGHUP end the process.

    Nothing is answered in the main thread: wsgiref takes whatever is raised there while it answers, a signal's
    exception too, for an error of the application, and would go on for ever.

    Raises:
        UserError: the address is taken, or none of ours.
    """
    try:
        server = make_server(host, port, app, ThreadedServer6 if ":" in host else ThreadedServer)
    except (OSError, OverflowError) as error:
        raise UserError(f"--host {host} --port {port}: {getattr(error, 'strerror', None) or error}") from None
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # for the threads too: a signal is nobody's but this thread's
    threading.Thread(target=server.serve_forever, daemon=True).start()
    shown = f"[{host}]" if ":" in host else host
    print(f"http://{shown}:{server.server_port}{path} (Ctrl-C ends it)", flush=True)
    signal.sigwait(ENDING)
    os._exit(0)  # an interpreter that ends in order can wait for ever for a thread that is just answering
