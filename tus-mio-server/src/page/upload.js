// One upload: what it does next when something happens to it. It knows neither the screen nor how its bytes are sent.

import * as tus from './tus.js';
import { Transfer } from './transfer.js';
import { finished, forget, remember } from './memory.js';
import { Failure, isTakenOver, mayTryAgain, reasonFor, retryable } from './problems.js';
import { t } from './words.js';

const PAUSES = [1, 2, 4, 8, 15, 30]; // s before the next attempt, while none gets further
const SHORT_PAUSES = [0.2, 1, 1, 2, 4, 8]; // the same where the server is there and only needs a moment
const RATE_WINDOW = 5_000; // ms over which the speed is taken
const TICK = 100; // ms between two reports of progress
const UNDO = 6_000; // ms in which a cancelled upload can be taken back

export class Upload {
  /** queued, uploading, waiting, paused, done, failed, resumable, cancelled, deleting; `gone` leaves the list. */
  state = 'queued';
  asking = false; // whether the server is being asked what it has
  error = ''; // the sentence for `failed`
  again = true; // for `failed`: whether trying again can succeed
  undeleted = false; // for `failed`: the server has refused to delete it
  note = ''; // a sentence that is no error
  reason = ''; // for `waiting`: why
  retryAt = 0; // for `waiting`: when it goes on, ms
  resumedAt = 0; // bytes that needed no sending this time

  #before = 'queued'; // the state that `undo` returns to
  #server;
  #changed;
  #transfer;
  #connections = 1;
  #stop = new AbortController();
  #work = Promise.resolve();
  #wake = () => {};
  #failures = 0;
  #restarts = 0;
  #samples = [];
  #told = 0;

  /**
   * From a file, or from what `memory` kept of one: then `resumable`, until `attach` brings the file. `server` has the URL of
   * the `collection`, and `takesParts()`, which resolves to whether a file may come in parts.
   */
  constructor(server, key, { file, path, entry }, changed) {
    this.#server = server;
    this.#changed = changed;
    this.key = key;
    this.file = file;
    const { name, size, type, done } = entry ?? { name: path, size: file.size, type: file.type };
    Object.assign(this, { name, size, type });
    if (entry) this.state = done ? 'done' : 'resumable';
    this.#transfer = new Transfer(size, entry ?? {}, {
      known: (further) => this.#know(further),
      progress: () => this.#progress(),
    });
  }

  /** Its URL, once the server has it. */
  get url() {
    return this.#transfer.url;
  }

  /** Bytes the server is known to have. */
  get stored() {
    return this.#transfer.stored;
  }

  /** Bytes that have left, of which an unknown part arrived; never below `stored`. */
  get sent() {
    return this.#transfer.sent;
  }

  /** How many parts it has on the server until it is complete: 1 if it is sent as a whole. */
  get parts() {
    return this.#transfer.parts;
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

  /** Begins or goes on, with so many connections at most. */
  start(connections) {
    this.#connections = connections;
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
        if (isTakenOver(problem)) return this.pause(t('takenOver'));
        if (!retryable(problem)) return this.#fail(problem);
        await this.#rest(problem, signal);
      }
    }
  }

  async #advance(signal) {
    this.#show('uploading', { note: this.note });
    if (this.url && !this.#transfer.certain) await this.#ask(signal);
    if (!this.url) await this.#create();
    if (signal.aborted) return;
    this.resumedAt = this.stored;
    await this.#transfer.send(this.file, this.#connections, signal);
    if (!signal.aborted) await this.#transfer.join(signal);
  }

  async #create() {
    try {
      await this.#transfer.create(this.#server, this.file, this.name, this.#connections);
    } catch (problem) {
      // Of an upload these would say that it has gone; of the collection, that nothing will come of it.
      if ([404, 409, 410].includes(problem.status)) throw new Failure(problem.message, { again: true });
      throw problem;
    }
  }

  /** Learns what the server has. An upload it no longer has, or that isn't this file's, is dropped. */
  async #ask(signal) {
    this.#set({ asking: true });
    try {
      if (await this.#transfer.ask(signal)) return;
    } finally {
      this.asking = false;
    }
    forget(this.key);
    this.note = t('startsAgain');
    if (++this.#restarts > 3) throw new Failure(t('lostAgain'), { again: true });
  }

  async #confirm(signal) {
    if (!this.url) return;
    try {
      await this.#ask(signal);
      if (signal.aborted) return;
      if (this.url && this.stored === this.size) {
        await this.#transfer.join(signal);
        return this.#finish();
      }
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
        await this.#transfer.remove(signal);
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
    this.#transfer.doubt();
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

  #know(further) {
    if (further) this.#failures = this.#restarts = 0;
    const { name, size, type } = this;
    remember(this.key, { name, size, type, ...this.#transfer.kept });
    this.#changed(this);
  }

  #progress() {
    const at = Date.now();
    if (at - this.#told < TICK) return;
    this.#told = at;
    this.#samples.push({ at, sent: this.sent });
    while (at - this.#samples[0].at > RATE_WINDOW) this.#samples.shift();
    this.#changed(this);
  }

  #finish() {
    const { name, size, type, url } = this;
    forget(this.key);
    this.key = finished(url, this.#server.collection);
    remember(this.key, { name, size, type, url, stored: size, done: true });
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
