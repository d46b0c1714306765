// All uploads: which of them run, which have a row, and what they come to together. Thousands of files make thousands of
// uploads, but not of rows: the first ones have a row, and those that run or need the person.

import * as words from './words.js';
import { t } from './words.js';
import { drawRow, makeRow } from './rows.js';
import { PARTS } from './transfer.js';

const AT_ONCE = 2; // uploads; the others wait for their turn
const ROWS = 100; // rows shown, and how many more at a time

const RUNNING = ['uploading', 'waiting'];
const MOVING = ['queued', ...RUNNING];
const COUNTED = new Set([...MOVING, 'paused', 'done']); // in the progress of all
const ALWAYS_SHOWN = [...RUNNING, 'failed', 'cancelled', 'deleting'];

const $ = (id) => document.getElementById(id);

export class List {
  uploads = new Set();
  #byKey = new Map(); // those that are not done: the same file is not uploaded twice at once
  #rows = new Map();
  #states = new Map(); // the last state of each that was counted and announced
  #counts = {}; // of uploads, by their state
  #changed = new Set(); // to be drawn with the next frame
  #wanted = ROWS;
  #act;
  #downloads;
  #announce;
  #starting = false;

  constructor({ downloads, act, announce }) {
    this.#downloads = downloads;
    this.#act = act;
    this.#announce = announce;
  }

  /** The upload of a file that is not done. */
  unfinished(key) {
    return this.#byKey.get(key);
  }

  add(upload) {
    this.uploads.add(upload);
    if (upload.state !== 'done') this.#byKey.set(upload.key, upload);
    this.#count(upload);
    this.changed(upload);
  }

  /** Called by an upload for each change of itself. */
  changed(upload) {
    if (!this.uploads.has(upload)) return;
    if (upload.state === 'gone') {
      this.#remove(upload);
    } else {
      if (this.#states.get(upload) !== upload.state) {
        this.#count(upload);
        this.#announce(upload);
        if (upload.state === 'done') this.#unkey(upload);
      }
      this.#redraw(upload);
    }
    this.#startSoon();
  }

  /** How many are in one of these states. */
  count(...states) {
    return states.reduce((sum, state) => sum + (this.#counts[state] ?? 0), 0);
  }

  #count(upload) {
    const last = this.#states.get(upload);
    if (last) this.#counts[last] -= 1;
    this.#states.set(upload, upload.state);
    this.#counts[upload.state] = (this.#counts[upload.state] ?? 0) + 1;
  }

  /** Whether leaving the page would interrupt something. */
  get busy() {
    return this.count(...MOVING) > 0;
  }

  showMore() {
    this.#wanted += ROWS;
    this.#redraw();
  }

  pauseAll() {
    for (const upload of this.uploads) if (MOVING.includes(upload.state)) upload.pause();
  }

  resumeAll() {
    for (const upload of this.uploads) if (upload.state === 'paused' && upload.file) upload.resume();
  }

  clear() {
    for (const upload of [...this.uploads]) if (upload.state === 'done') upload.forget();
  }

  /** Speeds fall and countdowns run without any event. */
  tick() {
    for (const [upload, row] of this.#rows) if (RUNNING.includes(upload.state)) drawRow(upload, row, this.#downloads);
    this.#drawTotals();
  }

  // The first of the queue starts as soon as there is room. Once for all changes of a moment, also while the page is hidden.
  #startSoon() {
    if (this.#starting) return;
    this.#starting = true;
    queueMicrotask(() => {
      this.#starting = false;
      let room = AT_ONCE - this.count(...RUNNING);
      if (room <= 0) return;
      for (const upload of this.uploads) {
        if (upload.state !== 'queued') continue;
        // Several files use several connections anyway.
        upload.start(this.count(...MOVING) === 1 ? PARTS : 1);
        if (--room === 0) return;
      }
    });
  }

  #redraw(upload) {
    if (this.#changed.size === 0) requestAnimationFrame(() => this.#draw());
    this.#changed.add(upload);
  }

  #draw() {
    const changed = [...this.#changed];
    this.#changed.clear();
    for (const upload of changed) {
      if (!this.uploads.has(upload)) continue;
      const row = this.#rows.get(upload) ?? (this.#deserves(upload) ? this.#show(upload) : undefined);
      if (row) drawRow(upload, row, this.#downloads);
    }
    this.#fill();
    this.#drawTotals();
  }

  #deserves(upload) {
    const most = this.#wanted + (ALWAYS_SHOWN.includes(upload.state) ? ROWS : 0);
    return this.#rows.size < most;
  }

  #show(upload) {
    const row = makeRow(upload, this.#act);
    this.#rows.set(upload, row);
    $('rows').append(row);
    return row;
  }

  // Rows that are too many go again, and free places are taken by the first uploads without a row.
  #fill() {
    for (const [upload, row] of this.#rows) {
      if (this.#rows.size <= this.#wanted) break;
      if (ALWAYS_SHOWN.includes(upload.state) || row.contains(document.activeElement)) continue;
      this.#rows.delete(upload);
      row.remove();
    }
    if (this.#rows.size >= Math.min(this.#wanted, this.uploads.size)) return;
    for (const upload of this.uploads) {
      if (this.#rows.has(upload)) continue;
      drawRow(upload, this.#show(upload), this.#downloads);
      if (this.#rows.size >= this.#wanted) return;
    }
  }

  #drawTotals() {
    let size = 0;
    let sent = 0;
    for (const upload of this.uploads) {
      if (!COUNTED.has(upload.state)) continue;
      size += upload.size;
      sent += upload.sent;
    }
    const all = this.uploads.size;
    const ours = this.count(...COUNTED);
    const done = this.count('done');
    const moving = this.busy;
    // Files without bytes count by their number.
    const share = size > 0 ? sent / size : done / Math.max(1, ours);
    const percent = moving ? Math.min(99, Math.floor(share * 100)) : Math.floor(share * 100);

    document.title = `${moving ? `${t('percent', percent)} · ` : ''}${t('title')}`;
    document.body.classList.toggle('listing', all > 0);
    $('uploads').hidden = all === 0;
    $('clear').hidden = done < 2;
    $('pause-all').hidden = this.count(...MOVING) < 2;
    $('resume-all').hidden = moving || this.count('paused') < 2;
    $('overall').hidden = !moving || ours < 2;
    const bar = $('overall').querySelector('.bar');
    bar.style.setProperty('--stored', share);
    bar.setAttribute('aria-valuenow', percent);
    $('overall').querySelector('.numbers').textContent = t('overallLine', done, ours, t('percent', percent));
    const left = all - this.#rows.size;
    $('more').hidden = left <= 0;
    $('more').textContent = t('more', Math.min(ROWS, left));
  }

  #unkey(upload) {
    for (const [key, other] of this.#byKey) if (other === upload) return this.#byKey.delete(key);
  }

  #remove(upload) {
    const row = this.#rows.get(upload);
    const focused = row?.contains(document.activeElement);
    const neighbour = row?.nextElementSibling ?? row?.previousElementSibling;
    this.uploads.delete(upload);
    this.#counts[this.#states.get(upload)] -= 1;
    this.#states.delete(upload);
    this.#rows.delete(upload);
    this.#unkey(upload);
    row?.remove();
    if (focused) (neighbour?.querySelector('[data-action]:not([hidden])') ?? $('files')).focus();
    this.#redraw(upload);
  }
}
