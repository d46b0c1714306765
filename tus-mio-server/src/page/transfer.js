// How the bytes of one file get to the server: as one upload over one connection, or in parts over several, which the server
// puts together. One connection often can't fill the line: because of distance, losses, or a limit for each connection. This module
// knows the protocol. The screen, and the pauses of the upload as a whole, are in `upload.js`.
//
// In parts, the upload that they become (the final) is created before any byte is sent. So the server judges it first, its URL
// is known from then on, and it is complete with the last byte: no request for it can get lost at the end, when it could only be
// repeated by making the upload twice.

import * as tus from './tus.js';
import { Failure, isGone, isTakenOver, passes } from './problems.js';
import { t } from './words.js';

/** Connections for the parts of one file. By HTTP/1.1 a browser opens six to a server: the rest is for the next file, and questions. */
export const PARTS = 3;

const MiB = 1024 * 1024;
const IN_PARTS_FROM = 64 * MiB; // bytes; a smaller file has arrived before more connections pay for their requests
const TURN = 16 * MiB; // bytes of a part until the next one's turn, where connections are fewer: a part that rests may expire
const SMALLEST_CHUNK = 64 * 1024; // bytes
const LONGEST_PAUSE = 8; // s before the next attempt for one part, while others get further

/** Some bytes of the file, and the upload that they go to. */
class Part {
  failures = 0; // in a row

  /** `certain` tells whether `stored` is all the server has. */
  constructor(from, size, certain, { url, stored = 0 }) {
    Object.assign(this, { from, size, certain, url, stored, sent: stored });
  }

  get complete() {
    return this.stored === this.size;
  }
}

export class Transfer {
  url; // of the upload, once it is created
  #size;
  #parts = []; // where there is one, it is the upload itself
  #chunk = Infinity; // bytes that one request may have
  #whole = false; // the server has rejected parts of this file
  #known;
  #progress;

  /** Of so many bytes, with what `kept` gave before a reload. Calls `known(further)` whenever the server has told what it has, and
      `progress()` when bytes leave. */
  constructor(size, { url, stored, parts }, { known, progress }) {
    this.#size = size;
    this.#known = known;
    this.#progress = progress;
    if (url) this.#take(url, parts ?? [{ url, stored }], false);
  }

  /** Bytes the server is known to have. */
  get stored() {
    return this.#parts.reduce((sum, part) => sum + part.stored, 0);
  }

  /** Bytes that have left, of which an unknown part arrived; never below `stored`. */
  get sent() {
    return this.#parts.reduce((sum, part) => sum + part.sent, 0);
  }

  /** Whether `stored` is all the server has. */
  get certain() {
    return this.#parts.every((part) => part.certain);
  }

  get parts() {
    return this.#parts.length;
  }

