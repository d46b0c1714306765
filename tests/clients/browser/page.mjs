// Debian's Chromium, and the page's hooks: what a person would do on it, and what it sent.

import { chromium } from 'playwright-core'

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

/** Opens the server's page in a profile of its own, which ends with the test `t`. */
export async function openPage(t, browser, server) {
  const context = await browser.newContext()
  t.after(() => context.close())
  const page = await context.newPage()
  const network = await context.newCDPSession(page)
  await page.goto(server.page)
  return new UploadPage(page, network)
}

class UploadPage {
  #page
  #network
  /** The tus requests so far, in order: `{ method, url, offset }`. */
  requests = []

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
      })
    })
  }

  /** The requests of one method. */
  sent(method) {
    return this.requests.filter((request) => request.method === method)
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

  async choose(file) {
    await this.#hook('file-input').setInputFiles(file.path)
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
    await this.#hook(button).click()
  }

  /** Waits until the only row is in this state. */
  async reaches(state, timeout = 120_000) {
    await this.#page.locator(`[data-testid=upload][data-state=${state}]`).waitFor({ timeout })
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
