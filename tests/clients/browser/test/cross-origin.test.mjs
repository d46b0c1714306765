// Pages of another origin: Uppy, and tus-js-client with parallel parts, in a real browser.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { makeFile, MiB } from '../../shared/file.mjs'
import { head, startServer } from '../../shared/server.mjs'
import { serveOrigin } from '../origin.mjs'
import { launch } from '../page.mjs'

const limits = { timeout: 120_000 }

let browser
before(async () => (browser = await launch()))
after(() => browser?.close())

/** Opens a page of `origin` in which `file` is chosen. */
async function openPage(t, origin, file) {
  const context = await browser.newContext()
  t.after(() => context.close())
  const page = await context.newPage()
  await page.goto(origin)
  await page.locator('#file').setInputFiles(file.path)
  return page
}

/** Uploads the chosen file with Uppy, and answers its URL, or throws what Uppy says. */
function uploadWithUppy(page, endpoint, options = {}) {
  return page.evaluate(
    async ([endpoint, options]) => {
      const file = document.querySelector('#file').files[0]
      const uppy = new Uppy.Uppy({ autoProceed: false }).use(Uppy.Tus, { endpoint, retryDelays: [], ...options })
      uppy.addFile({ name: file.name, type: file.type, data: file })
      const { successful, failed } = await uppy.upload()
      if (failed.length > 0) throw new Error(String(failed[0].error))
      return successful[0].uploadURL
    },
    [endpoint, options],
  )
}

/** Uploads the chosen file with tus-js-client, and answers its URL. */
function uploadWithTus(page, endpoint, options = {}) {
  return page.evaluate(
    ([endpoint, options]) =>
      new Promise((resolve, reject) => {
        const file = document.querySelector('#file').files[0]
        const upload = new tus.Upload(file, {
          endpoint,
          retryDelays: [],
          onSuccess: () => resolve(upload.url),
          onError: reject,
          ...options,
        })
        upload.start()
      }),
    [endpoint, options],
  )
}

test('Uppy uploads to a server of another origin', limits, async (t) => {
  const origin = await serveOrigin(t)
  const server = await startServer(t, '--cors-allow-origin', origin)
  const file = await makeFile(t, 12 * MiB + 5)
  const page = await openPage(t, origin, file)
  const url = await uploadWithUppy(page, server.endpoint, { chunkSize: 5 * MiB })
  const told = await head(url)
  assert.equal(told.offset, file.size)
  assert.match(told.headers['upload-metadata'], /filename ZmlsZS5iaW4=/)
  assert.equal(await server.storedSha256(url), file.sha256)
})

test('Uppy uploads to a server that allows credentials', limits, async (t) => {
  const origin = await serveOrigin(t)
  const server = await startServer(t, '--cors-allow-origin', origin, '--cors-allow-credentials')
  const file = await makeFile(t, MiB)
  const page = await openPage(t, origin, file)
  const url = await uploadWithUppy(page, server.endpoint, { withCredentials: true })
  assert.equal(await server.storedSha256(url), file.sha256)
})

test('the browser keeps pages of other origins away', limits, async (t) => {
  const origin = await serveOrigin(t)
  const server = await startServer(t, '--cors-allow-origin', 'https://app.example')
  const page = await openPage(t, origin, await makeFile(t, 1000))
  await assert.rejects(uploadWithUppy(page, server.endpoint))
  await assert.rejects(uploadWithTus(page, server.endpoint))
})

test('a page can read why it is refused', limits, async (t) => {
  const origin = await serveOrigin(t)
  const server = await startServer(t, '--cors-allow-origin', origin, '--max-size', '1000')
  const page = await openPage(t, origin, await makeFile(t, 1001))
  await assert.rejects(uploadWithTus(page, server.endpoint), /413.*ERR_MAX_SIZE_EXCEEDED/s)
})

test('tus-js-client uploads four parts at once from another origin', limits, async (t) => {
  const origin = await serveOrigin(t)
  const server = await startServer(t, '--cors-allow-origin', '*')
  const file = await makeFile(t, 40 * MiB + 3)
  const page = await openPage(t, origin, file)
  const posted = []
  page.on('request', (request) => request.method() === 'POST' && posted.push(request.headers()['upload-concat']))
  const url = await uploadWithTus(page, server.endpoint, { parallelUploads: 4 })
  assert.deepEqual(posted.slice(0, 4), Array(4).fill('partial'))
  assert.match(posted[4], /^final;/)
  assert.equal((await head(url)).offset, file.size)
  assert.equal(await server.storedSha256(url), file.sha256)
})
