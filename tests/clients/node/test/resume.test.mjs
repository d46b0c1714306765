// Uploads that were interrupted: by the user, by a connection that hangs, by a crash of the server.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { request } from 'node:http'
import { test } from 'node:test'
import * as tus from 'tus-js-client'
import { makeFile, MiB } from '../../shared/file.mjs'
import { headUntil, startServer } from '../../shared/server.mjs'
import { fileSource, HoldingStack, patient, startUpload } from '../client.mjs'

const limits = { timeout: 180_000 }

test('an aborted upload is found again by its fingerprint and goes on', limits, async (t) => {
  const server = await startServer(t)
  const file = await makeFile(t, 48 * MiB)
  const stored = {
    endpoint: server.endpoint,
    storeFingerprintForResuming: true,
    urlStorage: new tus.FileUrlStorage(`${file.path}.urls`),
  }
  const sent = 20 * MiB + 3
  const httpStack = new HoldingStack(sent)
  const first = startUpload(fileSource(file), { ...stored, httpStack })
  await httpStack.held
  // The connection still hangs, and HEAD tells every byte that was sent on it.
  await headUntil(first.upload.url, ({ offset }) => offset === sent)
  await first.upload.abort()

  const found = await new tus.Upload(fileSource(file), stored).findPreviousUploads()
  assert.deepEqual(found.map(({ uploadUrl }) => uploadUrl), [first.upload.url])
  const second = startUpload(fileSource(file), { ...stored, uploadUrl: found[0].uploadUrl })
  await second.finished
  assert.deepEqual(second.requests.map(({ method, offset }) => [method, offset]), [
    ['HEAD', null],
    ['PATCH', sent],
  ])
  assert.equal(await server.storedSha256(second.upload.url), file.sha256)
})

test('an upload goes on beside its own hanging connection', limits, async (t) => {
  const server = await startServer(t)
  const file = await makeFile(t, 8 * MiB)
  const bytes = await readFile(file.path)
  const sent = 3 * MiB + 1
  const httpStack = new HoldingStack(sent)
  const hanging = startUpload(fileSource(file), { endpoint: server.endpoint, httpStack, retryDelays: null })
  await httpStack.held
  const url = hanging.upload.url
  await headUntil(url, ({ offset }) => offset === sent)

  const next = startUpload(bytes, { endpoint: server.endpoint, uploadUrl: url, retryDelays: null })
  await next.finished
  assert.equal(next.sent('PATCH')[0].offset, sent)
  await assert.rejects(hanging.finished, (error) => {
    assert.match(error.originalResponse.getBody(), /^ERR_UPLOAD_INTERRUPTED: /)
    return error.originalResponse.getStatus() === 400
  })
  assert.equal(await server.storedSha256(url), file.sha256)
})

for (const durability of ['strict', 'eventual']) {
  test(`one large PATCH survives kill -9 of the server (${durability})`, limits, async (t) => {
    const server = await startServer(t, '--durability', durability)
    const file = await makeFile(t, 200 * MiB)
    const sent = 160 * MiB
    const httpStack = new HoldingStack(sent)
    const options = { endpoint: server.endpoint, httpStack, retryDelays: patient }
    const { upload, finished, sent: requests } = startUpload(fileSource(file), options)
    await httpStack.held
    await server.kill()
    await server.start()
    await finished

    assert.equal(requests('POST').length, 1, 'the upload was not begun anew')
    const resumedAt = requests('PATCH').at(-1).offset
    t.diagnostic(`cut at ${sent}, resumed at ${resumedAt}`)
    assert.ok(resumedAt <= sent)
    assert.ok(resumedAt >= sent - 64 * MiB, `resumed at ${resumedAt}`)
    assert.equal(await server.storedSha256(upload.url), file.sha256)
  })

  test(`no acknowledged chunk is lost by kill -9 of the server (${durability})`, limits, async (t) => {
    const server = await startServer(t, '--durability', durability)
    const file = await makeFile(t, 24 * MiB)
    const acknowledged = []
    const restarts = []
    const { upload, finished, sent } = startUpload(fileSource(file), {
      endpoint: server.endpoint,
      chunkSize: 2 * MiB,
      retryDelays: patient,
      onChunkComplete(_size, offset) {
        acknowledged.push(offset)
        if (acknowledged.length % 4 === 0 && offset < file.size) restarts.push(server.kill().then(() => server.start()))
      },
    })
    await finished
    await Promise.all(restarts)

    assert.equal(restarts.length, 2)
    assert.equal(sent('POST').length, 1, 'the upload was not begun anew')
    const patches = sent('PATCH').filter(({ status }) => status === 204)
    assert.equal(patches.length, acknowledged.length)
    // A chunk that the crash cut may be there in part; what was acknowledged before it is there as a whole.
    for (const [n, offset] of acknowledged.slice(0, -1).entries()) assert.ok(patches[n + 1].offset >= offset)
    assert.equal(await server.storedSha256(upload.url), file.sha256)
  })

  test(`creations and completions outlive kill -9 of the server (${durability})`, limits, async (t) => {
    const server = await startServer(t, '--durability', durability)
    const file = await makeFile(t, MiB)
    const complete = startUpload(fileSource(file), { endpoint: server.endpoint })
    await complete.finished
    const created = request(server.endpoint, {
      method: 'POST',
      headers: { 'Tus-Resumable': '1.0.0', 'Upload-Length': String(file.size) },
      agent: false,
    })
    const [response] = await once(created.end(), 'response')
    await server.kill()
    await server.start()

    const url = new URL(response.headers.location, server.endpoint).href
    const resumed = startUpload(await readFile(file.path), { endpoint: server.endpoint, uploadUrl: url })
    await resumed.finished
    assert.deepEqual(resumed.requests.map(({ method, offset }) => [method, offset]), [['HEAD', null], ['PATCH', 0]])
    assert.equal(await server.storedSha256(url), file.sha256)
    assert.equal(await server.storedSha256(complete.upload.url), file.sha256)
  })
}
