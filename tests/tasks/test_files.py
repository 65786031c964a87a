"""Where data files are looked for, real downloads from a server here, and what errors say."""

import functools
import gzip
import hashlib
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from hdsens.errors import InputError
from hdsens.tasks.files import Download, find_file, obtain_file, read_verified


def md5(content):
    return hashlib.md5(content).hexdigest()


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """A data folder and a cache, both named by the environment."""
    data, cache = tmp_path / "data", tmp_path / "cache"
    data.mkdir()
    monkeypatch.setenv("HDSENS_DATA", str(data))
    monkeypatch.setenv("HDSENS_CACHE", str(cache))
    return data, cache


class Counting(SimpleHTTPRequestHandler):
    requested: list[str]

    def do_GET(self):
        self.requested.append(self.path)
        super().do_GET()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    """A folder served over HTTP: (folder, base URL, paths asked for so far)."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = type("Handler", (Counting,), {"requested": []})
    http = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder)))
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    yield folder, f"http://127.0.0.1:{http.server_port}", handler.requested
    http.shutdown()
    thread.join()
    http.server_close()


def test_the_data_folder_goes_before_the_cache_and_the_first_alternative_before_the_next(folders):
    data, cache = folders
    cache.mkdir()
    assert find_file(["a", "b"]) is None
    (cache / "a").touch()
    assert find_file(["a", "b"]) == cache / "a"
    (data / "b").touch()
    assert find_file(["a", "b"]) == data / "b"
    (data / "a").touch()
    assert find_file(["a", "b"]) == data / "a"


def test_without_a_data_folder_only_the_cache_is_searched(folders, monkeypatch):
    data, cache = folders
    cache.mkdir()
    (cache / "a").touch()
    (data / "a").touch()
    monkeypatch.setenv("HDSENS_DATA", "")
    assert find_file(["a"]) == cache / "a"


def test_a_data_folder_that_is_not_there_is_an_error(folders, monkeypatch):
    monkeypatch.setenv("HDSENS_DATA", "/no/such/folder")
    with pytest.raises(InputError) as caught:
        find_file(["a"])
    assert str(caught.value) == (
        "HDSENS_DATA must name a folder that exists (got '/no/such/folder')"
    )


def test_an_absent_file_is_downloaded_once_into_the_cache(folders, server):
    _, cache = folders
    served, url, requested = server
    (served / "x.bin").write_bytes(b"content")
    download = Download("some/where/x.bin", f"{url}/x.bin", md5(b"content"))
    first = obtain_file("toy", [download.path], download)
    assert first == cache / "some/where/x.bin"
    assert first.read_bytes() == b"content"
    assert obtain_file("toy", [download.path], download) == first
    assert requested == ["/x.bin"]


def test_a_download_with_another_content_is_refused_and_not_kept(folders, server):
    _, cache = folders
    served, url, _ = server
    (served / "x.bin").write_bytes(b"tampered")
    download = Download("x.bin", f"{url}/x.bin", md5(b"content"))
    with pytest.raises(InputError) as caught:
        obtain_file("toy", [download.path], download)
    assert str(caught.value) == (
        f"data set 'toy': {url}/x.bin must have MD5 {md5(b'content')}; what came is another file; "
        "put the file at $HDSENS_DATA/x.bin"
    )
    assert not list(cache.rglob("x.bin"))


def test_a_server_without_the_file_is_told_by_its_status(folders, server):
    _, url, _ = server
    with pytest.raises(InputError) as caught:
        obtain_file("toy", ["x.bin"], Download("x.bin", f"{url}/x.bin", md5(b"")))
    assert f"could not be downloaded ({url}/x.bin: HTTP status 404)" in str(caught.value)


def test_offline_and_absent_says_soon_where_to_put_which_file(folders):
    data, cache = folders
    closed = "http://127.0.0.1:9/x.gz"
    with pytest.raises(InputError) as caught:
        obtain_file("toy", ["raw/x", "raw/x.gz"], Download("raw/x.gz", closed, md5(b"")))
    assert str(caught.value) == (
        f"data set 'toy': file raw/x.gz must be below the folder in HDSENS_DATA ({data}) or in "
        f"the cache ({cache}), and could not be downloaded ({closed}: ConnectionError); "
        "put the file at $HDSENS_DATA/raw/x.gz"
    )


def test_a_file_with_no_public_host_says_so(folders, monkeypatch):
    _, cache = folders
    monkeypatch.delenv("HDSENS_DATA")
    with pytest.raises(InputError) as caught:
        obtain_file("toy", ["x.npz"], None)
    assert str(caught.value) == (
        "data set 'toy': file x.npz must be below the folder in HDSENS_DATA (unset) or in the "
        f"cache ({cache}), and could not be downloaded (it has no public host); "
        "put the file at $HDSENS_DATA/x.npz"
    )


def test_a_cache_that_cannot_be_written_is_an_input_error(folders, server, monkeypatch, tmp_path):
    served, url, _ = server
    (served / "x.bin").write_bytes(b"content")
    (tmp_path / "file").touch()
    monkeypatch.setenv("HDSENS_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="could not be downloaded"):
        obtain_file("toy", ["x.bin"], Download("x.bin", f"{url}/x.bin", md5(b"content")))


def test_content_is_checked_after_decompression_so_a_recompressed_file_is_good(tmp_path):
    for level in (1, 9):
        path = tmp_path / f"{level}.gz"
        path.write_bytes(gzip.compress(b"content" * 100, level))
        assert read_verified(path, md5(b"content" * 100)) == b"content" * 100


def test_a_file_cut_short_is_named(tmp_path):
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(b"content" * 100)[:-12])
    with pytest.raises(InputError) as caught:
        read_verified(path, md5(b"content" * 100))
    assert str(caught.value) == (
        f"data file {path} must be readable (EOFError: Compressed file ended before the "
        "end-of-stream marker was reached); replace it by the original"
    )


@pytest.mark.parametrize("content", [b"no gzip at all", b"\x1f\x8b\x08\x00garbage garbage garbage"])
def test_a_file_that_is_no_gzip_is_named(tmp_path, content):
    path = tmp_path / "bad.gz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"^data file {path} must be readable"):
        read_verified(path, md5(content))


def test_other_content_is_named_with_both_checksums(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"other")
    with pytest.raises(InputError) as caught:
        read_verified(path, md5(b"content"))
    assert str(caught.value) == (
        f"data file {path} must have the content with MD5 {md5(b'content')} "
        f"(got {md5(b'other')}); replace it by the original"
    )
