// Debian's Chromium, and the page's hooks: what a person would do on it, and what it sent.
//
// TUS_PAGE_DIR names a directory whose files are shown in place of the server's own page: to work on the page without
// building the server. Bodies are slow then: the browser hands each to the debugger first.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { extname, join } from 'node:path'
import { chromium } from 'playwright-core'

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

const types = { '.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript' }

/** Starts the browser. Nothing that it does of its own accord leaves the machine. */
export function launch() {
  return chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
}

/** Opens the server's page in a profile of its own, which ends with the test `t`; at `url`, if it is reached by another.
 * `options` are Playwright's. */
export async function openPage(t, browser, server, { url = server.page, ...options } = {}) {
  const context = await browser.newContext(options)
  t.after(() => context.close())
  const page = await context.newPage()
  if (process.env.TUS_PAGE_DIR) await showSources(page, server, url)
  const network = await context.newCDPSession(page)
  await page.goto(url)
  return new UploadPage(page, network)
}

async function showSources(page, server, base) {
  const downloads = server.args.includes('--enable-downloads') ? 'on' : 'off'
  const parts = server.args.includes('pre-finish') ? 'off' : 'on'
  await page.route(
    (url) => url.href.startsWith(base) && /^\/($|[a-z-]+\.(js|css)$)/.test(url.pathname),
    async (route) => {
      const name = new URL(route.request().url()).pathname.slice(1) || 'index.html'
      const body = await readFile(join(process.env.TUS_PAGE_DIR, name), 'utf8')
      const filled = body
        .replaceAll('{{base_path}}', '/files')
        .replaceAll('{{downloads}}', downloads)
        .replaceAll('{{parts}}', parts)
      await route.fulfill({ body: filled, contentType: `${types[extname(name)]}; charset=utf-8` })
    },
  )
}

class UploadPage {
  #page
  #network
  /** The tus requests so far, in order: `{ method, url, offset, concat, metadata }`. */
  requests = []
  /** The uploads that the server has created, in the order of its answers: `{ url, concat }`. */
  created = []

  constructor(page, network) {
    this.#page = page
    this.#network = network
    page.on('request', (request) => {
      const headers = request.headers()
      if (!headers['tus-resumable']) return
      const offset = headers['upload-offset']
      this.requests.push({
        method: request.method(),
        url: request.url(),
        offset: offset === undefined ? null : Number(offset),
        concat: headers['upload-concat'] ?? null,
        metadata: headers['upload-metadata'] ?? null,
      })
    })
    page.on('response', (response) => {
      const request = response.request()
      if (request.method() !== 'POST' || response.status() !== 201) return
      const url = new URL(response.headers().location, request.url()).href
      this.created.push({ url, concat: request.headers()['upload-concat'] ?? null })
    })
  }

  /** The requests of one method. */
  sent(method) {
    return this.requests.filter((request) => request.method === method)
  }

  /** The URLs of the parts that the server has created. */
  get parts() {
    return this.created.filter(({ concat }) => concat === 'partial').map(({ url }) => url)
  }

  /** Slows what the page sends to so many bytes a second; 0 for no limit. */
  async slowDown(bytesPerSecond) {
    await this.#network.send('Network.emulateNetworkConditions', {
      offline: false,
      latency: 0,
      downloadThroughput: -1,
      uploadThroughput: bytesPerSecond || -1,
    })
  }

  async choose(...files) {
    await this.#hook('file-input').setInputFiles(files.map((file) => file.path))
  }

  async chooseFolder(path) {
    await this.#hook('folder-input').setInputFiles(path)
  }

  /** Adds `count` files of one byte, as one choice. From then on `longest` counts: see the test that uses it. */
  async chooseMany(count) {
    await this.#hook('file-input').evaluate(async (input, count) => {
      const transfer = new DataTransfer()
      for (let index = 0; index < count; index += 1) transfer.items.add(new File(['x'], `file-${index}.txt`))
      input.files = transfer.files
      // What came before is the test's own work.
      await new Promise((resolve) => setTimeout(resolve, 50))
      globalThis.longest = 0
      input.dispatchEvent(new Event('change'))
    }, count)
  }

  /** Drops a file with this text on the page. */
  async drop(name, text) {
    const dropped = await this.#page.evaluateHandle(
      ([name, text]) => {
        const transfer = new DataTransfer()
        transfer.items.add(new File([text], name, { type: 'text/plain' }))
        return transfer
      },
      [name, text],
    )
    await this.#hook('drop-zone').dispatchEvent('drop', { dataTransfer: dropped })
  }

  async reload() {
    await this.#page.reload()
  }

  async click(button) {
    await this.#hook(button).first().click()
  }

  /** Waits until a row is in this state. */
  async reaches(state, timeout = 120_000) {
    await this.#page.locator(`[data-testid=upload][data-state=${state}]`).first().waitFor({ timeout })
  }

  /** Waits until so many rows are in this state. */
  async has(count, state) {
    const rows = this.rows(state)
    await rows.nth(count - 1).waitFor({ timeout: 60_000 })
    assert.equal(await rows.count(), count)
  }

  /** The rows in a state. */
  rows(state) {
    return this.#page.locator(`[data-testid=upload][data-state=${state}]`)
  }

  /** The URL of the only upload. */
  async url() {
    return this.#hook('upload').getAttribute('data-url')
  }

  /** Playwright's page, for what only one test does. */
  get tab() {
    return this.#page
  }

  async isVisible(hook) {
    return this.#hook(hook).first().isVisible()
  }

  /** The findings of axe, one line each. */
  async audit() {
    // By the debugger: the page's policy lets no other script in.
    await this.#page.evaluate(axeSource)
    const { violations } = await this.#page.evaluate(() => globalThis.axe.run())
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(' ')).join(', ')}`)
  }

  /** Saves a picture, if TUS_PICTURES names a directory. */
  async picture(name) {
    const directory = process.env.TUS_PICTURES
    if (directory) await this.#page.screenshot({ path: join(directory, `${name}.png`), fullPage: true })
  }

  /** Waits until no row is left. */
  async empties() {
    await this.#hook('upload').waitFor({ state: 'detached' })
  }

  /** Waits until the page has begun to send a body, and answers where to. */
  async uploadUrl() {
    const patch = this.sent('PATCH')[0]
    if (patch) return patch.url
    const request = await this.#page.waitForRequest((request) => request.method() === 'PATCH')
    return request.url()
  }

  async text(hook) {
    return this.#hook(hook).textContent()
  }

  #hook(name) {
    return this.#page.getByTestId(name)
  }
}
