"""Downloads from a server of our own: whole, broken off, resumed, changed, absent."""

import hashlib
import http.server
import threading
import typing

import pytest

from paramctl_jax.backbones import REGISTRY, Source, fetch, loading, store
from paramctl_jax.backbones.spec import Spec
from paramctl_jax.types import CheckpointError, InputError

DATA = loading.find_weights("small_standard").read_bytes()
DIGEST = hashlib.sha256(DATA).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves a body; the server's attributes say how it misbehaves."""

    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.asked.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if self.path == "/missing":
            return self.send_error(404)
        if asked and server.ranges and start >= len(server.body):
            return self.send_error(416)
        honoured = asked and server.ranges
        start = start if honoured else 0
        self.send_response(206 if honoured else 200)
        if honoured:
            begins = start + server.shift
            self.send_header(
                "Content-Range",
                f"bytes {begins}-{len(server.body) - 1}/{len(server.body)}",
            )
        self.send_header("Content-Length", str(len(server.body) - start))
        self.end_headers()
        self.wfile.write(server.body[start : server.breaks_at])
        return None

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.asked, server.ranges, server.shift = [], True, 0
        server.body = DATA
        server.breaks_at = None
        server.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def get(server, path, sha256=DIGEST, file="net.safetensors"):
    source = Source(url=f"{server.address}/{file}", sha256=sha256)
    return fetch.download(source, path, label="net", progress=False)


def test_a_download_is_whole_and_checked(server, tmp_path):
    path = get(server, tmp_path / "deep" / "net.safetensors")
    assert path.read_bytes() == DATA
    assert [p.name for p in path.parent.iterdir()] == ["net.safetensors"]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on(server, tmp_path, ranges):
    server.ranges, server.breaks_at = ranges, 1000
    path = tmp_path / "net.safetensors"
    with pytest.raises(CheckpointError, match="run this again to go on"):
        get(server, path)
    assert not path.exists()
    server.breaks_at = None
    assert get(server, path).read_bytes() == DATA
    assert server.asked == [None, "bytes=1000-"]


def test_an_answer_from_another_position_is_not_appended(server, tmp_path):
    path = tmp_path / "net.safetensors"
    part = path.with_name(path.name + ".part")
    part.write_bytes(DATA[:1000])
    server.shift = 1  # says to begin elsewhere
    with pytest.raises(CheckpointError, match="another part than asked for"):
        get(server, path)
    assert part.read_bytes() == DATA[:1000]
    server.shift = 0
    assert get(server, path).read_bytes() == DATA


def test_a_whole_part_needs_no_more(server, tmp_path):
    path = tmp_path / "net.safetensors"
    path.with_name(path.name + ".part").write_bytes(DATA)
    assert get(server, path).read_bytes() == DATA


def test_another_digest_is_refused_and_removed(server, tmp_path):
    with pytest.raises(CheckpointError, match=f"expected sha256 {'0' * 64}, found"):
        get(server, tmp_path / "net", sha256="0" * 64)
    assert not list(tmp_path.iterdir())


def test_a_connection_that_is_reset_can_go_on(tmp_path, monkeypatch):
    def reset(*args, **kwargs):
        raise ConnectionResetError(104, "Connection reset by peer")

    monkeypatch.setattr(fetch, "_copy", reset)
    monkeypatch.setattr(fetch.urllib.request, "urlopen", lambda *a, **k: Answer())
    source = Source(url="https://example.org/net")
    with pytest.raises(CheckpointError, match=r"reset by peer\); run this again"):
        fetch.download(source, tmp_path / "net", label="net", progress=False)


class Answer:
    """A response whose length is no number."""

    status = 200
    headers: typing.ClassVar[dict] = {"Content-Length": "abc"}

    def __enter__(self):
        return self

    def __exit__(self, *args):
        pass


def test_no_file_and_no_network_say_what_to_do(server, tmp_path):
    path = tmp_path / "net"
    with pytest.raises(CheckpointError, match=rf"Not Found.*put it at {path}"):
        get(server, path, file="missing")
    closed = Source(url="http://127.0.0.1:9/net")
    with pytest.raises(CheckpointError, match=rf"refused.*put it at {path}"):
        fetch.download(closed, path, label="net", progress=False)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def registered(server, monkeypatch):
    build = REGISTRY["small_standard"].build
    source = Source(
        url=f"{server.address}/net.safetensors?download=1",
        sha256=DIGEST[:8],
        licence="free",
    )
    monkeypatch.setitem(REGISTRY, "remote", Spec(build, 64, source=source))


@pytest.mark.usefixtures("registered")
def test_fetching_converts_and_leaves_only_the_weights(tmp_path):
    path = fetch.fetch_weights("remote", tmp_path)
    manifest = store.verify(path)
    assert path == tmp_path / "remote"
    assert manifest.licence == "free"
    assert manifest.source_sha256 == f"sha256:{DIGEST}"
    assert manifest.source_url.endswith("?download=1")
    assert not list((tmp_path / "downloads").iterdir())


@pytest.mark.usefixtures("registered")
def test_a_file_put_there_by_hand_is_taken_and_kept(server, tmp_path):
    given = tmp_path / "downloads" / "net.safetensors"
    given.parent.mkdir()
    given.write_bytes(DATA)
    assert store.verify(fetch.fetch_weights("remote", tmp_path))
    assert given.exists()
    assert not server.asked
    given.write_bytes(DATA[:-1])
    with pytest.raises(CheckpointError, match=f"expected sha256.*{given}.*remove it"):
        fetch.fetch_weights("remote", tmp_path)
    assert given.exists()


def test_a_login_page_does_not_stay_in_the_way(server, tmp_path, monkeypatch):
    build = REGISTRY["small_standard"].build
    source = Source(url=f"{server.address}/net.safetensors", licence="free")
    monkeypatch.setitem(REGISTRY, "undigested", Spec(build, 64, source=source))
    server.body = b"<!DOCTYPE html><html>Please log in</html>"
    with pytest.raises(CheckpointError, match="a web page"):
        fetch.fetch_weights("undigested", tmp_path)
    assert not list((tmp_path / "downloads").iterdir())
    server.body = DATA
    manifest = store.verify(fetch.fetch_weights("undigested", tmp_path))
    assert (manifest.licence, manifest.source_url) == ("free", source.url)


def test_without_an_address_there_is_a_way():
    with pytest.raises(InputError, match=r"launch\.convert_weights"):
        fetch.fetch_weights("small_standard")
