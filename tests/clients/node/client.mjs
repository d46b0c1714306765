// tus-js-client as promises, with a record of the requests that it sent.

import { createReadStream } from 'node:fs'
import { Transform } from 'node:stream'
import * as stable from 'tus-js-client'

/** Retries for as long as a server takes to come back: at most a minute. */
export const patient = Array(600).fill(100)

/**
 * An upload that has been started. `finished` settles with it; `requests` lists what was sent, in order, as
 * `{ method, url, offset, header(name), status }` (`status` is there once it is answered). Beside the client's own
 * options there are `beforeRequest(sent)`, awaited before each of them, and `library`: the edition of tus-js-client.
 */
export function startUpload(source, { beforeRequest = () => {}, library = stable, ...options }) {
  const requests = []
  const open = new Map()
  let upload
  const finished = new Promise((resolve, reject) => {
    upload = new library.Upload(source, {
      storeFingerprintForResuming: false,
      async onBeforeRequest(request) {
        const offset = request.getHeader('Upload-Offset')
        const sent = {
          method: request.getMethod(),
          url: request.getURL(),
          offset: offset === undefined ? null : Number(offset),
          header: (name) => request.getHeader(name),
        }
        requests.push(sent)
        open.set(request, sent)
        await beforeRequest(sent)
      },
      onAfterResponse(request, response) {
        open.get(request).status = response.getStatus()
      },
      onSuccess: () => resolve(),
      onError: reject,
      ...options,
    })
  })
  // A test that cuts an upload short never waits for it.
  finished.catch(() => {})
  upload.start()
  return { upload, finished, requests, sent: (method) => requests.filter((request) => request.method === method) }
}

/** Opens a file as a source that the client can read again from any offset. */
export function fileSource(file) {
  return createReadStream(file.path)
}

/**
 * An HTTP stack for the client that lets `limit` bytes of the first body through and then holds the rest back, the
 * connection open: so a test cuts a request exactly where it wants to. `held` resolves when it holds.
 */
export class HoldingStack {
  #inner
  #limit
  #holding = false
  #hold
  held = new Promise((resolve) => (this.#hold = resolve))

  constructor(limit, library = stable) {
    this.#inner = library.defaultOptions.httpStack
    this.#limit = limit
  }

  getName() {
    return 'HoldingStack'
  }

  createRequest(method, url) {
    const request = this.#inner.createRequest(method, url)
    const send = request.send.bind(request)
    request.send = (body) => send(body?.pipe && !this.#holding ? this.#gate(body) : body)
    return request
  }

  #gate(body) {
    this.#holding = true
    let left = this.#limit
    const hold = this.#hold
    const gate = new Transform({
      transform(chunk, _encoding, done) {
        const passed = chunk.subarray(0, left)
        left -= passed.length
        if (left > 0) return done(null, passed)
        this.push(passed)
        hold()
      },
    })
    gate.size = body.size
    return body.pipe(gate)
  }
}
