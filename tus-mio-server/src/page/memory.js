// What outlives a reload: which upload belongs to which file, and which are finished. The browser never hands a file
// back by itself, so the person chooses it again, and its fingerprint finds the upload.

const PREFIX = 'tus-mio-server ';

/** Tells files apart without reading them; `path` is the name with its folders. */
export function fingerprint(file, path, collection) {
  return PREFIX + JSON.stringify([path, file.size, file.lastModified, file.type, collection]);
}

/** The key of a finished upload: the same file may be uploaded again, as another. */
export function finished(url, collection) {
  return PREFIX + JSON.stringify([url, 0, 0, 'finished', collection]);
}

/** Keeps `{name, size, type, url, stored, done}`, and `parts` as `[{url, stored}]` of what comes in parts. A browser that keeps nothing can still upload. */
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

/** All uploads to this collection that were neither cancelled nor dismissed, as `[key, entry]`. */
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
