// The screen: the list of uploads, and what the person can do with them.

import { Upload } from './upload.js';
import { fingerprint, recall } from './memory.js';
import { discover } from './tus.js';
import * as words from './words.js';

const AT_ONCE = 2; // uploads; the others wait for their turn

const $ = (id) => document.getElementById(id);
const collection = new URL(document.querySelector('meta[name=tus-collection]').content, location.href).href;
const uploads = new Set();
const rows = new Map();

const ACTIONS = {
  pause: (upload) => upload.pause(),
  resume: (upload) => upload.resume(),
  tryNow: (upload) => upload.tryNow(),
  cancel: (upload) => upload.cancel(),
  forget: (upload) => upload.forget(),
  dismiss: (upload) => upload.forget(),
  choose: () => $('files').click(),
  copy: (upload, button) => copy(upload.url, button),
};

const NEWS = {
  waiting: (upload) => `waits. ${upload.reason}`,
  paused: () => 'is paused.',
  done: () => 'is uploaded.',
  failed: (upload) => `has stopped. ${upload.error}`,
};

// What is offered in each state.
function offered(upload) {
  const { state, leaving, file } = upload;
  if (leaving) return state === 'failed' ? ['cancel', 'forget'] : ['cancel'];
  switch (state) {
    case 'waiting': return ['tryNow', 'pause', 'cancel'];
    case 'paused': return ['resume', 'cancel'];
    case 'failed': return [file ? 'resume' : 'choose', 'cancel'];
    case 'resumable': return ['choose', 'cancel'];
    case 'done': return ['dismiss', 'copy'];
    default: return ['pause', 'cancel'];
  }
}

function label(action, { state, url }) {
  if (action === 'resume') return state === 'failed' ? 'Try again' : 'Resume';
  return state === 'failed' || state === 'resumable' ? (url ? 'Delete' : 'Remove') : 'Cancel';
}

function add(files) {
  say('');
  for (const file of files) {
    const key = fingerprint(file, collection);
    const known = [...uploads].find((upload) => upload.key === key && upload.state !== 'done');
    if (!known) {
      const namesake = [...uploads].some(({ name, state }) => name === file.name && state === 'resumable');
      if (namesake) say(`“${file.name}” isn’t the unfinished file of that name: size or date differ. It is uploaded as another.`);
      enlist(new Upload(collection, key, { file }, changed));
    } else if (known.file && !['paused', 'failed'].includes(known.state)) {
      say(`“${file.name}” is in the list already.`);
    } else {
      known.attach(file);
    }
  }
}

function enlist(upload) {
  const row = $('row').content.firstElementChild.cloneNode(true);
  const part = (name) => row.querySelector(`.${name}`);
  part('name').textContent = part('name').title = upload.name;
  part('size').textContent = words.bytes(upload.size);
  part('mark-type').textContent = (/\.([a-z0-9]{1,4})$/i.exec(upload.name) ?? ['', 'file'])[1];
  part('bar').setAttribute('aria-label', `Progress of ${upload.name}`);
  for (const button of row.querySelectorAll('[data-action]')) {
    button.setAttribute('aria-label', `${button.textContent} ${upload.name}`);
    button.addEventListener('click', () => {
      if (button.getAttribute('aria-disabled') !== 'true') ACTIONS[button.dataset.action](upload, button);
    });
  }
  uploads.add(upload);
  rows.set(upload, row);
  $('rows').append(row);
  changed(upload);
}

function changed(upload) {
  const row = rows.get(upload);
  if (!row) return;
  if (upload.state === 'gone') {
    remove(upload, row);
  } else {
    announce(upload, row);
    draw(upload, row);
  }
  next();
  drawPage();
}

// The first of the queue starts as soon as there is room.
function next() {
  const all = [...uploads];
  const busy = all.filter(({ state }) => state === 'uploading' || state === 'waiting').length;
  if (busy < AT_ONCE) all.find(({ state }) => state === 'queued')?.start();
}

function draw(upload, row) {
  const { state, size, sent, stored, error, url } = upload;
  const text = (name, value) => {
    const element = row.querySelector(`.${name}`);
    if (element.textContent !== value) element.textContent = value;
    element.hidden = value === '';
  };
  row.dataset.state = state;
  text('status', words.status(upload));
  text('numbers', words.numbers(upload));
  text('note', noteOn(upload));
  text('error', state === 'failed' ? error : '');
  const bar = row.querySelector('.bar');
  const share = (bytes) => (size > 0 ? bytes / size : 0);
  bar.hidden = state === 'done' || (state === 'failed' && sent === 0);
  bar.style.setProperty('--sent', share(sent));
  bar.style.setProperty('--stored', share(stored));
  bar.setAttribute('aria-valuenow', words.percent(upload));
  bar.setAttribute('aria-valuetext', `${words.percent(upload)} %`);
  row.querySelector('.link').hidden = state !== 'done';
  if (state === 'done') row.querySelector('code').textContent = url;
  drawActions(upload, row);
}

