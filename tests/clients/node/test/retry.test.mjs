// What tus-js-client does after an answer that is not a success: the statuses have to be the ones it acts upon.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { request } from 'node:http'
import { test } from 'node:test'
import { makeFile, MiB } from '../../shared/file.mjs'
import { head, startServer } from '../../shared/server.mjs'
import { fileSource, HoldingStack, patient, startUpload } from '../client.mjs'

const limits = { timeout: 120_000 }

test('a file over the size limit is refused once and not tried again', limits, async (t) => {
  const server = await startServer(t, '--max-size', '1048576')
  const file = await makeFile(t, 2 * MiB)
  const { finished, requests } = startUpload(fileSource(file), { endpoint: server.endpoint, retryDelays: [0, 0, 0] })
  await assert.rejects(finished, (error) => error.originalResponse.getStatus() === 413)
  assert.deepEqual(requests.map(({ method }) => method), ['POST'])
})

test('the refusal of a body that is too long arrives, though the body was not read', limits, async (t) => {
  const server = await startServer(t, '--max-size', '1048576')
  const file = await makeFile(t, 64 * MiB)
  const options = { endpoint: server.endpoint, uploadDataDuringCreation: true, retryDelays: null }
  const { finished } = startUpload(fileSource(file), options)
  await assert.rejects(finished, (error) => {
    assert.match(error.originalResponse.getBody(), /^ERR_MAX_SIZE_EXCEEDED: /)
    return error.originalResponse.getStatus() === 413
  })
})

test('an upload that is gone is begun anew', limits, async (t) => {
  const server = await startServer(t)
  const file = await makeFile(t, MiB)
  const gone = startUpload(fileSource(file), { endpoint: server.endpoint })
  await gone.finished
  const url = gone.upload.url
  await gone.upload.abort(true)

  const { upload, finished, requests } = startUpload(fileSource(file), { endpoint: server.endpoint, uploadUrl: url })
  await finished
  assert.deepEqual(requests.map(({ method, status }) => [method, status]), [
    ['HEAD', 404],
    ['POST', 201],
    ['PATCH', 204],
  ])
  assert.notEqual(upload.url, url)
  assert.equal(await server.storedSha256(upload.url), file.sha256)
})

test('a finished upload is finished again by HEAD alone', limits, async (t) => {
  const server = await startServer(t)
  const file = await makeFile(t, MiB)
  const first = startUpload(fileSource(file), { endpoint: server.endpoint })
  await first.finished
  const options = { endpoint: server.endpoint, uploadUrl: first.upload.url }
  const { finished, requests } = startUpload(fileSource(file), options)
  await finished
  assert.deepEqual(requests.map(({ method, status }) => [method, status]), [['HEAD', 200]])
})

test('a conflict is retried from the offset that HEAD tells', limits, async (t) => {
  const server = await startServer(t)
  const file = await makeFile(t, 4 * MiB)
  const overtaking = (await readFile(file.path)).subarray(2 * MiB, 3 * MiB)
  const { upload, finished, sent } = startUpload(fileSource(file), {
    endpoint: server.endpoint,
    chunkSize: 2 * MiB,
    retryDelays: [0],
    async beforeRequest({ method, url, offset }) {
      if (method === 'PATCH' && offset === 2 * MiB) await patch(url, offset, overtaking)
    },
  })
  await finished
  assert.deepEqual(sent('PATCH').map(({ offset, status }) => [offset, status]), [
    [0, 204],
    [2 * MiB, 409],
    [3 * MiB, 204],
  ])
  assert.equal(await server.storedSha256(upload.url), file.sha256)
})

test('onShouldRetry has the last word when the server is gone', limits, async (t) => {
  const server = await startServer(t)
  const file = await makeFile(t, 8 * MiB)
  const httpStack = new HoldingStack(4 * MiB)
  const asked = []
  const { upload, finished, sent } = startUpload(fileSource(file), {
    endpoint: server.endpoint,
    httpStack,
    retryDelays: patient,
    onShouldRetry(error, attempt) {
      asked.push([error.originalResponse, attempt])
      return asked.length < 3
    },
  })
  await httpStack.held
  await server.kill()
  await assert.rejects(finished)
  assert.deepEqual(asked.map(([response]) => response), [null, null, null])
  assert.equal(sent('HEAD').length, 2)

  await server.start()
  const resumed = startUpload(fileSource(file), { endpoint: server.endpoint, uploadUrl: upload.url })
  await resumed.finished
  assert.equal((await head(upload.url)).offset, file.size)
  assert.equal(await server.storedSha256(upload.url), file.sha256)
})

/** Another client's PATCH, on a connection of its own. */
async function patch(url, offset, body) {
  const headers = {
    'Tus-Resumable': '1.0.0',
    'Upload-Offset': String(offset),
    'Content-Type': 'application/offset+octet-stream',
    'Content-Length': String(body.length),
  }
  const [response] = await once(request(url, { method: 'PATCH', headers, agent: false }).end(body), 'response')
  response.resume()
  assert.equal(response.statusCode, 204)
}
