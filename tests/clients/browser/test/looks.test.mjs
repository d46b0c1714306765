// How the page looks and reads: languages, accessibility, light and dark, narrow screens. Pictures go where TUS_PICTURES says.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { makeFile, MiB } from '../../shared/file.mjs'
import { startServer } from '../../shared/server.mjs'
import { launch, openPage } from '../page.mjs'

const limits = { timeout: 300_000 }

let browser
before(async () => (browser = await launch()))
after(() => browser?.close())

/** One upload that is done, one paused, one that runs in parts, and one that failed. */
async function everyState(t, server, options) {
  const page = await openPage(t, browser, server, options)
  await page.choose(await makeFile(t, 48_000, 'holiday photos.zip'))
  await page.has(1, 'done')
  await page.slowDown(4 * MiB)
  await page.choose(await makeFile(t, 60 * MiB, 'interview.mp4'))
  await page.tab.waitForFunction(() => parseFloat(document.querySelector('[data-state=uploading] .bar')?.style.getPropertyValue('--sent')) > 0.1)
  await page.rows('uploading').getByTestId('pause').click()
  await page.has(1, 'paused')
  await page.choose(await makeFile(t, 120 * MiB, 'too large.iso'))
  await page.has(1, 'failed')
  await page.choose(await makeFile(t, 80 * MiB, 'archive 2026.tar'))
  await page.tab.waitForFunction(() => parseFloat(document.querySelector('[data-state=uploading] .bar')?.style.getPropertyValue('--sent')) > 0.1)
  return page
}

for (const colorScheme of ['light', 'dark']) {
  test(`axe finds nothing in any state, ${colorScheme}`, limits, async (t) => {
    const server = await startServer(t, '--enable-downloads', '--max-size', '100MiB')
    const options = { colorScheme, viewport: { width: 860, height: 640 } }
    const empty = await openPage(t, browser, server, options)
    assert.deepEqual(await empty.audit(), [])
    await empty.picture(`empty-${colorScheme}`)
    const page = await everyState(t, server, options)
    await page.picture(`states-${colorScheme}`)
    assert.deepEqual(await page.audit(), [])
  })
}

test('nothing is cut off on a screen of 320 px, in any language', limits, async (t) => {
  const server = await startServer(t, '--enable-downloads', '--max-size', '100MiB')
  for (const locale of ['en-GB', 'de-DE', 'zh-CN']) {
    const page = await everyState(t, server, { locale, viewport: { width: 320, height: 640 }, hasTouch: true, isMobile: true })
    await page.picture(`narrow-${locale}`)
    const width = await page.tab.evaluate(() => document.documentElement.scrollWidth)
    assert.equal(width, 320, locale)
    assert.deepEqual(await page.audit(), [], locale)
  }
})

test('the page speaks the first of the browser’s languages that it has', limits, async (t) => {
  const server = await startServer(t)
  const titles = { 'en-US': 'Upload files', 'de-AT': 'Dateien hochladen', 'zh-TW': '上传文件', 'fr-FR': 'Upload files' }
  for (const [locale, title] of Object.entries(titles)) {
    const page = await openPage(t, browser, server, { locale })
    assert.equal(await page.tab.locator('h1').textContent(), title)
    assert.equal(await page.tab.title(), title)
    await page.drop('a.txt', 'a')
    await page.reaches('done')
    const texts = await page.tab.locator('body').innerText()
    assert.ok(!texts.includes('undefined') && !texts.includes('=>'), texts)
  }
})

test('everything can be reached and done by the keyboard', limits, async (t) => {
  const server = await startServer(t, '--enable-downloads')
  const page = await openPage(t, browser, server)
  await page.drop('a.txt', 'a')
  await page.reaches('done')
  const reached = []
  for (let presses = 0; presses < 12; presses += 1) {
    await page.tab.keyboard.press('Tab')
    reached.push(await page.tab.evaluate(() => document.activeElement?.dataset.testid))
  }
  for (const hook of ['file-input', 'folder-input', 'download', 'copy', 'dismiss']) assert.ok(reached.includes(hook), `${hook}: ${reached}`)
  await page.tab.getByTestId('dismiss').focus()
  await page.tab.keyboard.press('Enter')
  await page.empties()
  assert.equal(await page.tab.evaluate(() => document.activeElement.id), 'files')
})
