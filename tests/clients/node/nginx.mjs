// nginx with the configuration of docs/nginx.md, in front of a server under test.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const page = new URL('../../../docs/nginx.md', import.meta.url)

/** The configuration, with the addresses of this test for those of the page. */
async function configuration(listen, upstream) {
  const [, text] = /```nginx\n(.*?)```/s.exec(await readFile(page, 'utf8'))
  const replaced = [
    ['server 127.0.0.1:8080;', `server ${upstream};`],
    ['listen 80;', `listen ${listen};`],
  ].reduce((text, [there, here]) => {
    if (!text.includes(there)) throw new Error(`docs/nginx.md has no line ${there}`)
    return text.replace(there, here)
  }, text)
  return replaced
}

/** A port that was free a moment ago. */
async function freePort() {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address()
  probe.close()
  await once(probe, 'close')
  return port
}

/** Starts nginx before `server` until the test `t` ends, and answers the collection's URL through it. */
export async function startNginx(t, server) {
  const prefix = await mkdtemp(join(tmpdir(), 'tus-nginx-'))
  t.after(() => rm(prefix, { recursive: true, force: true }))
  await mkdir(join(prefix, 'tmp'))
  // Somebody else may take the port in between: then another one is tried.
  for (let tries = 0; tries < 5; tries++) {
    const listen = `127.0.0.1:${await freePort()}`
    const served = await configuration(listen, new URL(server.endpoint).host)
    const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    await writeFile(
      join(prefix, 'nginx.conf'),
      `daemon off; master_process off; pid ${prefix}/pid; events {}
       http { access_log off; ${paths.map((name) => `${name}_temp_path ${prefix}/tmp/${name};`).join(' ')}\n${served} }`,
    )
    const nginx = spawn('nginx', ['-p', prefix, '-c', join(prefix, 'nginx.conf'), '-e', 'stderr'])
    let log = ''
    nginx.stderr.on('data', (text) => (log += text))
    const ended = once(nginx, 'exit')
    t.after(async () => {
      nginx.kill('SIGKILL')
      await ended
    })
    if (await answers(listen, nginx)) return new URL('/files', `http://${listen}`).href
    if (!/Address already in use/.test(log)) throw new Error(`nginx does not start:\n${log}`)
  }
  throw new Error('no port stayed free')
}

/** Whether nginx accepts connections before it ends. */
async function answers(listen, nginx) {
  while (nginx.exitCode === null) {
    try {
      await fetch(`http://${listen}/`)
      return true
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  return false
}
