// Files to upload: random bytes, so that a piece in the wrong place changes the hash.

import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export const MiB = 1024 * 1024

/** Makes a file of `size` bytes, which goes with the test `t`: `{ path, size, sha256 }`. */
export async function makeFile(t, size, name = 'file.bin') {
  const directory = await mkdtemp(join(tmpdir(), 'tus-clients-'))
  t.after(() => rm(directory, { recursive: true, force: true }))
  const path = join(directory, name)
  const hash = createHash('sha256')
  const file = await open(path, 'wx')
  for (let left = size; left > 0; ) {
    const block = randomBytes(Math.min(left, MiB))
    hash.update(block)
    await file.writeFile(block)
    left -= block.length
  }
  await file.close()
  return { path, size, sha256: hash.digest('hex') }
}
