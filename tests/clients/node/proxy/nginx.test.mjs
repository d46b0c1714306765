// The server behind nginx, as docs/nginx.md says: nothing is held back, and nothing that nginx had is lost.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request } from 'node:http'
import { test } from 'node:test'
import { makeFile, MiB } from '../../shared/file.mjs'
import { headUntil, startServer } from '../../shared/server.mjs'
import { fileSource, HoldingStack, startUpload } from '../client.mjs'
import { startNginx } from '../nginx.mjs'

const limits = { timeout: 120_000 }

test('a large file goes through nginx in one PATCH', limits, async (t) => {
  const server = await startServer(t, '--behind-proxy')
  const endpoint = await startNginx(t, server)
  const file = await makeFile(t, 64 * MiB + 7)
  const { upload, finished, sent } = startUpload(fileSource(file), { endpoint, retryDelays: null })
  await finished
  assert.equal(sent('PATCH').length, 1)
  assert.ok(upload.url.startsWith(`${endpoint}/`), `Location is what the client used, not ${upload.url}`)
  assert.equal(await server.storedSha256(upload.url), file.sha256)
})

test('what has reached nginx has reached the server, while the body is still on its way', limits, async (t) => {
  const server = await startServer(t)
  const endpoint = await startNginx(t, server)
  const file = await makeFile(t, 24 * MiB)
  const sent = 9 * MiB + 5
  const httpStack = new HoldingStack(sent)
  const hanging = startUpload(fileSource(file), { endpoint, httpStack, retryDelays: null })
  await httpStack.held
  const url = hanging.upload.url
  await headUntil(url, ({ offset }) => offset === sent)
  // The client vanishes and comes back.
  await hanging.upload.abort()
  const next = startUpload(fileSource(file), { endpoint, uploadUrl: url })
  await next.finished
  assert.equal(next.sent('PATCH')[0].offset, sent)
  assert.equal(await server.storedSha256(url), file.sha256)
})

test('a client that claims to come from elsewhere is not believed', limits, async (t) => {
  const server = await startServer(t, '--behind-proxy')
  const endpoint = await startNginx(t, server)
  const headers = {
    'Tus-Resumable': '1.0.0',
    'Upload-Length': '5',
    Forwarded: 'host=evil.example;proto=https',
    'X-Forwarded-Host': 'evil.example',
    'X-Forwarded-Proto': 'https',
  }
  const [response] = await once(request(endpoint, { method: 'POST', headers, agent: false }).end(), 'response')
  response.resume()
  assert.equal(response.statusCode, 201)
  assert.ok(response.headers.location.startsWith(`${endpoint}/`), response.headers.location)
})

test('the server says what is too large, not nginx', limits, async (t) => {
  const server = await startServer(t, '--max-size', '1000')
  const endpoint = await startNginx(t, server)
  const file = await makeFile(t, 5 * MiB)
  const { finished } = startUpload(fileSource(file), { endpoint, retryDelays: null })
  await assert.rejects(finished, (error) => /^ERR_MAX_SIZE_EXCEEDED: /.test(error.originalResponse.getBody()))
})

/** One request of the protocol, and the answer's status and headers. */
async function ask(method, url, headers) {
  const sent = request(url, {
    method,
    headers: { 'Tus-Resumable': '1.0.0', 'Content-Length': '0', ...headers },
    maxHeaderSize: 256 * 1024,
  })
  const [response] = await once(sent.end(), 'response')
  response.resume()
  await once(response, 'end')
  return { status: response.statusCode, headers: response.headers }
}

test('the most metadata that an upload can have goes through nginx, and comes back', limits, async (t) => {
  const server = await startServer(t, '--behind-proxy')
  const endpoint = await startNginx(t, server)
  const metadata = `a ${'QUJD'.repeat(1023)}`
  assert.equal(metadata.length, 4094)
  const created = await ask('POST', endpoint, { 'Upload-Length': '5', 'Upload-Metadata': metadata })
  assert.equal(created.status, 201)
  const told = await ask('HEAD', created.headers.location, {})
  assert.equal(told.status, 200)
  assert.equal(told.headers['upload-metadata'], metadata)
})

test('a final of the most parts goes through nginx, and tells all of them', limits, async (t) => {
  const server = await startServer(t, '--behind-proxy')
  const endpoint = await startNginx(t, server)
  const parts = []
  for (let part = 0; part < 1000; part++) {
    const created = await ask('POST', endpoint, { 'Upload-Length': '0', 'Upload-Concat': 'partial' })
    assert.equal(created.status, 201)
    parts.push(created.headers.location)
  }
  const concat = `final;${parts.join(' ')}`
  assert.ok(concat.length > 56_000, `${concat.length}`)
  const created = await ask('POST', endpoint, { 'Upload-Concat': concat })
  assert.equal(created.status, 201)
  const told = await ask('HEAD', created.headers.location, {})
  assert.equal(told.status, 200)
  assert.equal(told.headers['upload-concat'], concat)
})
