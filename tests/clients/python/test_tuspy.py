"""tuspy, on requests and on aiohttp: whole files, chunks, checksums, metadata, and going on with a new uploader."""

import asyncio
import hashlib
from base64 import b64decode

import pytest
import requests
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError, TusUploadFailed
from tusclient.storage.filestorage import FileStorage

MIB = 1 << 20


def head(url: str) -> requests.Response:
    return requests.head(url, headers={"Tus-Resumable": "1.0.0"}, timeout=30)


def test_whole_file(server, make_file):
    path, sha256 = make_file(24 * MIB + 5)
    uploader = TusClient(server.endpoint).uploader(path)
    uploader.upload()
    assert uploader.offset == uploader.get_offset() == 24 * MIB + 5
    assert server.stored_sha256(uploader.url) == sha256


def test_chunks(server, make_file):
    path, sha256 = make_file(5 * MIB + 1)
    uploader = TusClient(server.endpoint).uploader(path, chunk_size=2 * MIB)
    offsets = []
    while uploader.offset < uploader.get_file_size():
        uploader.upload_chunk()
        offsets.append(uploader.offset)
        assert uploader.get_offset() == uploader.offset
    assert offsets == [2 * MIB, 4 * MIB, 5 * MIB + 1]
    assert server.stored_sha256(uploader.url) == sha256


def test_empty_file(server, make_file):
    path, sha256 = make_file(0)
    uploader = TusClient(server.endpoint).uploader(path)
    uploader.upload()
    answer = head(uploader.url)
    assert (answer.headers["Upload-Offset"], answer.headers["Upload-Length"]) == ("0", "0")
    assert server.stored_sha256(uploader.url) == sha256


def test_async_chunks(server, make_file):
    path, sha256 = make_file(5 * MIB + 1)
    uploader = TusClient(server.endpoint).async_uploader(path, chunk_size=2 * MIB)
    asyncio.run(uploader.upload())
    assert uploader.offset == 5 * MIB + 1
    assert server.stored_sha256(uploader.url) == sha256


def test_checksums(server, make_file):
    path, sha256 = make_file(5 * MIB + 1)
    uploader = TusClient(server.endpoint).uploader(path, chunk_size=2 * MIB, upload_checksum=True)
    uploader.upload()
    assert server.stored_sha256(uploader.url) == sha256


def test_a_wrong_checksum_keeps_nothing_of_its_chunk(server, make_file, monkeypatch):
    path, sha256 = make_file(3 * MIB)
    uploader = TusClient(server.endpoint).uploader(path, chunk_size=MIB, upload_checksum=True)
    uploader.upload_chunk()
    with monkeypatch.context() as damage:
        wrong = lambda data: hashlib.sha1(data + b"!")
        damage.setattr(uploader, "_BaseUploader__checksum_algorithm", wrong)
        with pytest.raises(TusCommunicationError) as refused:
            uploader.upload_chunk()
    assert refused.value.status_code == 460
    assert uploader.get_offset() == MIB
    uploader.upload()
    assert server.stored_sha256(uploader.url) == sha256


def test_no_metadata_is_an_empty_header(server, make_file):
    path, _ = make_file(1)
    uploader = TusClient(server.endpoint).uploader(path)
    assert uploader.get_url_creation_headers()["upload-metadata"] == ""
    uploader.upload()
    assert "Upload-Metadata" not in head(uploader.url).headers


def test_metadata(server, make_file):
    path, _ = make_file(1)
    metadata = {"filename": "Übung ☃.bin", "empty": "", "filetype": "application/octet-stream"}
    uploader = TusClient(server.endpoint).uploader(path, metadata=metadata)
    uploader.upload()
    told = head(uploader.url).headers["Upload-Metadata"]
    assert told == ",".join(uploader.encode_metadata())
    pairs = (pair.split(" ") for pair in told.split(","))
    assert {key: b64decode(value).decode() for key, value in pairs} == metadata


def test_a_new_uploader_asks_for_the_offset_and_goes_on(server, make_file):
    path, sha256 = make_file(6 * MIB)
    first = TusClient(server.endpoint).uploader(path, chunk_size=MIB)
    first.upload(stop_at=2 * MIB)

    second = TusClient(server.endpoint).uploader(path, url=first.url, chunk_size=MIB)
    assert second.offset == 2 * MIB
    second.upload()
    assert server.stored_sha256(first.url) == sha256


def test_a_stored_url_outlives_the_client_and_the_server(server, make_file, tmp_path):
    path, sha256 = make_file(6 * MIB)
    with_storage = {"store_url": True, "chunk_size": MIB}
    first_storage = FileStorage(str(tmp_path / "urls.json"))
    first = TusClient(server.endpoint).uploader(path, url_storage=first_storage, **with_storage)
    first.upload(stop_at=3 * MIB)
    first_storage.close()
    server.kill()
    server.start()

    second_storage = FileStorage(str(tmp_path / "urls.json"))
    second = TusClient(server.endpoint).uploader(path, url_storage=second_storage, **with_storage)
    assert (second.url, second.offset) == (first.url, 3 * MIB)
    second.upload()
    second_storage.close()
    assert server.stored_sha256(first.url) == sha256


def test_a_conflict_is_retried_from_the_true_offset(server, make_file):
    path, sha256 = make_file(4 * MIB)
    client = TusClient(server.endpoint)
    behind = client.uploader(path, chunk_size=MIB, retries=1, retry_delay=0)
    behind.upload(stop_at=MIB)
    client.uploader(path, url=behind.url, chunk_size=MIB).upload(stop_at=3 * MIB)

    behind.upload()
    assert behind.offset == 4 * MIB
    assert server.stored_sha256(behind.url) == sha256


def test_a_conflict_without_retries_is_told(server, make_file):
    path, _ = make_file(2 * MIB)
    client = TusClient(server.endpoint)
    behind = client.uploader(path, chunk_size=MIB)
    behind.set_url(behind.create_url())
    client.uploader(path, url=behind.url, chunk_size=MIB).upload(stop_at=MIB)
    with pytest.raises(TusUploadFailed) as failure:
        behind.upload_chunk()
    assert failure.value.status_code == 409
    assert failure.value.response_content.startswith(b"ERR_MISMATCHED_OFFSET: ")


def test_an_unknown_upload_is_told(server, make_file):
    path, _ = make_file(1)
    with pytest.raises(TusCommunicationError) as failure:
        TusClient(server.endpoint).uploader(path, url=f"{server.endpoint}/unknown")
    assert failure.value.status_code == 404
