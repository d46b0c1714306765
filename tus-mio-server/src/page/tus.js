// The wire: one function for each request of tus 1.0.0. Nothing here knows of rows, queues or retries.

import { t } from './words.js';

const ANSWER_TIMEOUT = 30_000; // ms that a request without a body may take
const STALL_TIMEOUT = 60_000; // ms in which at least one byte of a body must leave

/** No answer: the server was not reached, or the connection broke. */
export class Unreachable extends Error {}

/** An answer, but not the one asked for. Its message is a sentence for the person. */
export class Refusal extends Error {
  constructor(xhr) {
    const text = (xhr.responseText || '').trim();
    const [, code, said] = /^(?:(ERR_[A-Z_]+):\s*)?([^<>{}]{3,200})$/.exec(text) || [];
    super(said ? t('serverSays', sentence(said)) : t('answered', `${xhr.status} ${xhr.statusText}`.trim()));
    this.status = xhr.status;
    this.code = code;
    this.retryAfter = Number.parseInt(xhr.getResponseHeader('Retry-After'), 10) || 0;
  }
}

function sentence(text) {
  const capital = text[0].toUpperCase() + text.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}

/** What the server can do: `{maxSize, extensions}`. `maxSize` is in bytes, undefined if there is no limit. */
export async function discover(collection) {
  const xhr = await request('OPTIONS', collection);
  const extensions = (xhr.getResponseHeader('Tus-Extension') ?? '').split(',').map((name) => name.trim());
  return { maxSize: whole(xhr.getResponseHeader('Tus-Max-Size')), extensions };
}

/** Creates an upload for the file, and returns its URL. Not to be aborted: its URL would be lost. */
export function create(collection, file, path) {
  return post(collection, file, path, { 'Upload-Length': String(file.size) });
}

/** Creates an upload for `size` bytes of the file, to be put together with others. Its metadata are those of the file: a hook
    that is against the file is against its parts. */
export function createPart(collection, file, path, size) {
  return post(collection, file, path, { 'Upload-Length': String(size), 'Upload-Concat': 'partial' });
}

/** Creates the upload that is complete when all these parts are. */
export function createFinal(collection, file, path, parts) {
  const paths = parts.map((url) => new URL(url).pathname);
  return post(collection, file, path, { 'Upload-Concat': `final;${paths.join(' ')}` });
}

async function post(collection, file, path, headers) {
  const folder = path === file.name ? '' : path;
  const pairs = [['filename', file.name], ['filetype', file.type], ['relativePath', folder]].filter(([, value]) => value);
  const metadata = pairs.map(([key, value]) => `${key} ${base64(value)}`).join(',');
  const xhr = await request('POST', collection, { headers: { ...headers, 'Upload-Metadata': metadata } });
  const location = xhr.getResponseHeader('Location');
  if (xhr.status !== 201 || !location) throw new Refusal(xhr);
  return addressOf(location, collection);
}

/** What the server has of an upload: `{offset, length}`. A final that waits for its parts has no offset. */
export async function inspect(url, signal) {
  const xhr = await request('HEAD', url, { signal });
  const offset = whole(xhr.getResponseHeader('Upload-Offset'));
  const waits = (xhr.getResponseHeader('Upload-Concat') ?? '').startsWith('final');
  if (xhr.status < 200 || xhr.status > 299 || (offset === undefined && !waits)) throw new Refusal(xhr);
  return { offset, length: whole(xhr.getResponseHeader('Upload-Length')) };
}

/** Appends a blob at the offset, and returns the new offset. `onSent` is called with the number of bytes that were sent. */
export async function append(url, offset, blob, { signal, onSent }) {
  const headers = { 'Upload-Offset': String(offset), 'Content-Type': 'application/offset+octet-stream' };
  const xhr = await request('PATCH', url, { headers, body: blob, signal, onSent });
  const now = whole(xhr.getResponseHeader('Upload-Offset'));
  if (xhr.status !== 204 || now === undefined) throw new Refusal(xhr);
  return now;
}

/** Deletes an upload; one that isn't there is deleted already. */
export async function terminate(url, signal) {
  const xhr = await request('DELETE', url, { signal });
  if (![200, 204, 404, 410].includes(xhr.status)) throw new Refusal(xhr);
}

function request(method, url, { headers = {}, body = null, signal, onSent } = {}) {
  return new Promise((resolve, reject) => {
    const xhr = new XMLHttpRequest();
    const abort = () => xhr.abort();
    let stall;
    const watch = () => {
      clearTimeout(stall);
      stall = setTimeout(abort, STALL_TIMEOUT);
    };
    xhr.open(method, url);
    xhr.setRequestHeader('Tus-Resumable', '1.0.0');
    for (const [name, value] of Object.entries(headers)) xhr.setRequestHeader(name, value);
    if (body) {
      watch();
      xhr.upload.onprogress = (event) => {
        watch();
        onSent?.(event.loaded);
      };
      // From here it is the server's turn, which may have a disk to wait for.
      xhr.upload.onload = () => clearTimeout(stall);
    } else {
      xhr.timeout = ANSWER_TIMEOUT;
    }
    xhr.onload = () => resolve(xhr);
    xhr.onloadend = () => {
      clearTimeout(stall);
      signal?.removeEventListener('abort', abort);
      reject(new Unreachable());
    };
    signal?.addEventListener('abort', abort);
    xhr.send(body);
    if (signal?.aborted) xhr.abort();
  });
}

// The page may ask its own origin only. Where the server names itself by another, it is still the one
// that served this page.
function addressOf(location, collection) {
  const url = new URL(location, collection);
  if (url.origin === new URL(collection).origin) return url.href;
  return `${collection.replace(/\/$/, '')}/${url.pathname.split('/').pop()}`;
}

function whole(text) {
  return /^\d+$/.test(text ?? '') ? Number(text) : undefined;
}

function base64(text) {
  return btoa(Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join(''));
}
