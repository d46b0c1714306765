// One large file in parts over several connections: what is sent, what survives, and what is left on the server.

import assert from 'node:assert/strict'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { makeFile, MiB } from '../../shared/file.mjs'
import { head, headUntil, startServer } from '../../shared/server.mjs'
import { launch, openPage } from '../page.mjs'
import { relayTo } from '../relay.mjs'

const limits = { timeout: 300_000 }
const slow = 8 * MiB // bytes a second, of all connections together
const size = 96 * MiB + 1 // parts of two different lengths

let browser
before(async () => (browser = await launch()))
after(() => browser?.close())

/** Opens the page, chooses the file, and comes back when the server has some of each part, and none is complete. */
async function begin(t, server, file, options) {
  const page = await openPage(t, browser, server, options)
  await page.slowDown(slow)
  await page.choose(file)
  await page.uploadUrl()
  assert.equal(page.parts.length, 3)
  const final = page.created.at(-1)
  assert.equal(final.concat, `final;${finalOrder(page).join(' ')}`)
  const offsets = []
  for (const part of page.parts) offsets.push((await headUntil(part, ({ offset }) => offset >= MiB / 4)).offset)
  for (const offset of offsets) assert.ok(offset < 32 * MiB, 'the upload was to be interrupted, and a part is complete')
  return { page, final: final.url, offsets }
}

/** The paths of the parts in the order in which they were asked for, which need not be that of the answers. */
function finalOrder(page) {
  const paths = page.parts.map((url) => new URL(url).pathname)
  const named = page.sent('POST').at(-1).concat.replace('final;', '').split(' ')
  assert.deepEqual([...named].sort(), [...paths].sort())
  return named
}

/** The upload is done, is the file, and nothing but it is left. */
async function assertWhole(page, server, final, file) {
  await page.slowDown(0)
  await page.reaches('done')
  assert.equal(await page.url(), final)
  for (const part of page.parts) assert.equal((await head(part)).status, 404, 'a part is left')
  assert.equal(await server.storedSha256(final), file.sha256)
}

