"""The page of `search-ctl dashboard`: as answers over HTTP, and as a browser shows it."""

import contextlib
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from http.client import HTTPException

import pytest

GRID = """
task:
  template: "echo 'acc: {x}'"
  search_args: [{type: Int, name: x, data: [1, 4]}]
"""
CHROMIUM = shutil.which("chromium")
HEADLESS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--virtual-time-budget=30000"),
]


@pytest.fixture
def dashboard(space):
    """The process of a dashboard on a small study, and the address that it printed."""
    space.write("config.yaml", GRID)
    space.call("run", "-t", "t", "config.yaml")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = space.start("ctl", "dashboard", "-t", "t", "--port", str(port))
    address = server.stdout.readline().split()[0].removesuffix("/dashboard/studies/1")
    yield server, address
    server.kill()
    server.communicate()


def test_dashboard_serves_the_study_when_it_says_so(dashboard):
    server, address = dashboard
    assert '"study_name": "t"' in fetch(f"{address}/api/studies")
    with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))):  # as browsers do, and say nothing
        assert "<html" in fetch(f"{address}/dashboard/studies/1").lower()
    server.terminate()
    server.communicate(timeout=30)


@pytest.mark.skipif(not CHROMIUM, reason="needs a browser: apt-get install chromium")
def test_dashboard_in_a_browser_shows_the_best_trial(dashboard, tmp_path):
    _, address = dashboard
    command = [CHROMIUM, *HEADLESS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
    page = subprocess.run(
        [*command, f"{address}/dashboard/studies/1"], capture_output=True, text=True, timeout=100, check=True
    ).stdout
    for words in ("History", "Hyperparameter Importance", "Best Trial (number=3)", "t (id=1)"):
        assert words in page


def test_dashboard_ends_while_it_is_asked(dashboard):
    server, address = dashboard
    asking = threading.Thread(target=ask_until_gone, args=(f"{address}/api/studies",))
    asking.start()
    time.sleep(0.2)
    server.terminate()
    try:
        server.communicate(timeout=30)
    finally:
        server.kill()
        asking.join()
    assert server.returncode == 0


def test_dashboard_on_a_taken_port_is_refused(space, dashboard):
    port = dashboard[1].rpartition(":")[2]
    assert f"--port {port}: " in space.refused("ctl", "dashboard", "-t", "t", "--port", port)


def ask_until_gone(url):
    with contextlib.suppress(OSError, HTTPException):
        while True:
            fetch(url)


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()
