// tus-js-client with parallelUploads: parts side by side, and a final of them.

import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { makeFile, MiB } from '../../shared/file.mjs'
import { head, startServer } from '../../shared/server.mjs'
import { fileSource, patient, startUpload } from '../client.mjs'

const limits = { timeout: 120_000 }

/** The creations of parts, and those of finals. */
function creations(sent) {
  const posts = sent('POST')
  const isFinal = ({ header }) => header('Upload-Concat').startsWith('final;')
  return { parts: posts.filter((post) => !isFinal(post)), finals: posts.filter(isFinal) }
}

test('four parts become one upload', limits, async (t) => {
  const server = await startServer(t)
  const file = await makeFile(t, 40 * MiB + 3)
  const { upload, finished, sent } = startUpload(fileSource(file), {
    endpoint: server.endpoint,
    parallelUploads: 4,
    metadata: { filename: 'file.bin' },
  })
  await finished
  const { parts, finals } = creations(sent)
  assert.equal(parts.length, 4)
  assert.deepEqual(finals.map(({ status }) => status), [201])
  const told = await head(upload.url)
  assert.deepEqual([told.offset, told.headers['upload-length']], [file.size, String(file.size)])
  assert.equal(told.headers['upload-concat'], finals[0].header('Upload-Concat'))
  assert.equal(told.headers['upload-metadata'], 'filename ZmlsZS5iaW4=')
  assert.equal(await server.storedSha256(upload.url), file.sha256)
})

test('four parts in chunks, and the parts go when the final is there', limits, async (t) => {
  const server = await startServer(t, '--delete-parts')
  const file = await makeFile(t, 9 * MiB)
  const { upload, finished, sent } = startUpload(await readFile(file.path), {
    endpoint: server.endpoint,
    parallelUploads: 4,
    chunkSize: MiB,
  })
  await finished
  const urls = new Set(sent('PATCH').map(({ url }) => url))
  assert.equal(urls.size, 4)
  for (const url of urls) assert.equal((await head(url)).status, 404)
  assert.equal(await server.storedSha256(upload.url), file.sha256)
})

test('the parts go on where they were when the server was killed in the middle', limits, async (t) => {
  const server = await startServer(t)
  const file = await makeFile(t, 32 * MiB)
  let killed
  const { upload, finished, sent } = startUpload(fileSource(file), {
    endpoint: server.endpoint,
    parallelUploads: 4,
    chunkSize: 2 * MiB,
    retryDelays: patient,
    async beforeRequest({ method, offset }) {
      if (method !== 'PATCH' || offset < 4 * MiB || killed) return
      killed = server.kill()
      await killed
      await server.start()
    },
  })
  await finished
  assert.ok(killed, 'the server was never killed')
  assert.equal(creations(sent).parts.length, 4, 'no part was begun anew')
  assert.equal(await server.storedSha256(upload.url), file.sha256)
})
