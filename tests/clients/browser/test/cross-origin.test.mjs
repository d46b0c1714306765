// Pages of another origin: Uppy, and tus-js-client with parallel parts, in a real browser.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { makeFile, MiB } from '../../shared/file.mjs'
import { head, headUntil, startServer } from '../../shared/server.mjs'
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

/** Uploads the chosen file with tus-js-client, by its pre-release if a protocol is named, and answers its URL. */
function uploadWithTus(page, endpoint, options = {}) {
  return page.evaluate(
    ([endpoint, options]) =>
      new Promise((resolve, reject) => {
        const file = document.querySelector('#file').files[0]
        const library = options.protocol ? tus5 : tus
        const upload = new library.Upload(file, {
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

for (const [protocol, version] of [['ietf-draft-03', '5'], ['ietf-draft-05', '6']]) {
  test(`${protocol}: an upload from another origin survives kill -9 of the server`, limits, async (t) => {
    const origin = await serveOrigin(t)
    const server = await startServer(t, '--cors-allow-origin', origin)
    const file = await makeFile(t, 16 * MiB + 3)
    const page = await openPage(t, origin, file)
    const network = await page.context().newCDPSession(page)
    const throttle = (uploadThroughput) =>
      network.send('Network.emulateNetworkConditions', { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput })
    const appends = []
    page.on('request', (request) => request.method() === 'PATCH' && appends.push(request))

    await throttle(4 * MiB)
    const begun = page.waitForRequest((request) => request.method() === 'PATCH')
    const cut = assert.rejects(uploadWithTus(page, server.endpoint, { protocol }))
    const upload = (await begun).url()
    const { offset } = await headUntil(upload, ({ offset }) => offset > MiB)
    await server.kill()
    // The pre-release does not try again by itself in a browser; it goes on when it is told to.
    await cut
    await throttle(-1)
    await server.start()

    const url = await uploadWithTus(page, server.endpoint, { protocol, uploadUrl: upload })
    const last = appends.at(-1).headers()
    assert.ok(Number(last['upload-offset']) >= offset, 'what HEAD told is there')
    assert.equal(last['upload-draft-interop-version'], version)
    const { headers } = await head(url, { 'Upload-Draft-Interop-Version': version })
    assert.deepEqual([headers['upload-offset'], headers['upload-complete']], [String(file.size), '?1'])
    assert.equal(await server.storedSha256(url), file.sha256)
  })
}
