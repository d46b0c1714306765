// The IETF's resumable uploads: as the pre-release of tus-js-client speaks them, and as a client does that relies on the
// answer before the final one (104), which node shows and tus-js-client does not use.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { request } from 'node:http'
import { Readable } from 'node:stream'
import { test } from 'node:test'
import * as library from 'tus-js-client-5'
import { makeFile, MiB } from '../../shared/file.mjs'
import { head, headUntil, startServer } from '../../shared/server.mjs'
import { fileSource, HoldingStack, patient, startUpload } from '../client.mjs'

const limits = { timeout: 180_000 }

/** What HEAD tells in the newest version. */
async function state(url) {
  const { headers } = await head(url, { 'Upload-Draft-Interop-Version': '9' })
  return { offset: Number(headers['upload-offset']), complete: headers['upload-complete'] }
}

for (const [protocol, version] of [['ietf-draft-03', '5'], ['ietf-draft-05', '6']]) {
  const start = (source, options) => startUpload(source, { library, protocol, ...options })

  test(`${protocol}: a whole file goes in one append`, limits, async (t) => {
    const server = await startServer(t)
    const file = await makeFile(t, 9 * MiB + 17)
    const { upload, finished, requests } = start(fileSource(file), { endpoint: server.endpoint })
    await finished
    assert.deepEqual(requests.map(({ method, status }) => [method, status]), [['POST', 201], ['PATCH', 200]])
    assert.ok(requests.every(({ header }) => header('Upload-Draft-Interop-Version') === version))
    assert.deepEqual(await state(upload.url), { offset: file.size, complete: '?1' })
    assert.equal(await server.storedSha256(upload.url), file.sha256)
  })

  test(`${protocol}: a file goes in chunks, and the last one completes it`, limits, async (t) => {
    const server = await startServer(t)
    const file = await makeFile(t, 5 * MiB + 1)
    const chunkSize = 2 * MiB
    const { upload, finished, sent } = start(fileSource(file), { endpoint: server.endpoint, chunkSize })
    await finished
    assert.deepEqual(
      sent('PATCH').map(({ offset, status, header }) => [offset, status, header('Upload-Complete')]),
      [[0, 201, '?0'], [chunkSize, 201, '?0'], [2 * chunkSize, 200, '?1']],
    )
    assert.equal(await server.storedSha256(upload.url), file.sha256)
  })

  test(`${protocol}: a stream of unknown length ends somewhere`, limits, async (t) => {
    const server = await startServer(t)
    const file = await makeFile(t, 3 * MiB + 5)
    const stream = Readable.from([await readFile(file.path)], { objectMode: false })
    const options = { endpoint: server.endpoint, uploadLengthDeferred: true, chunkSize: MiB }
    const { upload, finished } = start(stream, options)
    await finished
    assert.deepEqual(await state(upload.url), { offset: file.size, complete: '?1' })
    assert.equal(await server.storedSha256(upload.url), file.sha256)
  })

  test(`${protocol}: uploadDataDuringCreation sends the whole file with the POST`, limits, async (t) => {
    const server = await startServer(t)
    const file = await makeFile(t, 5 * MiB)
    const options = { endpoint: server.endpoint, uploadDataDuringCreation: true }
    const { upload, finished, requests } = start(fileSource(file), options)
    await finished
    assert.deepEqual(requests.map(({ method, status }) => [method, status]), [['POST', 200]])
    assert.equal(await server.storedSha256(upload.url), file.sha256)
  })

  test(`${protocol}: an upload is cancelled`, limits, async (t) => {
    const server = await startServer(t)
    const file = await makeFile(t, MiB)
    const { upload, finished } = start(fileSource(file), { endpoint: server.endpoint })
    await finished
    await upload.abort(true)
    assert.equal((await head(upload.url, { 'Upload-Draft-Interop-Version': version })).status, 404)
  })

  for (const durability of ['strict', 'eventual']) {
    test(`${protocol}: one large append survives kill -9 of the server (${durability})`, limits, async (t) => {
      const server = await startServer(t, '--durability', durability)
      const file = await makeFile(t, 100 * MiB)
      const sent = 80 * MiB
      const httpStack = new HoldingStack(sent, library)
      const options = { endpoint: server.endpoint, httpStack, retryDelays: patient }
      const { upload, finished, sent: requests } = start(fileSource(file), options)
      await httpStack.held
      await server.kill()
      await server.start()
      await finished

      assert.equal(requests('POST').length, 1, 'the upload was not begun anew')
      const { offset } = requests('PATCH').at(-1)
      t.diagnostic(`cut at ${sent}, resumed at ${offset}`)
      assert.ok(offset > 0 && offset <= sent, `resumed at ${offset}`)
      assert.deepEqual(await state(upload.url), { offset: file.size, complete: '?1' })
      assert.equal(await server.storedSha256(upload.url), file.sha256)
    })
  }
}

/** A server for programs that embed this one leaves 104 out: its framework can't send it. */
const sendsInterim = process.env.TUS_SERVE_BIN === process.env.TUS_SERVER_BIN

for (const version of [3, 5, 6, 7, 8, 9]) {
  const test104 = `version ${version}: what a 104 told goes on after kill -9 of the server`
  test(test104, { ...limits, skip: !sendsInterim }, async (t) => {
    const server = await startServer(t)
    const file = await makeFile(t, 60 * MiB)
    const bytes = await readFile(file.path)
    const fields = {
      'Upload-Draft-Interop-Version': String(version),
      ...(version === 3 ? { 'Upload-Incomplete': '?0' } : { 'Upload-Complete': '?1', 'Upload-Length': String(file.size) }),
    }
    const send = (method, url, headers) => request(url, { method, headers: { ...fields, ...headers }, agent: false })

    const creation = send('POST', server.endpoint, { 'Content-Type': 'image/heic', 'Content-Length': String(file.size) })
    creation.on('error', () => {})
    const sent = 50 * MiB
    creation.write(bytes.subarray(0, sent))
    const [interim] = await once(creation, 'information')
    assert.equal(interim.statusCode, 104)
    assert.equal(interim.headers['upload-draft-interop-version'], String(version))
    const url = new URL(interim.headers.location, server.endpoint).href
    await headUntil(url, ({ offset }) => offset === sent)
    await server.kill()
    await server.start()

    const { offset } = await head(url, { 'Upload-Draft-Interop-Version': String(version) })
    assert.equal(offset, sent, 'what HEAD told is there')
    const append = send('PATCH', url, {
      'Upload-Offset': String(offset),
      ...(version > 5 ? { 'Content-Type': 'application/partial-upload' } : {}),
    })
    const [answer] = await once(append.end(bytes.subarray(offset)), 'response')
    answer.resume()
    assert.equal(answer.statusCode, 200)
    assert.equal(answer.headers[version === 3 ? 'upload-incomplete' : 'upload-complete'], version === 3 ? '?0' : '?1')
    assert.equal(await server.storedSha256(url), file.sha256)
  })
}
