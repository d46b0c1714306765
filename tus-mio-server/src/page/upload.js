// One upload: what it does next when something happens to it. It knows the wire, not the screen.

import * as tus from './tus.js';
import { finished, forget, remember } from './memory.js';
import { t } from './words.js';

const PAUSES = [1, 2, 4, 8, 15, 30]; // s before the next attempt, while none gets further
const SHORT_PAUSES = [0.2, 1, 1, 2, 4, 8]; // the same where the server is there and only needs a moment
const SMALLEST_CHUNK = 64 * 1024; // bytes
const RATE_WINDOW = 5_000; // ms over which the speed is taken
const TICK = 100; // ms between two reports of progress
const UNDO = 6_000; // ms in which a cancelled upload can be taken back

/** A failure that no retry by itself repairs. `again` tells whether the person may try again with the same file. */
class Failure extends Error {
  constructor(message, { again = false, choose = false } = {}) {
    super(message);
    Object.assign(this, { again, choose });
  }
}

export class Upload {
  /** queued, uploading, waiting, paused, done, failed, resumable, cancelled, deleting; `gone` leaves the list. */
  state = 'queued';
  stored = 0; // bytes the server is known to have
  sent = 0; // bytes that have left, of which an unknown part arrived; never below `stored`
  certain = false; // whether `stored` is all the server has
  asking = false; // whether the server is being asked for it
  error = ''; // the sentence for `failed`
  again = true; // for `failed`: whether trying again can succeed
  undeleted = false; // for `failed`: the server has refused to delete it
  note = ''; // a sentence that is no error
  reason = ''; // for `waiting`: why
  retryAt = 0; // for `waiting`: when it goes on, ms
  resumedAt = 0; // bytes that needed no sending this time

  #before = 'queued'; // the state that `undo` returns to
  #collection;
  #changed;
  #stop = new AbortController();
  #work = Promise.resolve();
  #wake = () => {};
  #failures = 0;
  #restarts = 0;
  #chunk = Infinity;
  #samples = [];
  #told = 0;

  /** From a file, or from what `memory` kept of one: then `resumable`, until `attach` brings the file. */
  constructor(collection, key, { file, path, entry }, changed) {
    this.#collection = collection;
    this.#changed = changed;
    this.key = key;
    this.file = file;
    const { name, size, type, url, stored, done } = entry ?? { name: path, size: file.size, type: file.type };
    Object.assign(this, { name, size, type, url });
    if (entry) {
      this.state = done ? 'done' : 'resumable';
      this.stored = this.sent = stored || 0;
    }
  }

  /** Asks the server for the state of an upload that `memory` kept. Ends when there is an answer, or none to be had. */
  check() {
    this.#begin((signal) => (this.state === 'done' ? this.#stillThere(signal) : this.#confirm(signal)));
    return this.#work;
  }

  attach(file) {
    this.file = file;
    this.resume();
  }

  /** Takes a place in the queue. */
  resume() {
    this.#halt();
    this.undeleted = false;
    this.#show('queued');
  }

  start() {
    this.#failures = this.#restarts = 0;
    this.#show('uploading');
    this.#begin((signal) => this.#run(signal));
  }

  pause(note = '') {
    this.#show('paused', { note });
    this.#begin((signal) => this.#confirm(signal));
  }

  tryNow() {
    if (this.state === 'waiting') this.#wake();
  }

