// The server under test as a process of its own, for the suites in JavaScript.
//
// The port and the directory are the system's choice; a restart takes the same ones again. Whatever happens in a
// test, `dispose` (which `startServer` hangs on the test) ends the process and removes the directory.

import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const storedSha256 = fileURLToPath(new URL('stored-sha256', import.meta.url))

/** Starts a server with `args` beside the listener and the directory; it ends with the test `t`. */
export async function startServer(t, ...args) {
  const server = new Server(await mkdtemp(join(tmpdir(), 'tus-clients-')), args)
  t.after(() => server.dispose())
  await server.start()
  return server
}

class Server {
  #dataDir
  #args
  #process = null
  /** The collection's URL, as the server printed it. */
  endpoint = null

  constructor(dataDir, args) {
    this.#dataDir = dataDir
    this.#args = args
  }

  /** The flags that the test has chosen. */
  get args() {
    return this.#args
  }

  /** The URL of the page. */
  get page() {
    return new URL('/', this.endpoint).href
  }

  /** Starts the process: the first time on a free port, then on the same one. Ends when it listens. */
  async start() {
    const listen = this.endpoint ? new URL(this.endpoint).host : '127.0.0.1:0'
    const child = spawn(serverBinary(), ['--listen', listen, '--data-dir', this.#dataDir, ...this.#args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#process = child
    let log = ''
    child.stderr.on('data', (text) => (log = (log + text).slice(-8192)))
    const lines = createInterface({ input: child.stdout })
    for await (const line of lines) {
      const listening = /^listening on (http:\S+)$/.exec(line)
      if (!listening) continue
      this.endpoint = listening[1]
      child.stdout.resume()
      return
    }
    throw new Error(`the server ended before it listened:\n${log}`)
  }

  /** Ends the process as a crash would. The signal is sent before the first await. */
  async kill() {
    await this.#end('SIGKILL')
  }

  /** Ends the process in good order. */
  async stop() {
    await this.#end('SIGTERM')
  }

  async #end(signal) {
    const child = this.#process
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill(signal)
    await ended
  }

  /** The SHA-256 of what is on disk for an upload. The directory is the server's while it runs, so it is stopped. */
  async storedSha256(uploadUrl) {
    await this.stop()
    const { stdout } = await promisify(execFile)(storedSha256, [this.#dataDir, uploadUrl.split('/').at(-1)])
    return stdout.trim()
  }

  async dispose() {
    await this.kill()
    await rm(this.#dataDir, { recursive: true, force: true })
  }
}

function serverBinary() {
  const binary = process.env.TUS_SERVE_BIN
  if (!binary) throw new Error('TUS_SERVE_BIN names the server to test; tests/clients/run sets it')
  return binary
}

/** What HEAD tells of an upload, on a connection of its own: its status, its offset or null, its headers. */
export async function head(uploadUrl, headers = { 'Tus-Resumable': '1.0.0' }) {
  const [response] = await once(request(uploadUrl, { method: 'HEAD', headers, agent: false }).end(), 'response')
  response.resume()
  const offset = response.headers['upload-offset']
  return { status: response.statusCode, offset: offset === undefined ? null : Number(offset), headers: response.headers }
}

/** Asks by HEAD until `wanted(head)` holds, a bounded number of times. */
export async function headUntil(uploadUrl, wanted) {
  let last
  for (let tries = 0; tries < 600; tries++) {
    last = await head(uploadUrl)
    if (wanted(last)) return last
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error(`HEAD still tells ${last.status}, offset ${last.offset}`)
}