/** A directory with one hook of this name, which runs `script`. */
async function hook(t, name, script) {
  const directory = await mkdtemp(join(tmpdir(), 'tus-hooks-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  await writeFile(join(directory, name), `#!/bin/sh\n${script}\n`)
  await chmod(join(directory, name), 0o755)
  return directory
}

test('a large file goes up in three parts at once, and becomes one upload', limits, async (t) => {
  const server = await startServer(t)
  const file = await makeFile(t, size)
  const { page, final } = await begin(t, server, file)
  assert.match(await page.text('upload-status'), /^Uploading in 3 parts, \d+ %$/)
  assert.equal(page.sent('PATCH').length, 3, 'each part has its connection')
  assert.equal((await head(final)).offset, null, 'it waits for its parts')
  const [, , , last] = page.sent('POST')
  assert.match(last.metadata, /^filename /)
  await page.slowDown(0)
  await page.reaches('done')
  assert.equal((await head(final)).headers['upload-metadata'], last.metadata)
  assert.equal(page.sent('PATCH').length, 3)
  await assertWhole(page, server, final, file)
})

test('the parts survive kill -9 of the server, and go on by themselves', limits, async (t) => {
  const server = await startServer(t)
  const file = await makeFile(t, size)
  const { page, final, offsets } = await begin(t, server, file)
  await server.kill()
  await page.reaches('waiting')
  const before = page.sent('PATCH').length
  await server.start()
  await page.slowDown(0)
  await page.reaches('done')
  const resumed = page.sent('PATCH').slice(before)
  for (const [index, part] of page.parts.entries()) {
    const { offset } = resumed.find(({ url }) => url === part)
    assert.ok(offset >= offsets[index], `part ${index} went on at ${offset}, HEAD had told ${offsets[index]}`)
  }
  assert.equal(page.sent('POST').length, 4, 'nothing was begun anew')
  await assertWhole(page, server, final, file)
})

test('where one connection is cut, its part goes on and the others never stop', limits, async (t) => {
  const server = await startServer(t)
  const file = await makeFile(t, size)
  const relay = await relayTo(t, server)
  const { page, final } = await begin(t, server, file, { url: relay.page })
  relay.cutBusiest()
  await page.tab.waitForRequest((request) => request.method() === 'PATCH')
  assert.equal(await page.rows('uploading').count(), 1)
  const patches = page.sent('PATCH')
  assert.equal(patches.length, 4)
  assert.ok(patches[3].offset > 0, 'the part went on where it was')
  await page.slowDown(0)
  await page.reaches('done')
  assert.equal(page.sent('PATCH').length, 4)
  await assertWhole(page, server, final, file)
})

test('after a reload the same file finds its parts', limits, async (t) => {
  const server = await startServer(t)
  const file = await makeFile(t, size)
  const { page, final, offsets } = await begin(t, server, file)
  await page.reload()
  await page.reaches('resumable')
  await page.tab.waitForFunction(() => /^[1-9].* MB of 100\.7 MB stored$/.test(document.querySelector('[data-testid=upload-numbers]').textContent))
  const before = page.sent('PATCH').length
  await page.slowDown(0)
  await page.choose(file)
  await page.reaches('done')
  const resumed = page.sent('PATCH').slice(before)
  assert.equal(resumed.length, 3)
  for (const [index, part] of page.parts.entries()) assert.ok(resumed.find(({ url }) => url === part).offset >= offsets[index])
  assert.equal(page.sent('POST').length, 4, 'nothing was begun anew')
  await assertWhole(page, server, final, file)
})

test('a reload just before the end finds the upload complete, and deletes the parts', limits, async (t) => {
  const server = await startServer(t)
  const file = await makeFile(t, size)
  const page = await openPage(t, browser, server)
  // The page learns nothing of what comes after its last byte.
  await page.tab.route('**/files/*', (route) => (route.request().method() === 'DELETE' ? route.abort() : route.fallback()))
  await page.choose(file)
  await page.reaches('waiting')
  await page.tab.unroute('**/files/*')
  await page.reload()
  await assertWhole(page, server, page.created.at(-1).url, file)
  assert.equal(page.sent('PATCH').length, 3)
})

test('pause stops all parts, and resume goes on with each', limits, async (t) => {
  const server = await startServer(t)
  const file = await makeFile(t, size)
  const { page, final } = await begin(t, server, file)
  await page.click('pause')
  await page.reaches('paused')
  assert.equal(page.sent('PATCH').length, 3)
  await page.click('resume')
  await assertWhole(page, server, final, file)
  assert.equal(page.sent('PATCH').length, 6)
})

test('cancel deletes the parts too, and undo keeps them', limits, async (t) => {
  const server = await startServer(t)
  const file = await makeFile(t, size)
  const { page, final } = await begin(t, server, file)
  await page.click('cancel')
  await page.reaches('cancelled')
  await page.click('undo')
  await page.reaches('uploading')
  for (const url of [final, ...page.parts]) assert.equal((await head(url)).status, 200)
  await page.click('cancel')
  await page.empties()
  for (const url of [final, ...page.parts]) assert.equal((await head(url)).status, 404)
})

test('an upload whose part is gone starts again, and leaves nothing', limits, async (t) => {
  const server = await startServer(t)
  const file = await makeFile(t, size)
  const { page } = await begin(t, server, file)
  await page.click('pause')
  await page.reaches('paused')
  await fetch(page.parts[1], { method: 'DELETE', headers: { 'Tus-Resumable': '1.0.0' } })
  await page.click('resume')
  await page.slowDown(0)
  await page.reaches('done')
  assert.equal(page.parts.length, 6)
  await assertWhole(page, server, page.created.at(-1).url, file)
})

test('parts that expired while it was paused start again', limits, async (t) => {
  const server = await startServer(t, '--upload-expiry', '5s', '--cleanup-interval', '1s')
  const file = await makeFile(t, size)
  const { page, final } = await begin(t, server, file)
  await page.click('pause')
  await page.reaches('paused')
  await headUntil(final, ({ status }) => status === 410)
  await page.slowDown(0)
  await page.click('resume')
  await page.reaches('done')
  assert.equal(page.parts.length, 6)
  const last = page.created.at(-1).url
  assert.equal(await page.url(), last)
  for (const part of page.parts.slice(3)) assert.equal((await head(part)).status, 404, 'a part is left')
  assert.equal(await server.storedSha256(last), file.sha256)
})

test('the server deletes the parts by itself, or keeps them if it deletes nothing for clients', limits, async (t) => {
  const file = await makeFile(t, size)
  for (const [flag, status] of [['--delete-parts', 404], ['--disable-termination', 200]]) {
    const server = await startServer(t, flag)
    const page = await openPage(t, browser, server)
    await page.choose(file)
    await page.reaches('done')
    assert.equal(page.parts.length, 3)
    for (const part of page.parts) assert.equal((await head(part)).status, status, flag)
    assert.equal(await server.storedSha256(await page.url()), file.sha256)
  }
})

test('with fewer connections the parts take turns, so that none rests until it expires', limits, async (t) => {
  const server = await startServer(t)
  const file = await makeFile(t, size)
  const other = await makeFile(t, 10 * MiB, 'other.bin')
  const { page, final } = await begin(t, server, file)
  await page.click('pause')
  await page.reaches('paused')
  await page.slowDown(2 * MiB)
  await page.choose(other)
  await page.reaches('uploading')
  const before = page.sent('PATCH').length
  await page.click('resume')
  await page.has(2, 'uploading')
  await page.slowDown(0)
  await page.has(2, 'done')
  const turns = page.sent('PATCH').slice(before).filter(({ url }) => page.parts.includes(url))
  // A turn whose request failed is taken again, from the same offset.
  const first = new Map()
  const second = turns.find(({ url, offset }) => {
    if (!first.has(url)) first.set(url, offset)
    return offset > first.get(url)
  })
  assert.ok(second, 'a turn is less than a part')
  assert.equal(first.size, 3, 'each part has its turn before one has its second')
  assert.equal(await server.storedSha256(final), file.sha256)
})

test('a file is sent whole where parts do not pay, or are not taken', limits, async (t) => {
  const large = await makeFile(t, 64 * MiB)
  const small = await makeFile(t, 64 * MiB - 1)
  const finish = await hook(t, 'pre-finish', 'echo "{}"')
  const noParts = await hook(t, 'pre-create', `if grep -q '"IsPartial": *true'; then echo '{"RejectUpload": true}'; else echo '{}'; fi`)
  const cases = [
    ['several files', [], [large, await makeFile(t, 64 * MiB, 'second.bin')]],
    ['a smaller file', [], [small]],
    ['no concatenation', ['--disable-concatenation'], [large]],
    ['none of unfinished parts', ['--disable-concatenation-unfinished'], [large]],
    ['a hook that is asked before an upload is finished', ['--hooks-dir', finish, '--hooks-enabled-events', 'pre-finish'], [large]],
    ['a hook that rejects parts', ['--hooks-dir', noParts, '--hooks-enabled-events', 'pre-create'], [large]],
  ]
  for (const [name, flags, files] of cases) {
    const server = await startServer(t, ...flags)
    const page = await openPage(t, browser, server)
    await page.choose(...files)
    await page.has(files.length, 'done')
    assert.equal(page.sent('PATCH').length, files.length, name)
    assert.equal(page.created.length, files.length, name)
    if (files.length === 1) assert.equal(await server.storedSha256(await page.url()), files[0].sha256, name)
    await page.tab.close()
    await server.stop()
  }
})

test('a file that is too large leaves no parts', limits, async (t) => {
  const server = await startServer(t, '--max-size', '80MiB')
  const page = await openPage(t, browser, server)
  await page.choose(await makeFile(t, size))
  await page.reaches('failed')
  assert.match(await page.text('upload-error'), /^[A-Z][^_]+\.$/)
  assert.equal(page.sent('PATCH').length, 0)
  for (const part of page.parts) assert.equal((await head(part)).status, 404)
})

test('where each connection is limited, parts are faster: see the figures', limits, async (t) => {
  const file = await makeFile(t, 64 * MiB)
  for (const [how, flags] of [['in parts', []], ['whole', ['--disable-concatenation']]]) {
    const server = await startServer(t, ...flags)
    const relay = await relayTo(t, server, 8 * MiB)
    const page = await openPage(t, browser, server, { url: relay.page })
    const begin = performance.now()
    await page.choose(file)
    await page.reaches('done')
    t.diagnostic(`64 MiB at 8 MiB/s for each connection, ${how}: ${Math.round(performance.now() - begin)} ms`)
    assert.equal(await server.storedSha256(await page.url()), file.sha256)
    await page.tab.close()
  }
})
