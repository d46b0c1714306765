"""The server under test as a process of its own, and files to upload."""

import hashlib
import os
import re
import subprocess
from pathlib import Path

import pytest

STORED_SHA256 = Path(__file__).parent.parent / "shared" / "stored-sha256"


class Server:
    """One data directory and the process that serves it: the first time on a free port, then on the same one."""

    def __init__(self, directory: Path):
        self.data_dir = directory / "data"
        self.log = directory / "server.log"
        self.endpoint = None
        self.process = None

    def start(self) -> None:
        listen = self.endpoint.split("/")[2] if self.endpoint else "127.0.0.1:0"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [os.environ["TUS_SERVE_BIN"], "--listen", listen, "--data-dir", str(self.data_dir)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        for line in self.process.stdout:
            if listening := re.match(r"listening on (http:\S+)$", line):
                self.endpoint = listening[1]
                return
        raise RuntimeError(f"the server ended before it listened:\n{self.log.read_text()[-8192:]}")

    def kill(self) -> None:
        """Ends the process as a crash would."""
        self.process.kill()
        self._reap()

    def stop(self) -> None:
        """Ends the process in good order."""
        self.process.terminate()
        self._reap()

    def _reap(self) -> None:
        self.process.wait(timeout=60)
        self.process.stdout.close()

    def stored_sha256(self, upload_url: str) -> str:
        """The SHA-256 of what is on disk. The directory is the server's while it runs, so it is stopped."""
        self.stop()
        upload_id = upload_url.rsplit("/", 1)[1]
        return subprocess.check_output([STORED_SHA256, self.data_dir, upload_id], text=True).strip()


@pytest.fixture
def server(tmp_path):
    server = Server(tmp_path)
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture
def make_file(tmp_path):
    """Makes a file of that many random bytes: its path and its SHA-256."""

    def make(size: int) -> tuple[str, str]:
        content = os.urandom(size)
        path = tmp_path / f"file-{size}.bin"
        path.write_bytes(content)
        return str(path), hashlib.sha256(content).hexdigest()

    return make
