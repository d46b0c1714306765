// The screen: where files come in, and what the person can do with uploads.

import { List } from './list.js';
import { Upload } from './upload.js';
import { chosen, dropped } from './folders.js';
import { fingerprint, recall } from './memory.js';
import { discover } from './tus.js';
import * as words from './words.js';
import { t } from './words.js';

const CHECKS = 4; // uploads that the server is asked for at once when the page opens

const $ = (id) => document.getElementById(id);
const meta = (name) => document.querySelector(`meta[name=${name}]`).content;
const collection = new URL(meta('tus-collection'), location.href).href;
const downloads = meta('tus-downloads') === 'on';
const parts = meta('tus-parts') === 'on';
const server = { collection, takesParts };

const ACTIONS = {
  pause: (upload) => upload.pause(),
  resume: (upload) => upload.resume(),
  tryNow: (upload) => upload.tryNow(),
  cancel: (upload) => upload.cancel(),
  undo: (upload) => upload.undo(),
  forget: (upload) => upload.forget(),
  dismiss: (upload) => upload.forget(),
  choose: () => $('files').click(),
  copy: (upload, button) => copy(upload.url, button),
};

// For those who don't see the rows: changes of state only, not every percent.
const NEWS = {
  waiting: ({ name, reason }) => t('newsWaiting', name, reason),
  paused: ({ name }) => t('newsPaused', name),
  done: ({ name }) => t('newsDone', name),
  failed: ({ name, error }) => t('newsFailed', name, error),
  cancelled: ({ name }) => t('newsCancelled', name),
};

const list = new List({
  downloads,
  act: (action, upload, button) => ACTIONS[action](upload, button),
  announce: (upload) => {
    if (NEWS[upload.state]) tell(NEWS[upload.state](upload));
  },
});
const changed = (upload) => list.changed(upload);

function add(found) {
  say('');
  const unfinished = new Set();
  for (const { name, state } of list.uploads) if (state === 'resumable') unfinished.add(name);
  for (const { file, path } of found) {
    const key = fingerprint(file, path, collection);
    const known = list.unfinished(key);
    if (!known) {
      if (unfinished.has(path)) say(t('otherFile', path));
      list.add(new Upload(server, key, { file, path }, changed));
    } else if (known.file && !['paused', 'failed', 'cancelled'].includes(known.state)) {
      say(t('listed', path));
    } else {
      known.attach(file);
    }
  }
}

function say(sentence) {
  $('notice').textContent = sentence;
  $('notice').hidden = sentence === '';
  if (sentence) tell(sentence);
}

// Of all the news of a moment the last is read aloud: thousands of uploads may pause at once.
let news = '';
function tell(sentence) {
  if (news === '') {
    queueMicrotask(() => {
      $('news').textContent = news;
      news = '';
    });
  }
  news = sentence;
}

async function copy(text, button) {
  try {
    // Only where the page came by TLS or from this machine; elsewhere the old way.
    if (navigator.clipboard) await navigator.clipboard.writeText(text);
    else copySelected(button.parentElement.querySelector('code'));
    button.textContent = t('copied');
    tell(t('newsCopied'));
  } catch {
    say(t('cantCopy'));
  }
  setTimeout(() => (button.textContent = t('copy')), 1500);
}

function copySelected(element) {
  getSelection().selectAllChildren(element);
  if (!document.execCommand('copy')) throw new Error('refused');
}

function listenForFiles() {
  for (const id of ['files', 'folder']) {
    $(id).addEventListener('change', ({ target }) => {
      const found = chosen(target);
      target.value = ''; // so that the same file can be chosen again
      add(found);
    });
  }
  // Only files count: a dragged link or a piece of text is no upload.
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
  addEventListener('drop', async (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    depth = 0;
    document.body.classList.remove('dragging');
    const { found, unreadable } = await dropped(event.dataTransfer);
    add(found);
    if (unreadable) say(t('unreadableFolder'));
    else if (found.length === 0) say(t('emptyFolder'));
  });
}

function listenForButtons() {
  $('pause-all').addEventListener('click', () => list.pauseAll());
  $('resume-all').addEventListener('click', () => list.resumeAll());
  $('more').addEventListener('click', () => list.showMore());
  $('clear').addEventListener('click', () => {
    list.clear();
    $('files').focus();
  });
}

function listenForTheBrowser() {
  addEventListener('online', () => list.uploads.forEach((upload) => upload.tryNow()));
  addEventListener('beforeunload', (event) => {
    if (list.busy) event.preventDefault();
  });
  // Another tab has finished, deleted or dismissed it.
  addEventListener('storage', ({ key, newValue }) => {
    if (newValue !== null) return;
    const isThat = (upload) => upload.key === key && ['resumable', 'done'].includes(upload.state);
    [...list.uploads].find(isThat)?.forget();
  });
  setInterval(() => list.tick(), 500);
}

let discovered;

/** What the server can do. It is asked once, and again where that has failed. */
async function abilities() {
  discovered ??= discover(collection);
  try {
    return await discovered;
  } catch (problem) {
    discovered = undefined;
    throw problem;
  }
}

// The page creates the final before its parts are complete: see `transfer.js`.
async function takesParts() {
  try {
    return parts && (await abilities()).extensions.includes('concatenation-unfinished');
  } catch {
    return false; // What comes next fails as well, and says why.
  }
}

async function showLimits() {
  try {
    const { maxSize } = await abilities();
    if (maxSize === undefined) return;
    $('limits').textContent = t('limit', words.bytes(maxSize));
    $('limits').hidden = false;
  } catch {
    // A limit that can't be shown now is shown when a file is larger.
  }
}

function translatePage() {
  document.documentElement.lang = words.language;
  words.translate(document);
  ['footer-to', 'footer-by', 'footer-link', 'footer-end'].forEach((id, index) => ($(id).textContent = t('footer')[index]));
  document.title = t('title');
}

/** Lists what the browser remembers, and asks the server for each, a few at a time. */
async function listRemembered() {
  const uploads = recall(collection).map(([key, entry]) => new Upload(server, key, { entry }, changed));
  for (const upload of uploads) list.add(upload);
  const check = async () => {
    while (uploads.length > 0) await uploads.shift().check();
  };
  await Promise.all(Array.from({ length: CHECKS }, check));
}

translatePage();
$('address').textContent = collection;
listenForFiles();
listenForButtons();
listenForTheBrowser();
showLimits();
listRemembered();