  /** Stops it, and deletes what the server has of it unless `undo` comes first. */
  cancel() {
    this.#before = this.undeleted ? 'paused' : this.state;
    this.#show('cancelled');
    this.#begin(async (signal) => {
      await this.#sleep(UNDO / 1000);
      if (signal.aborted) return;
      this.#show('deleting');
      await this.#terminate(signal);
    });
  }

  /** Takes a cancellation back. */
  undo() {
    if (this.state !== 'cancelled') return;
    const wasMoving = ['uploading', 'waiting', 'queued'].includes(this.#before);
    if (wasMoving) return this.resume();
    this.#halt();
    this.#show(this.#before === 'failed' ? 'paused' : this.#before);
  }

  /** Leaves the list, and whatever the server has to the server. */
  forget() {
    this.#halt();
    forget(this.key);
    this.#show('gone');
  }

  /** Bytes a second over the last moments. */
  get rate() {
    const [first] = this.#samples;
    const passed = first ? Date.now() - first.at : 0;
    return passed > 500 ? ((this.sent - first.sent) * 1000) / passed : 0;
  }

  // One task at a time: a new one stops the one before, and waits until it has stopped.
  #begin(task) {
    this.#halt();
    const { signal } = (this.#stop = new AbortController());
    this.#work = this.#work.then(() => (signal.aborted ? undefined : task(signal)));
  }

  #halt() {
    this.#stop.abort();
    this.#wake();
  }

  async #run(signal) {
    while (!signal.aborted) {
      try {
        this.#samples = [];
        await this.#advance(signal);
        if (!signal.aborted) this.#finish();
        return;
      } catch (problem) {
        if (signal.aborted) return;
        if (problem.code === 'ERR_UPLOAD_INTERRUPTED') {
          return this.pause(t('takenOver'));
        }
        if (!retryable(problem)) return this.#fail(problem);
        await this.#rest(problem, signal);
      }
    }
  }

  async #advance(signal) {
    this.#show('uploading', { note: this.note });
    if (this.url && !this.certain) await this.#ask(signal);
    if (!this.url) await this.#create();
    if (signal.aborted) return;
    this.resumedAt = this.stored;
    while (this.stored < this.size && !signal.aborted) await this.#send(signal);
  }

  async #create() {
    try {
      this.url = await tus.create(this.#collection, this.file, this.name);
    } catch (problem) {
      // Of an upload these would say that it has gone; of the collection, that nothing will come of it.
      if ([404, 409, 410].includes(problem.status)) throw new Failure(problem.message, { again: true });
      throw problem;
    }
    this.#know(0);
  }

  /** Learns what the server has. An upload it no longer has, or that isn't this file's, is dropped. */
  async #ask(signal) {
    this.#set({ asking: true });
    try {
      const { offset, length } = await tus.inspect(this.url, signal);
      if (length === this.size && offset <= this.size) return this.#know(offset);
    } catch (problem) {
      if (![403, 404, 410].includes(problem.status)) throw problem;
    } finally {
      this.asking = false;
    }
    forget(this.key);
    this.url = undefined;
    this.stored = this.sent = 0;
    this.note = t('startsAgain');
    if (++this.#restarts > 3) throw new Failure(t('lostAgain'), { again: true });
  }

  async #send(signal) {
    const from = this.stored;
    const blob = this.file.slice(from, Math.min(from + this.#chunk, this.size));
    const onSent = (bytes) => this.#progress(from + bytes);
    this.certain = false;
    try {
      const offset = await tus.append(this.url, from, blob, { signal, onSent });
      if (offset <= from || offset > this.size) throw new Failure(t('wrongCount'));
      this.#know(offset);
    } catch (problem) {
      if (signal.aborted) throw problem;
      problem.midway = true;
      if (problem instanceof tus.Unreachable) await this.#checkReadable(from);
      const tooLarge = problem.status === 413 && problem.code !== 'ERR_UPLOAD_SIZE_EXCEEDED';
      if (!tooLarge || blob.size <= SMALLEST_CHUNK) throw problem;
      // A limit for one request, not for the upload: that would have failed when it was created.
      this.#chunk = Math.max(SMALLEST_CHUNK, Math.ceil(blob.size / 2));
      await this.#ask(signal);
      if (!this.url) throw problem;
    }
  }

  // A browser reports a file that has changed or vanished just as it reports a broken connection.
  async #checkReadable(offset) {
    try {
      await this.file.slice(offset, offset + 1).arrayBuffer();
    } catch {
      throw new Failure(t('fileChanged'), { choose: true });
    }
  }

  async #confirm(signal) {
    if (!this.url) return;
    try {
      await this.#ask(signal);
      if (signal.aborted) return;
      if (this.url && this.stored === this.size) return this.#finish();
      if (!this.url && !this.file) {
        this.note = '';
        this.error = t('goneChoose');
        this.state = 'failed';
      }
    } catch {
      // Not known now: it is asked again before anything is sent.
    }
    if (!signal.aborted) this.#changed(this);
  }

  // A finished upload may have been deleted since; then there is nothing to list.
  async #stillThere(signal) {
    try {
      await tus.inspect(this.url, signal);
    } catch (problem) {
      if (!signal.aborted && [404, 410].includes(problem.status)) this.forget();
    }
  }

  async #terminate(signal) {
    for (let attempt = 0; this.url; attempt++) {
      try {
        await tus.terminate(this.url, signal);
        break;
      } catch (problem) {
        if (signal.aborted) return;
        if (problem.status === 405) break; // Kept until it expires: this server deletes nothing for clients.
        if (problem.status === 423 && attempt < 5) {
          await this.#sleep(1);
          continue;
        }
        const why = problem instanceof tus.Unreachable ? t('unreachable') : problem.message;
        this.undeleted = true;
        return this.#show('failed', { error: t('notDeleted', why) });
      }
    }
    this.forget();
  }

  async #rest(problem, signal) {
    const there = problem.status === 409 || problem.status === 423;
    const pauses = there ? SHORT_PAUSES : PAUSES;
    const pause = Math.max(pauses[Math.min(this.#failures++, pauses.length - 1)], problem.retryAfter ?? 0);
    this.certain = false;
    this.reason = reasonFor(problem);
    this.retryAt = Date.now() + pause * 1000;
    if (pause >= 1) this.#show('waiting');
    await this.#sleep(pause);
  }

  #sleep(seconds) {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, seconds * 1000);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #know(offset) {
    if (offset > this.stored) this.#failures = this.#restarts = 0;
    this.stored = this.sent = offset;
    this.certain = true;
    const { name, size, type, url } = this;
    remember(this.key, { name, size, type, url, stored: offset });
    this.#changed(this);
  }

  #progress(sent) {
    const at = Date.now();
    this.sent = Math.max(sent, this.stored);
    if (at - this.#told < TICK) return;
    this.#told = at;
    this.#samples.push({ at, sent: this.sent });
    while (at - this.#samples[0].at > RATE_WINDOW) this.#samples.shift();
    this.#changed(this);
  }

  #finish() {
    const { name, size, type, url } = this;
    forget(this.key);
    this.key = finished(url, this.#collection);
    remember(this.key, { name, size, type, url, stored: size, done: true });
    this.stored = this.sent = size;
    this.file = undefined; // The browser may free it.
    this.#show('done');
  }

  #fail(problem) {
    if (problem.choose) this.file = undefined;
    this.#show('failed', { error: problem.message, again: mayTryAgain(problem) });
  }

  #show(state, { error = '', note = '', again = true } = {}) {
    this.#set({ state, error, note, again });
  }

  #set(fields) {
    Object.assign(this, fields);
    this.#changed(this);
  }
}

function retryable(problem) {
  if (problem instanceof tus.Unreachable) return true;
  const { status } = problem;
  return [404, 408, 409, 410, 423, 425, 429].includes(status) || (status >= 500 && status !== 501 && status !== 507);
}

// Trying again by hand: not where the same request gets the same answer, as for a file that is too large.
function mayTryAgain(problem) {
  if (problem instanceof Failure) return problem.again || problem.choose;
  return ![400, 405, 411, 412, 413, 414, 415, 422, 431, 501].includes(problem.status);
}

function reasonFor(problem) {
  if (!navigator.onLine) return t('offline');
  if (problem instanceof tus.Unreachable) return t(problem.midway ? 'connectionLost' : 'unreachable');
  return problem.status === 423 ? t('busy') : problem.message;
}
