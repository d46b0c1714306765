// What was dropped or chosen, as files with paths: folders are walked.

/** The files of a drop, as `[{file, path}]`, and whether some could not be read: `{found, unreadable}`. */
export async function dropped(transfer) {
  // Both must be taken before the first await: the browser empties the drop then.
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.());
  const files = [...transfer.files];
  const result = { found: [], unreadable: false };
  if (entries.every((entry) => !entry?.isDirectory)) {
    result.found = files.map((file) => ({ file, path: file.name }));
    return result;
  }
  for (const entry of entries) if (entry) await walk(entry, result);
  return result;
}

/** The files of an input, which may be a folder's. */
export function chosen(input) {
  return [...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
}

async function walk(entry, result) {
  try {
    if (entry.isFile) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      result.found.push({ file, path: entry.fullPath.replace(/^\//, '') });
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      // A browser gives some entries at a time, and none at the end.
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (some.length === 0) return;
      for (const inner of some) await walk(inner, result);
    }
  } catch {
    result.unreadable = true;
  }
}