function drawActions(upload, row) {
  const actions = offered(upload);
  const focused = row.contains(document.activeElement);
  for (const button of row.querySelectorAll('[data-action]')) {
    const { action } = button.dataset;
    button.hidden = !actions.includes(action);
    if (action !== 'resume' && action !== 'cancel') continue;
    button.textContent = label(action, upload);
    button.setAttribute('aria-label', `${button.textContent} ${upload.name}`);
    // Not `disabled`, nor hidden: the focus stays until the row goes.
    button.setAttribute('aria-disabled', String(upload.leaving && upload.state !== 'failed'));
  }
  // A button that goes takes the focus with it: its successor has it next.
  if (focused && document.activeElement?.hidden) row.querySelector('[data-action]:not([hidden])')?.focus();
}

function noteOn({ state, note, resumedAt, size }) {
  if (note) return note;
  if (state === 'uploading' && resumedAt > 0 && resumedAt < size) return `Went on at ${words.bytes(resumedAt)}.`;
  return '';
}

function drawPage() {
  const all = [...uploads];
  const moving = all.filter(({ state }) => ['queued', 'uploading', 'waiting'].includes(state));
  const sum = (field) => moving.reduce((total, upload) => total + upload[field], 0);
  const progress = sum('size') > 0 ? `${Math.min(99, Math.floor((sum('sent') * 100) / sum('size')))} % · ` : '';
  document.title = `${progress}Upload files`;
  $('uploads').hidden = all.length === 0;
  document.body.classList.toggle('listing', all.length > 0);
  $('clear').hidden = all.filter(({ state }) => state === 'done').length < 2;
}

function remove(upload, row) {
  const focused = row.contains(document.activeElement);
  const neighbour = row.nextElementSibling ?? row.previousElementSibling;
  uploads.delete(upload);
  rows.delete(upload);
  row.remove();
  if (focused) (neighbour?.querySelector('[data-action]:not([hidden])') ?? $('files')).focus();
}

// For those who don't see the rows: changes of state only, not every percent.
function announce(upload, row) {
  if (row.dataset.state === upload.state || !NEWS[upload.state]) return;
  $('news').textContent = `${upload.name} ${NEWS[upload.state](upload)}`;
}

function say(sentence) {
  $('notice').textContent = sentence;
  $('notice').hidden = sentence === '';
  if (sentence) $('news').textContent = sentence;
}

async function copy(text, button) {
  const old = button.textContent;
  try {
    // Only where the page came by TLS or from this machine; elsewhere the old way.
    if (navigator.clipboard) await navigator.clipboard.writeText(text);
    else copySelected(button.parentElement.querySelector('code'));
    button.textContent = 'Copied';
    $('news').textContent = 'Link copied.';
  } catch {
    say('The browser doesn’t let this page copy. Select the link and copy it yourself.');
  }
  setTimeout(() => (button.textContent = old === 'Copied' ? 'Copy link' : old), 1500);
}

function copySelected(element) {
  getSelection().selectAllChildren(element);
  if (!document.execCommand('copy')) throw new Error('refused');
}

function listenForFiles() {
  $('files').addEventListener('change', ({ target }) => {
    add([...target.files]);
    target.value = ''; // so that the same file can be chosen again
  });
  // Only files count: a dragged link or a piece of text is nobody's upload.
  const carriesFiles = (event) => event.dataTransfer?.types.includes('Files');
  let depth = 0;
  const over = (change) => (event) => {
    if (!carriesFiles(event)) return;
    depth = Math.max(0, depth + change);
    document.body.classList.toggle('dragging', depth > 0);
  };
  addEventListener('dragenter', over(1));
  addEventListener('dragleave', over(-1));
  addEventListener('dragover', (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = 'copy';
  });
  addEventListener('drop', (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    depth = 0;
    document.body.classList.remove('dragging');
    const folders = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()?.isDirectory);
    add([...event.dataTransfer.files].filter((_, index) => !folders[index]));
    if (folders.includes(true)) say('Folders can’t be uploaded. Open the folder and choose the files in it.');
  });
}

async function showLimits() {
  try {
    const { maxSize } = await discover(collection);
    if (maxSize === undefined) return;
    $('limits').textContent = `Up to ${words.bytes(maxSize)} a file`;
    $('limits').hidden = false;
  } catch {
    // A limit that can't be told now is told when a file runs into it.
  }
}

$('address').textContent = collection;
listenForFiles();
showLimits();
for (const [key, entry] of recall(collection)) enlist(new Upload(collection, key, { entry }, changed));
$('clear').addEventListener('click', () => {
  for (const upload of [...uploads]) if (upload.state === 'done') upload.forget();
  $('files').focus();
});
addEventListener('online', () => uploads.forEach((upload) => upload.tryNow()));
// Another tab has finished or deleted it.
addEventListener('storage', ({ key, newValue }) => {
  if (newValue === null) [...uploads].find((upload) => upload.key === key && upload.state === 'resumable')?.forget();
});
// Speeds fall and countdowns run without any event.
setInterval(() => {
  for (const [upload, row] of rows) if (['uploading', 'waiting'].includes(upload.state)) draw(upload, row);
}, 500);
