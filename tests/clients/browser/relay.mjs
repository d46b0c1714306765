// A way to the server with connections that can be cut or slowed one by one: what the browser's own throttle can't do.

import { createServer, connect } from 'node:net'

/** Relays to the server until the test `t` ends. `rate` is the bytes a second that one connection takes; 0 for no limit. */
export async function relayTo(t, server, rate = 0) {
  const connections = new Set()
  const listener = createServer((client) => {
    const upstream = connect(new URL(server.endpoint).port, '127.0.0.1')
    const connection = { client, upstream, bytes: 0 }
    connections.add(connection)
    const end = () => {
      connections.delete(connection)
      client.destroy()
      upstream.destroy()
    }
    for (const socket of [client, upstream]) socket.on('error', end).on('close', end)
    upstream.pipe(client)
    client.on('data', (bytes) => {
      connection.bytes += bytes.length
      const room = upstream.write(bytes)
      if (room && rate === 0) return
      client.pause()
      if (!room) upstream.once('drain', () => client.resume())
      else setTimeout(() => client.resume(), (bytes.length * 1000) / rate)
    })
  })
  await new Promise((resolve) => listener.listen(0, '127.0.0.1', resolve))
  t.after(() => {
    for (const { client, upstream } of connections) for (const socket of [client, upstream]) socket.destroy()
    listener.close()
  })
  return {
    page: `http://127.0.0.1:${listener.address().port}/`,
    /** Cuts the connection that most bytes went over. */
    cutBusiest() {
      const [busiest] = [...connections].sort((a, b) => b.bytes - a.bytes)
      busiest.client.resetAndDestroy()
      busiest.upstream.destroy()
    },
  }
}
