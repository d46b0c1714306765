// The server's own page in a real browser: what a newcomer does first, and what then goes wrong. Files are sent whole here:
// `parts.test.mjs` has those that are not.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, before, test } from 'node:test'
import { makeFile, MiB } from '../../shared/file.mjs'
import { head, headUntil, startServer } from '../../shared/server.mjs'
import { launch, openPage } from '../page.mjs'

const limits = { timeout: 300_000 }
const slow = 40 * MiB // bytes a second: slow enough to interrupt, fast enough to wait for

let browser
before(async () => (browser = await launch()))
after(() => browser?.close())

/** Opens the page, chooses the file, and comes back when the server has `bytes` of it and more is on the way. */
async function begin(t, server, file, bytes) {
  const page = await openPage(t, browser, server)
  await page.slowDown(slow)
  await page.choose(file)
  const url = await page.uploadUrl()
  const { offset } = await headUntil(url, ({ offset }) => offset >= bytes)
  assert.ok(offset < file.size, 'the upload was to be interrupted, and is complete')
  return { page, url, offset }
}

test('300 MB survive kill -9 of the server, and go on by themselves', limits, async (t) => {
  const server = await startServer(t, '--disable-concatenation-unfinished')
  const file = await makeFile(t, 300_000_000)
  const { page, url, offset } = await begin(t, server, file, 96 * MiB)
  await server.kill()
  await page.reaches('waiting')
  await server.start()
  await page.slowDown(0)
  await page.reaches('done')

  assert.equal(page.sent('POST').length, 1, 'the upload was not begun anew')
  const resumedAt = page.sent('PATCH').at(-1).offset
  t.diagnostic(`HEAD told ${offset} before the crash, the page went on at ${resumedAt}`)
  assert.ok(resumedAt >= offset)
  assert.equal(await page.url(), url)
  assert.equal(await server.storedSha256(url), file.sha256)
})

test('after a reload the same file goes on where it was', limits, async (t) => {
  const server = await startServer(t)
  const file = await makeFile(t, 64 * MiB - 1)
  const { page, url, offset } = await begin(t, server, file, 16 * MiB)
  await page.reload()
  await page.reaches('resumable')
  assert.equal(await page.text('upload-name'), 'file.bin')
  await page.slowDown(0)
  await page.choose(file)
  await page.reaches('done')

  assert.equal(page.sent('POST').length, 1, 'the upload was not begun anew')
  assert.ok(page.sent('PATCH')[1].offset >= offset)
  assert.equal(await server.storedSha256(url), file.sha256)
})

test('pause stops, and resume goes on where it was', limits, async (t) => {
  const server = await startServer(t)
  const file = await makeFile(t, 64 * MiB - 1)
  const { page, url, offset } = await begin(t, server, file, 16 * MiB)
  await page.click('pause')
  await page.reaches('paused')
  assert.equal(page.sent('PATCH').length, 1, 'nothing was sent while it was paused')
  await page.slowDown(0)
  await page.click('resume')
  await page.reaches('done')

  assert.ok(page.sent('PATCH')[1].offset >= offset)
  assert.equal(await server.storedSha256(url), file.sha256)
})

test('cancel removes the upload from the server', limits, async (t) => {
  const server = await startServer(t)
  const file = await makeFile(t, 64 * MiB - 1)
  const { page, url } = await begin(t, server, file, 4 * MiB)
  await page.click('cancel')
  await page.empties()
  assert.equal((await head(url)).status, 404)
})

test('a file can be dropped on the page', limits, async (t) => {
  const server = await startServer(t)
  const page = await openPage(t, browser, server)
  await page.drop('dropped.txt', 'dropped')
  await page.reaches('done')
  assert.equal(await page.text('upload-name'), 'dropped.txt')
  const sha256 = createHash('sha256').update('dropped').digest('hex')
  assert.equal(await server.storedSha256(await page.url()), sha256)
})

test('a refusal is told as a sentence', limits, async (t) => {
  const server = await startServer(t, '--max-size', '1048576')
  const page = await openPage(t, browser, server)
  await page.choose(await makeFile(t, 2 * MiB))
  await page.reaches('failed')
  assert.match(await page.text('upload-error'), /^[A-Z][^_]+\.$/)
  assert.equal(page.sent('PATCH').length, 0)
})
