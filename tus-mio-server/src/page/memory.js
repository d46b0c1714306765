// What outlives a reload: which upload belongs to which file. The browser never hands a file back by itself,
// so the person chooses it again, and its fingerprint finds the upload.

const PREFIX = 'tus-mio-server ';

/** Tells files apart without reading them. */
export function fingerprint(file, collection) {
  return PREFIX + JSON.stringify([file.name, file.size, file.lastModified, file.type, collection]);
}

/** Keeps `{name, size, type, url, stored}`. A browser that keeps nothing can still upload. */
export function remember(key, entry) {
  try {
    localStorage.setItem(key, JSON.stringify(entry));
  } catch {
    // Storage is off or full: after a reload this file begins anew.
  }
}

export function forget(key) {
  try {
    localStorage.removeItem(key);
  } catch {
    // What can't be reached wasn't kept either.
  }
}

/** All unfinished uploads to this collection, as `[key, entry]`. */
export function recall(collection) {
  const found = [];
  try {
    for (const key of Object.keys(localStorage)) {
      if (!key.startsWith(PREFIX)) continue;
      if (JSON.parse(key.slice(PREFIX.length))[4] !== collection) continue;
      found.push([key, JSON.parse(localStorage.getItem(key))]);
    }
  } catch {
    // Unreadable entries are as good as none.
  }
  return found;
}
