// A page of another origin than the server's: it has tus-js-client, its pre-release, and Uppy, and nothing of ours.

import { createServer } from 'node:http'
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

const html = `<!doctype html>
<meta charset="utf-8">
<title>elsewhere</title>
<input type="file" id="file">
<script src="/tus5.js"></script>
<script>const tus5 = window.tus</script>
<script src="/tus.js"></script>
<script src="/uppy.js"></script>`

const scripts = {
  '/tus.js': 'tus-js-client/dist/tus.min.js',
  '/tus5.js': 'tus-js-client-5/dist/tus.min.js',
  '/uppy.js': 'uppy/dist/uppy.min.js',
}

/** Serves the page on a port of the system's choice until the test `t` ends, and answers its origin. */
export async function serveOrigin(t) {
  const server = createServer(async (request, response) => {
    const script = scripts[request.url]
    if (!script) {
      response.setHeader('Content-Type', 'text/html')
      return response.end(html)
    }
    const path = fileURLToPath(new URL(`node_modules/${script}`, import.meta.url))
    response.setHeader('Content-Type', 'text/javascript')
    response.end(await readFile(path))
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${server.address().port}`
}
