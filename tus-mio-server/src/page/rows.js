// One row for each upload that is shown: what it says, and which buttons it has.

import * as words from './words.js';
import { t } from './words.js';

const $ = (id) => document.getElementById(id);

/** What is offered in each state. */
function offered(upload, downloads) {
  const { state, file, again, undeleted } = upload;
  switch (state) {
    case 'waiting': return ['tryNow', 'pause', 'cancel'];
    case 'paused': return [file ? 'resume' : 'choose', 'cancel'];
    case 'failed':
      if (undeleted) return ['cancel', 'forget'];
      return [...(file ? (again ? ['resume'] : []) : ['choose']), 'cancel'];
    case 'resumable': return ['choose', 'cancel'];
    case 'cancelled': return ['undo'];
    case 'deleting': return [];
    case 'done': return downloads ? ['download', 'copy', 'dismiss'] : ['dismiss'];
    default: return ['pause', 'cancel'];
  }
}

function label(action, { state, url }) {
  if (action === 'resume') return t(state === 'failed' ? 'tryAgain' : 'resume');
  return t(state === 'failed' || state === 'resumable' ? (url ? 'delete' : 'remove') : 'cancel');
}

/** Makes the row of an upload. `act(action, upload, button)` is called for its buttons. */
export function makeRow(upload, act) {
  const row = $('row').content.firstElementChild.cloneNode(true);
  words.translate(row);
  const part = (name) => row.querySelector(`.${name}`);
  part('name').textContent = part('name').title = upload.name;
  part('size').textContent = words.bytes(upload.size);
  part('mark-type').textContent = (/\.([a-z0-9]{1,4})$/i.exec(upload.name) ?? ['', 'file'])[1];
  part('bar').setAttribute('aria-label', t('progressOf', upload.name));
  for (const button of row.querySelectorAll('[data-action]')) {
    button.setAttribute('aria-label', `${button.textContent}: ${upload.name}`);
    if (button.localName === 'button') button.addEventListener('click', () => act(button.dataset.action, upload, button));
  }
  return row;
}

/** Brings a row up to date. */
export function drawRow(upload, row, downloads) {
  const { state, size, sent, stored, error, url } = upload;
  const text = (name, value) => {
    const element = row.querySelector(`.${name}`);
    if (element.textContent !== value) element.textContent = value;
    element.hidden = value === '';
  };
  row.dataset.state = state;
  if (url) row.dataset.url = url;
  text('status', words.status(upload));
  text('numbers', words.numbers(upload));
  text('note', noteOn(upload));
  text('error', state === 'failed' ? error : '');
  const bar = row.querySelector('.bar');
  const share = (bytes) => (size > 0 ? bytes / size : 0);
  bar.hidden = ['done', 'cancelled', 'deleting'].includes(state) || (state === 'failed' && sent === 0);
  bar.style.setProperty('--sent', share(sent));
  bar.style.setProperty('--stored', share(stored));
  bar.setAttribute('aria-valuenow', words.percent(upload));
  bar.setAttribute('aria-valuetext', t('percent', words.percent(upload)));
  row.querySelector('.link').hidden = state !== 'done';
  if (state === 'done') drawLink(row, url, downloads);
  drawActions(upload, row, downloads);
}

// Where downloads are off, the URL leads nowhere for a browser: its last part names the upload to the operator.
function drawLink(row, url, downloads) {
  row.querySelector('.link-label').hidden = downloads;
  row.querySelector('code').textContent = downloads ? url : url.split('/').at(-1);
  row.querySelector('a').href = url;
}

function drawActions(upload, row, downloads) {
  const actions = offered(upload, downloads);
  const focused = row.contains(document.activeElement);
  for (const button of row.querySelectorAll('[data-action]')) {
    const { action } = button.dataset;
    button.hidden = !actions.includes(action);
    if (action !== 'resume' && action !== 'cancel') continue;
    const name = label(action, upload);
    if (button.textContent === name) continue;
    button.textContent = name;
    button.setAttribute('aria-label', `${name}: ${upload.name}`);
  }
  // A button that goes takes the focus with it: its successor has it next.
  if (focused && document.activeElement?.hidden) row.querySelector('[data-action]:not([hidden])')?.focus();
}

function noteOn({ state, note, resumedAt, size }) {
  if (note) return note;
  if (state === 'uploading' && resumedAt > 0 && resumedAt < size) return t('continuedAt', words.bytes(resumedAt));
  return '';
}