  /** What finds it again after a reload. */
  get kept() {
    const { url, stored } = this;
    return this.parts > 1 ? { url, stored, parts: this.#parts.map(({ url, stored }) => ({ url, stored })) } : { url, stored };
  }

  /** The server is to be asked before more is sent. */
  doubt() {
    for (const part of this.#parts) part.certain = false;
  }

  /** Creates the upload; in parts if there are several connections for it, the file is large, and the server takes parts. */
  async create({ collection, takesParts }, file, path, connections) {
    const inParts = connections > 1 && file.size >= IN_PARTS_FROM && !this.#whole && (await takesParts());
    if (inParts && (await this.#createParts(collection, file, path))) return;
    const url = await tus.create(collection, file, path);
    this.#take(url, [{ url }], true);
    this.#tell(0);
  }

  async #createParts(collection, file, path) {
    const ends = await Promise.allSettled(
      split(file.size, PARTS).map(({ size }) => tus.createPart(collection, file, path, size)),
    );
    const urls = ends.filter(({ value }) => value).map(({ value }) => value);
    try {
      const failed = ends.find(({ reason }) => reason);
      if (failed) throw failed.reason;
      const url = await tus.createFinal(collection, file, path, urls);
      this.#take(url, urls.map((url) => ({ url })), true);
      this.#tell(0);
      return true;
    } catch (problem) {
      // If the answer was lost, there may be a final now: it goes with its first part.
      await deleteSome(urls);
      if (passes(problem)) throw problem;
      // A hook or a limit is against parts, or against the file; that shows when it is one upload.
      this.#whole = true;
      return false;
    }
  }

  /** Learns what the server has. Returns whether it has the upload; if not, that is dropped. */
  async ask(signal) {
    const upload = await inspect(this.url, this.#size, signal);
    let found = [upload];
    if (upload && this.parts > 1) {
      found =
        upload.offset === undefined
          ? await all(this.#parts.map(({ url, size }) => inspect(url, size, signal)))
          : this.#parts.map(({ size }) => ({ offset: size }));
    }
    const before = this.stored;
    if (found.every((part) => part?.offset !== undefined)) {
      this.#parts.forEach((part, index) => learn(part, found[index].offset));
      this.#tell(before);
      return true;
    }
    if (this.parts > 1) await deleteSome([this.url, ...this.#parts.map(({ url }) => url)]);
    this.url = undefined;
    this.#parts = [];
    return false;
  }

  /**
   * Sends what the server doesn't have, over so many connections at most. Where one of several fails, it tries again while the
   * others get further; the failure of the last one ends the others' pauses, and is thrown.
   */
  async send(file, connections, signal) {
    const left = this.#parts.filter((part) => !part.complete);
    const most = left.length > connections ? TURN : Infinity;
    const inner = new AbortController();
    const abort = () => inner.abort();
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
    let moving = 0;
    const connection = async () => {
      for (let part; !inner.signal.aborted && (part = left.shift()); ) {
        moving += 1;
        try {
          await this.#append(part, file, most, inner.signal);
          moving -= 1;
        } catch (problem) {
          moving -= 1;
          if (inner.signal.aborted) return;
          if (moving === 0 || isTakenOver(problem) || !(passes(problem) || problem.status === 409)) {
            abort();
            throw problem;
          }
          await pause(Math.min(2 ** part.failures++, LONGEST_PAUSE), inner.signal);
        }
        if (!part.complete) left.push(part);
      }
    };
    try {
      await all(Array.from({ length: connections }, connection));
    } finally {
      signal.removeEventListener('abort', abort);
    }
  }

  /** Deletes the parts, once the upload that they became is complete. A server that deletes nothing for clients keeps them. */
  async join(signal) {
    if (this.parts === 1) return;
    const upload = await inspect(this.url, this.#size, signal);
    if (upload?.offset !== this.#size) {
      this.doubt();
      throw new Failure(t('lostAgain'), { again: true });
    }
    const lost = (await deleteSome(this.#parts.map(({ url }) => url), signal)).find((reason) => reason instanceof tus.Unreachable);
    if (lost) throw lost;
  }

  /** Deletes all of it from the server. */
  async remove(signal) {
    for (const url of new Set([this.url, ...this.#parts.map(({ url }) => url)])) await tus.terminate(url, signal);
  }

  async #append(part, file, most, signal) {
    if (!part.certain) await this.#askFor(part, signal);
    if (part.complete) return;
    const from = part.stored;
    const end = Math.min(from + Math.min(this.#chunk, most), part.size);
    const blob = file.slice(part.from + from, part.from + end);
    part.certain = false;
    try {
      const onSent = (bytes) => {
        part.sent = Math.max(part.stored, from + bytes);
        this.#progress();
      };
      const offset = await tus.append(part.url, from, blob, { signal, onSent });
      if (offset <= from || offset > part.size) throw new Failure(t('wrongCount'));
      this.#learn(part, offset);
    } catch (problem) {
      if (signal.aborted) throw problem;
      problem.midway = true;
      if (problem instanceof tus.Unreachable) await checkReadable(file, part.from + from);
      const tooLarge = problem.status === 413 && problem.code !== 'ERR_UPLOAD_SIZE_EXCEEDED';
      if (!tooLarge || blob.size <= SMALLEST_CHUNK) throw problem;
      // A limit for one request, not for the upload: that would have failed when it was created.
      this.#chunk = Math.max(SMALLEST_CHUNK, Math.ceil(blob.size / 2));
    }
  }

  async #askFor(part, signal) {
    const { offset, length } = await tus.inspect(part.url, signal);
    if (length !== part.size || !(offset <= part.size)) throw new Failure(t('wrongCount'), { again: true });
    this.#learn(part, offset);
  }

  #learn(part, offset) {
    const before = this.stored;
    learn(part, offset);
    this.#tell(before);
  }

  #tell(before) {
    this.#known(this.stored > before);
  }

  #take(url, parts, certain) {
    this.url = url;
    this.#parts = split(this.#size, parts.length).map(({ from, size }, index) => new Part(from, size, certain, parts[index]));
  }
}

function learn(part, offset) {
  if (offset > part.stored) part.failures = 0;
  part.stored = part.sent = offset;
  part.certain = true;
}

/** Cuts so many bytes into ranges of about the same size. Always the same way: after a reload the parts are found by it. */
function split(size, count) {
  const starts = Array.from({ length: count + 1 }, (_, index) => Math.floor((size * index) / count));
  return starts.slice(1).map((end, index) => ({ from: starts[index], size: end - starts[index] }));
}

/** What the server has of an upload of this size; undefined if it has none. */
async function inspect(url, size, signal) {
  try {
    const { offset, length } = await tus.inspect(url, signal);
    return length === size && (offset ?? 0) <= size ? { offset } : undefined;
  } catch (problem) {
    if (isGone(problem)) return undefined;
    throw problem;
  }
}

/** As `Promise.all`, but nothing goes on when it ends. */
async function all(promises) {
  const ends = await Promise.allSettled(promises);
  const failed = ends.find(({ status }) => status === 'rejected');
  if (failed) throw failed.reason;
  return ends.map(({ value }) => value);
}

/** Deletes what it can; what stays expires. Returns why. */
async function deleteSome(urls, signal) {
  const ends = await Promise.allSettled(urls.map((url) => tus.terminate(url, signal)));
  return ends.filter(({ reason }) => reason).map(({ reason }) => reason);
}

// A browser reports a file that has changed or vanished just as it reports a broken connection.
async function checkReadable(file, offset) {
  try {
    await file.slice(offset, offset + 1).arrayBuffer();
  } catch {
    throw new Failure(t('fileChanged'), { choose: true });
  }
}

function pause(seconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true });
  });
}
