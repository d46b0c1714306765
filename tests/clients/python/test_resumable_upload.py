"""resumable-upload's client: checksums by name, PATCH as POST, and going on where an upload was stopped."""

import pytest
from resumable_upload import TusClient

MIB = 1 << 20


@pytest.mark.parametrize("checksum", [True, "sha256", "sha512", "md5", False])
def test_checksums(server, make_file, checksum):
    path, sha256 = make_file(3 * MIB + 1)
    url = TusClient(server.endpoint, chunk_size=MIB, checksum=checksum).upload_file(str(path))
    assert server.stored_sha256(url) == sha256


def test_patch_as_post(server, make_file):
    path, sha256 = make_file(2 * MIB)
    url = TusClient(server.endpoint, override_patch_method=True).upload_file(str(path))
    assert server.stored_sha256(url) == sha256


def test_stopped_and_resumed(server, make_file):
    path, sha256 = make_file(4 * MIB)
    client = TusClient(server.endpoint, chunk_size=MIB)
    url = client.upload_file(str(path), stop_at=2 * MIB)
    assert client.resume_upload(str(path), url) == url
    assert server.stored_sha256(url) == sha256


@pytest.mark.parametrize("checksum", [True, "sha256", False])
def test_parts_side_by_side(server, make_file, checksum):
    path, sha256 = make_file(8 * MIB + 5)
    client = TusClient(server.endpoint, chunk_size=MIB, checksum=checksum)
    url = client.upload_file(str(path), parallel_uploads=4)
    assert server.stored_sha256(url) == sha256


def test_deleted(server, make_file):
    path, _ = make_file(MIB)
    client = TusClient(server.endpoint)
    url = client.upload_file(str(path))
    client.delete_upload(url)
    with pytest.raises(Exception, match="404"):
        client.resume_upload(str(path), url)
