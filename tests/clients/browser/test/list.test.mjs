// Many uploads on the page: folders, thousands of files, all at once, and what is there after a reload.

import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { makeFile, MiB } from '../../shared/file.mjs'
import { head, startServer } from '../../shared/server.mjs'
import { launch, openPage } from '../page.mjs'

const limits = { timeout: 300_000 }
const slow = 2 * MiB // bytes a second

let browser
before(async () => (browser = await launch()))
after(() => browser?.close())

/** A page with a small upload that is finished. */
async function finished(t, server, options) {
  const page = await openPage(t, browser, server, options)
  await page.drop('notes.txt', 'some text')
  await page.reaches('done')
  return page
}

test('a finished upload has a download link where downloads are on', limits, async (t) => {
  const server = await startServer(t, '--enable-downloads')
  const page = await finished(t, server, { permissions: ['clipboard-read', 'clipboard-write'] })
  const started = page.tab.waitForEvent('download')
  await page.click('download')
  const download = await started
  assert.equal(download.suggestedFilename(), 'notes.txt')
  await page.click('copy')
  assert.equal(await page.tab.evaluate(() => navigator.clipboard.readText()), await page.url())
})

test('and no link that leads nowhere where they are off', limits, async (t) => {
  const server = await startServer(t)
  const page = await finished(t, server)
  assert.equal(await page.isVisible('download'), false)
  assert.equal(await page.isVisible('copy'), false)
  const id = (await page.url()).split('/').at(-1)
  assert.equal(await page.text('upload-url'), id)
})

test('finished uploads stay after a reload, until they are dismissed or deleted', limits, async (t) => {
  const server = await startServer(t)
  const page = await finished(t, server)
  const url = await page.url()
  await page.reload()
  await page.reaches('done')
  assert.equal(await page.text('upload-name'), 'notes.txt')
  await page.click('dismiss')
  await page.empties()
  await page.reload()
  await page.tab.waitForFunction(() => !document.querySelector('[data-testid=upload]'))
  assert.equal((await head(url)).status, 200, 'dismissing deletes nothing')

  await page.drop('other.txt', 'other text')
  await page.reaches('done')
  const other = await page.url()
  await fetch(other, { method: 'DELETE', headers: { 'Tus-Resumable': '1.0.0' } })
  await page.reload()
  await page.empties()
})

test('a cancelled upload can be taken back', limits, async (t) => {
  const server = await startServer(t)
  const file = await makeFile(t, 20_000_000)
  const page = await openPage(t, browser, server)
  await page.slowDown(slow)
  await page.choose(file)
  const url = await page.uploadUrl()
  await page.click('cancel')
  await page.reaches('cancelled')
  await page.click('undo')
  await page.slowDown(0)
  await page.reaches('done')
  assert.equal(await page.url(), url)
  assert.equal(await server.storedSha256(url), file.sha256)
})

test('a folder is walked, and its paths are kept', limits, async (t) => {
  const server = await startServer(t)
  const root = await mkdtemp(join(tmpdir(), 'tus-folder-'))
  t.after(() => rm(root, { recursive: true, force: true }))
  await mkdir(join(root, 'photos', 'june'), { recursive: true })
  await writeFile(join(root, 'photos', 'a.txt'), 'a')
  await writeFile(join(root, 'photos', 'june', 'b.txt'), 'b')
  const page = await openPage(t, browser, server)
  await page.chooseFolder(join(root, 'photos'))
  await page.has(2, 'done')
  const names = await page.tab.getByTestId('upload-name').allTextContents()
  assert.deepEqual(names.sort(), ['photos/a.txt', 'photos/june/b.txt'])
  const url = await page.rows('done').filter({ hasText: 'b.txt' }).getAttribute('data-url')
  const metadata = Object.fromEntries(
    (await head(url)).headers['upload-metadata'].split(',').map((pair) => {
      const [key, value] = pair.split(' ')
      return [key, Buffer.from(value, 'base64').toString()]
    }),
  )
  assert.deepEqual(metadata, { filename: 'b.txt', filetype: 'text/plain', relativePath: 'photos/june/b.txt' })
})

test('all uploads pause and go on together, and tell how far they are', limits, async (t) => {
  const server = await startServer(t)
  const files = await Promise.all([1, 2, 3].map((n) => makeFile(t, 6_000_000, `file-${n}.bin`)))
  const page = await openPage(t, browser, server)
  await page.slowDown(slow)
  await page.choose(...files)
  await page.has(2, 'uploading')
  assert.match(await page.text('overall-numbers'), /^0 of 3 files · \d+ %$/)
  await page.click('pause-all')
  await page.has(3, 'paused')
  await page.slowDown(0)
  await page.click('resume-all')
  await page.has(3, 'done')
})

test('leaving the page is warned of while something runs, and only then', limits, async (t) => {
  const server = await startServer(t)
  const page = await finished(t, server)
  const prevented = () =>
    page.tab.evaluate(() => {
      const event = new Event('beforeunload', { cancelable: true })
      dispatchEvent(event)
      return event.defaultPrevented
    })
  assert.equal(await prevented(), false)
  await page.slowDown(slow)
  await page.choose(await makeFile(t, 20_000_000))
  await page.reaches('uploading')
  assert.equal(await prevented(), true)
})

test('10 000 files do not freeze the page', limits, async (t) => {
  const server = await startServer(t)
  const page = await openPage(t, browser, server)
  // The longest time in which the page did nothing else.
  await page.tab.evaluate(() => {
    globalThis.longest = 0
    let last = performance.now()
    const beat = () => {
      const now = performance.now()
      globalThis.longest = Math.max(globalThis.longest, now - last)
      last = now
      setTimeout(beat)
    }
    beat()
  })
  await page.chooseMany(10_000)
  await page.has(2, 'uploading').catch(() => {}) // They are small: two may never be seen at once.
  const rows = await page.tab.getByTestId('upload').count()
  assert.ok(rows >= 100 && rows < 300, `${rows} rows`)
  await page.click('pause-all')
  await page.tab.getByTestId('resume-all').waitFor()
  await page.click('more')
  const longest = await page.tab.evaluate(() => globalThis.longest)
  t.diagnostic(`the page stood still for ${Math.round(longest)} ms at most`)
  // An order of magnitude, on a machine that others may use: quadratic work takes a minute.
  assert.ok(longest < 2_000, `${longest} ms`)
})

test('only what can succeed is offered to be tried again', limits, async (t) => {
  const server = await startServer(t, '--max-size', '1048576')
  const page = await openPage(t, browser, server)
  await page.choose(await makeFile(t, 2 * MiB))
  await page.reaches('failed')
  assert.equal(await page.isVisible('resume'), false)
  assert.equal(await page.isVisible('cancel'), true)
})
