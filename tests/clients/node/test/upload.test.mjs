// The ways in which tus-js-client sends a file; what is stored afterwards is the file, byte for byte.

import assert from 'node:assert/strict'
import { createReadStream } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { Readable } from 'node:stream'
import { makeFile, MiB } from '../../shared/file.mjs'
import { head, startServer } from '../../shared/server.mjs'
import { fileSource, startUpload } from '../client.mjs'

const limits = { timeout: 120_000 }

test('a whole file goes in one PATCH', limits, async (t) => {
  const server = await startServer(t)
  const file = await makeFile(t, 48 * MiB + 17)
  const { upload, finished, sent } = startUpload(fileSource(file), { endpoint: server.endpoint })
  await finished
  assert.equal(sent('PATCH').length, 1)
  assert.equal((await head(upload.url)).offset, file.size)
  assert.equal(await server.storedSha256(upload.url), file.sha256)
})

test('a file goes in chunks, each where the last one ended', limits, async (t) => {
  const server = await startServer(t)
  const file = await makeFile(t, 10 * MiB + 1)
  const chunkSize = 3 * MiB
  const { upload, finished, sent } = startUpload(fileSource(file), { endpoint: server.endpoint, chunkSize })
  await finished
  assert.deepEqual(
    sent('PATCH').map(({ offset, status }) => [offset, status]),
    [0, 1, 2, 3].map((chunk) => [chunk * chunkSize, 204]),
  )
  assert.equal(await server.storedSha256(upload.url), file.sha256)
})

test('an empty file is complete with its creation', limits, async (t) => {
  const server = await startServer(t)
  const file = await makeFile(t, 0)
  const { upload, finished, requests } = startUpload(await readFile(file.path), { endpoint: server.endpoint })
  await finished
  assert.deepEqual(requests.map(({ method, status }) => [method, status]), [['POST', 201]])
  assert.equal(await server.storedSha256(upload.url), file.sha256)
})

test('uploadDataDuringCreation sends the whole file with the POST', limits, async (t) => {
  const server = await startServer(t)
  const file = await makeFile(t, 5 * MiB)
  const options = { endpoint: server.endpoint, uploadDataDuringCreation: true }
  const { upload, finished, requests } = startUpload(fileSource(file), options)
  await finished
  assert.deepEqual(requests.map(({ method, status }) => [method, status]), [['POST', 201]])
  assert.equal(await server.storedSha256(upload.url), file.sha256)
})

test('uploadDataDuringCreation with chunks goes on by PATCH', limits, async (t) => {
  const server = await startServer(t)
  const file = await makeFile(t, 5 * MiB)
  const options = { endpoint: server.endpoint, uploadDataDuringCreation: true, chunkSize: 2 * MiB }
  const { upload, finished, requests } = startUpload(fileSource(file), options)
  await finished
  assert.deepEqual(requests.map(({ method, offset }) => [method, offset]), [
    ['POST', null],
    ['PATCH', 2 * MiB],
    ['PATCH', 4 * MiB],
  ])
  assert.equal(await server.storedSha256(upload.url), file.sha256)
})

test('uploadLengthDeferred declares the length of a stream with its last chunk', limits, async (t) => {
  const server = await startServer(t)
  const file = await makeFile(t, 5 * MiB + 5)
  const stream = Readable.from(createReadStream(file.path), { objectMode: false })
  const options = { endpoint: server.endpoint, uploadLengthDeferred: true, chunkSize: 2 * MiB }
  const { upload, finished, sent } = startUpload(stream, options)
  await finished
  assert.equal(sent('POST')[0].header('Upload-Defer-Length'), '1')
  assert.equal(sent('PATCH').at(-1).header('Upload-Length'), String(file.size))
  const { headers } = await head(upload.url)
  assert.equal(headers['upload-length'], String(file.size))
  assert.equal(headers['upload-defer-length'], undefined)
  assert.equal(await server.storedSha256(upload.url), file.sha256)
})

test('overridePatchMethod sends PATCH as POST', limits, async (t) => {
  const server = await startServer(t)
  const file = await makeFile(t, 5 * MiB)
  const options = { endpoint: server.endpoint, overridePatchMethod: true, chunkSize: 2 * MiB }
  const { upload, finished, requests } = startUpload(fileSource(file), options)
  await finished
  assert.deepEqual(requests.map(({ method, status }) => [method, status]), [
    ['POST', 201],
    ['POST', 204],
    ['POST', 204],
    ['POST', 204],
  ])
  assert.equal(requests[1].header('X-HTTP-Method-Override'), 'PATCH')
  assert.equal(await server.storedSha256(upload.url), file.sha256)
})

test('metadata comes back as it was sent', limits, async (t) => {
  const server = await startServer(t)
  const file = await makeFile(t, 3)
  const metadata = { filename: 'Übung ☃.txt', empty: '', filetype: 'text/plain' }
  const { upload, finished, sent } = startUpload(fileSource(file), { endpoint: server.endpoint, metadata })
  await finished
  const { headers } = await head(upload.url)
  assert.equal(headers['upload-metadata'], sent('POST')[0].header('Upload-Metadata'))
  const decoded = headers['upload-metadata'].split(',').map((pair) => pair.split(' '))
  assert.equal(Buffer.from(Object.fromEntries(decoded).filename, 'base64').toString(), metadata.filename)
})

test('eight files at once do not mix', limits, async (t) => {
  const server = await startServer(t)
  const files = await Promise.all(Array.from({ length: 8 }, (_, n) => makeFile(t, (n + 1) * MiB + n)))
  const uploads = files.map((file) => startUpload(fileSource(file), { endpoint: server.endpoint, chunkSize: MiB }))
  await Promise.all(uploads.map(({ finished }) => finished))
  assert.equal(new Set(uploads.map(({ upload }) => upload.url)).size, files.length)
  for (const [n, { upload }] of uploads.entries()) {
    assert.equal(await server.storedSha256(upload.url), files[n].sha256)
  }
})

test('terminate frees the upload in the middle of its transfer', limits, async (t) => {
  const server = await startServer(t)
  const file = await makeFile(t, 4 * MiB)
  let chunks = 0
  const { upload } = await new Promise((resolve) => {
    const started = startUpload(fileSource(file), {
      endpoint: server.endpoint,
      chunkSize: MiB,
      onChunkComplete: () => ++chunks === 2 && resolve(started),
    })
  })
  const url = upload.url
  await upload.abort(true)
  assert.equal((await head(url)).status, 404)
})
